"""What `curate.py` and `curate_memory.py` read: pages and texts made from real ones, and a note of what is planted.

    python benchmarks/curate_input.py pages OUT --pages 2000
    python benchmarks/curate_input.py texts OUT --megabytes 2000 [--near 0.05 ...]

Real data is read from --data (BEDPLATE_DATA, or shared/data beside the clone). The same seed and data give the same
bytes; sentences of Python's docstrings depend on its version too.

`pages` writes OUT/pages/NNNNN.warc.gz (1,000 records each) and OUT/pages.jsonl {url, article, variant}. Variant 0 of
each of the 91 news pages is the page as it was fetched, which the extraction score is over. In later variants half of
the sentences of every longer text node are replaced by sentences of other texts and their order changes; the markup,
most of a page's bytes, stays.

`texts` writes OUT/texts/part-NNNNN.jsonl {url, date, text} (64 MB each), OUT/items.jsonl, OUT/truth.jsonl with a line
for each document that isn't plain prose, and OUT/summary.json. The real texts (WikiText-2, article gold texts,
docstrings of the standard library, three books, Shakespeare, XQuAD in English: some 6 MB) are cut into sentences, these
into halves of at most 14 tokens, and a document is a sequence of random halves, first and second by turns. So every
half is real and grammar often isn't; words, lengths and characters are natural; and two documents share short runs
only: 50 tokens in common are planted or as good as never there. A document is a function of (seed, number) alone, so a
copy needs no memory of its original, and lies anywhere behind it. What is planted (`role` in the truth):

exact       the text of an earlier document, under another URL
near        the same with a hundredth, a fiftieth or a twentieth of its words replaced; `jaccard` over word 5-grams
passage     a paragraph of 60 to 120 words that other documents have too
item        a question of MMLU or GSM8K's test set as a paragraph of its own
personal    an e-mail address and an IPv4 address in a sentence
short, list, repetitive    what filters are for
long        half a megabyte of prose, just below what rules for quality call too long
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from curate_peers.input_pages import write_pages
from curate_peers.real_texts import Pool, items

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("BEDPLATE_DATA", ROOT.parent / "shared" / "data"))
SHARD_BYTES = 64_000_000
EDITS = (0.01, 0.02, 0.05)
"""Parts of the words that near-duplicates have replaced: 5-gram Jaccard of about 0.9, 0.8 and 0.63."""
POOR = {"short": 0.03, "list": 0.02, "repetitive": 0.02, "personal": 0.01, "long": 0.00005}
COPIES_OF_A_PASSAGE = 4
MEAN_BYTES = 3_300
"""Of a document; decides how many passages there are to draw from, nothing else."""


@dataclass(frozen=True)
class Shares:
    """How large a part of the documents each planted thing is in."""

    exact: float
    near: float
    passage: float
    item: float


SHARES = Shares(exact=0.05, near=0.05, passage=0.03, item=0.002)


@dataclass(frozen=True)
class Texts:
    """Documents by number."""

    pool: Pool
    items: list[dict[str, str]]
    seed: int
    shares: Shares
    passages: int

    @cached_property
    def roles(self) -> tuple[list[str], np.ndarray]:
        shares = vars(self.shares) | POOR
        return [*shares, "prose"], np.cumsum(list(shares.values()))

    def begin(self, number: int) -> tuple[np.random.Generator, str]:
        """The document's generator, after the draw of its role."""
        random = np.random.default_rng([self.seed, number])
        names, edges = self.roles
        return random, names[int(np.searchsorted(edges, random.random(), side="right"))]

    def prose(self, random: np.random.Generator, words: int) -> list[str]:
        """Paragraphs of two to six sentences, about as many words in all."""
        count = max(2, words // 14)
        heads, tails = (
            random.integers(len(self.pool.heads), size=count),
            random.integers(len(self.pool.tails), size=count),
        )
        sentences = [
            f"{self.pool.heads[h]} {self.pool.tails[t]}" for h, t in zip(heads.tolist(), tails.tolist(), strict=True)
        ]
        ends = np.cumsum(random.integers(2, 7, size=count // 2 + 1)).tolist()
        return [" ".join(sentences[a:b]) for a, b in pairwise([0, *ends]) if a < count]

    def plain(self, random: np.random.Generator) -> list[str]:
        return self.prose(random, int(np.clip(random.lognormal(6.0, 0.7), 120, 20_000)))

    def passage(self, number: int) -> str:
        """60 to 120 words, roughly, as a paragraph."""
        random = np.random.default_rng([self.seed, number, 1])
        return " ".join(self.prose(random, int(random.integers(84, 120))))

    def original(self, random: np.random.Generator, number: int) -> int | None:
        """An earlier document of plain prose, if chance finds one."""
        for earlier in random.integers(max(number, 1), size=20).tolist():
            if earlier < number and self.begin(earlier)[1] == "prose":
                return int(earlier)
        return None

    def document(self, number: int) -> tuple[str, dict[str, Any] | None]:
        """Its text, and what is planted in it."""
        random, role = self.begin(number)
        of = self.original(random, number) if role in ("exact", "near") else None
        if role == "prose" or (of is None and role in ("exact", "near")):
            return "\n\n".join(self.plain(random)), None
        truth: dict[str, Any] = {"role": role}
        if of is not None:
            text = "\n\n".join(self.plain(self.begin(of)[0]))
            truth["of"] = of
            if role == "near":
                rate = EDITS[int(random.integers(len(EDITS)))]
                original, text = text, self.edited(text, rate, random)
                truth |= {"edited": rate, "jaccard": round(jaccard(original, text), 4)}
        elif role == "short":
            text = " ".join(self.prose(random, 28))
        elif role == "list":
            text = "\n".join("- " + self.pool.heads[i] for i in random.integers(len(self.pool.heads), size=40).tolist())
        elif role == "repetitive":
            text = "\n".join(self.prose(random, 28)[:1] * 25)
        elif role == "long":
            text = "\n\n".join(self.prose(random, 80_000))
        else:
            paragraphs = self.plain(random)
            if role == "passage":
                truth["passage"] = int(random.integers(self.passages))
                planted = self.passage(truth["passage"])
            elif role == "item":
                item = self.items[int(random.integers(len(self.items)))]
                truth["item"], planted = item["id"], item["text"]
            else:
                name = "".join(map(chr, random.integers(97, 123, size=9)))
                truth["values"] = [f"{name}@mail{number % 97}.com", ".".join(map(str, random.integers(11, 99, size=4)))]
                planted = "Write to {} or look for the host at {} today.".format(*truth["values"])
            paragraphs.insert(int(random.integers(len(paragraphs) + 1)), planted)
            text = "\n\n".join(paragraphs)
        return text, truth

    def edited(self, text: str, rate: float, random: np.random.Generator) -> str:
        """With that part of its words, at least one, replaced by random ones."""
        words = text.split(" ")
        for place in random.choice(len(words), size=max(1, round(rate * len(words))), replace=False).tolist():
            words[place] = self.pool.words[int(random.integers(len(self.pool.words)))]
        return " ".join(words)


def jaccard(a: str, b: str) -> float:
    """Of the sets of word 5-grams."""
    first, second = ({tuple(w[i : i + 5]) for i in range(len(w) - 4)} for w in (a.split(), b.split()))
    return len(first & second) / max(1, len(first | second))


def url(number: int) -> str:
    """Of a made document; its number is all after the last slash."""
    return f"https://host{number % 997}.example/{number}"


def write_texts(out: Path, data: Path, megabytes: float, seed: int, shares: Shares) -> Texts:
    """`texts` of the module's docstring."""
    (out / "texts").mkdir(parents=True, exist_ok=True)
    expected = megabytes * 1e6 / MEAN_BYTES
    made = Texts(
        Pool.read(data), items(data), seed, shares, max(4, int(expected * shares.passage / COPIES_OF_A_PASSAGE))
    )
    (out / "items.jsonl").write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in made.items))
    counts: dict[str, int] = {}
    written = number = shard = 0
    with (out / "truth.jsonl").open("w") as notes:
        while written < megabytes * 1e6:
            size = 0
            with (out / "texts" / f"part-{shard:05d}.jsonl").open("wb") as file:
                while size < SHARD_BYTES and written < megabytes * 1e6:
                    text, truth = made.document(number)
                    counts[truth["role"] if truth else "prose"] = counts.get(truth["role"] if truth else "prose", 0) + 1
                    if truth is not None:
                        notes.write(json.dumps({"number": number, "url": url(number)} | truth) + "\n")
                    row = {"url": url(number), "date": "2024-05-01T12:00:00Z", "text": text}
                    line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
                    size, written, number = size + file.write(line), written + len(line), number + 1
            shard += 1
    summary = {"documents": number, "bytes": written, "files": shard, "seed": seed, "passages": made.passages,
               "roles": counts, "sentences": len(made.pool.sentences), "halves": len(made.pool.heads)}  # fmt: skip
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("pages", "texts"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--exact", type=float, default=SHARES.exact)
    parser.add_argument("--near", type=float, default=SHARES.near)
    parser.add_argument("--passage", type=float, default=SHARES.passage)
    parser.add_argument("--item", type=float, default=SHARES.item)
    options = parser.parse_args()
    if not (options.data / "article_extraction").is_dir():
        sys.exit(f"{options.data}: no article_extraction there; --data or BEDPLATE_DATA names the folder of real data")
    if options.kind == "pages":
        write_pages(options.out, options.data, options.pages, options.seed)
    else:
        shares = Shares(options.exact, options.near, options.passage, options.item)
        write_texts(options.out, options.data, options.megabytes, options.seed, shares)


if __name__ == "__main__":
    main()
