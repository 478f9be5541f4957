"""Documents with the same text, or with the same but for case, punctuation and numbers."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.data.corpus import identity
from bedplate.data.curation.shards import Decision, Shards
from bedplate.data.deduplicate import index, verdicts
from bedplate.data.deduplicate.config import ExactConfig, Keep
from bedplate.data.deduplicate.facts import SHA256, ArrayWriter, Texts, written
from bedplate.data.deduplicate.preference import LAST
from bedplate.data.deduplicate.runs import (
    RunWriter,
    expanded,
    groups,
    key_count,
    light,
    of_key,
    ranges,
    read_range,
    take,
)
from bedplate.data.deduplicate.shingles import I64, PIECE, U8, Bool, pieces
from bedplate.data.deduplicate.verdicts import Rows
from bedplate.data.engine.tasks import Run, Task, perform, task_folder

COPIES = "exact_copies"
_BETWEEN = re.compile(r"[\W_]+")
_NUMBER = re.compile(r"\d+")
_ASCII = bytes(ord(chr(i).lower()) if chr(i).isalnum() else 0x20 for i in range(128)) + bytes(128)


def run_it(
    shards: Shards, config: ExactConfig, run: Run, *, keep: Keep = "first", earlier: Path | None = None
) -> Decision:
    """Drop every document whose text, and picture if it has one, is that of another which stays: `exact_duplicate`, or
    `normalised_duplicate` where only the normalised texts are the same. `exact_copies` says of those that stay how many
    stood behind them, and is null where none did.

    earlier: the index of a corpus whose documents always stay. A text of white space alone is like no other. Memory:
    60 bytes a document of a range of keys, of which there are about half a million, however many share one.
    """
    before = index.read(earlier, "exact", config.semantic()) if earlier else ()
    arguments = {"shards": shards, "config": config, "keep": keep}
    perform(
        "exact-keys", f"{__name__}:write_keys", [Task(i, arguments | {"shard": i}) for i in range(shards.count)], run
    )
    rows = Rows.of(shards, run.folder / "exact-keys", before)
    cuts = ranges(key_count(rows.all))
    found = perform(
        "exact-groups",
        f"{__name__}:find_groups",
        [Task(i, {"rows": rows, "first": first, "end": end}) for i, (first, end) in enumerate(cuts)],
        run,
    )
    folders = [task_folder(run.folder / "exact-groups", i) for i in range(len(cuts))]
    files = [path for folder in folders for path in sorted(folder.glob("members-*.npy"))]
    tasks = [Task(i, {"rows": rows, "part": part, "members": files}) for i, part in enumerate(rows.shards)]
    said = perform("exact", f"{__name__}:write_verdicts", tasks, run)
    read = [{"read": int(shards.alive(i).sum()), **one} for i, one in enumerate(said)]
    measures = verdicts.summed(read, sum(f["groups"] for f in found), max((f["largest"] for f in found), default=0))
    return Decision(run.folder / "exact", measures, {COPIES: "int32"})


def write_keys(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a shard: its documents' keys, hashes and ranks."""
    config: ExactConfig = arguments["config"]
    writer = RunWriter(folder, wide=True)
    for texts in written(arguments["shards"], arguments["shard"], arguments["keep"], folder):
        some, digests = _digests(texts, config.normalise)
        halves = digests[:, :16].copy().view("<u8")
        writer.add(halves[:, 0], texts.rows[some], halves[:, 1])
    writer.flush()
    return {}


def find_groups(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a range of keys: who is like whom, and who of them stays."""
    rows: Rows = arguments["rows"]
    number = largest = 0
    for place, (first, end) in enumerate(light(rows.all, arguments["first"], arguments["end"])):
        path = folder / f"members-{place:05d}.npy"
        found, size = _group(rows, first, path) if end - first == 1 else _groups(rows, first, end, path)
        number, largest = number + found, max(largest, size)
    return {"groups": number, "largest": largest}


def _groups(rows: Rows, first: int, end: int, path: Path) -> tuple[int, int]:
    keys, low, at = read_range(rows.all, first, end, wide=True)
    begins, sizes = groups(keys, low)
    places, labels = expanded(begins, sizes)
    at = at[places]
    del keys, low, places
    order = np.argsort(at)
    return verdicts.decide(at[order], labels[order], rows.ranks, path)


def _group(rows: Rows, key: int, path: Path) -> tuple[int, int]:
    """`_groups` of one key whose documents are too many to be held. It is half of a hash of 128 bits; so there is
    one group, unless somebody took pains."""
    best: dict[int, tuple[int, int]] = {}  # the other half: rank, row
    sizes: Counter[int] = Counter()
    for low, at in of_key(rows.all, key, wide=True):
        order = np.lexsort((at, ranks := rows.ranks(at), low))
        halves, begins, counts = np.unique(low[order], return_index=True, return_counts=True)
        for half, begin, count in zip(halves.tolist(), order[begins].tolist(), counts.tolist(), strict=True):
            sizes[half] += count
            best[half] = min(best.get(half, (LAST, LAST)), (int(ranks[begin]), int(at[begin])))
    several = np.array(sorted(half for half, size in sizes.items() if size > 1), dtype=np.uint64)
    kept = np.array([best[half][1] for half in several.tolist()], dtype=np.int64)
    size = np.array([sizes[half] for half in several.tolist()], dtype=np.uint32)
    out = ArrayWriter(path, (int(size.sum()),), verdicts.MEMBER)
    written_so_far = 0
    for low, at in of_key(rows.all, key, wide=True):
        group = np.minimum(np.searchsorted(several, low), max(len(several) - 1, 0))
        here = several[group] == low if len(several) else np.zeros(len(low), dtype=bool)
        block = np.empty(int(here.sum()), dtype=verdicts.MEMBER)
        block["row"], block["kept"], block["size"] = at[here], kept[group[here]], size[group[here]]
        out.put(np.arange(written_so_far, written_so_far + len(block)), block)
        written_so_far += len(block)
    out.close()
    return len(several), int(size.max(initial=0))


def write_verdicts(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a shard: which of its documents go."""
    rows, part = arguments["rows"], arguments["part"]

    def tell(lost: verdicts.Members) -> verdicts.Told:
        own, kept = (take(rows.all, SHA256, np.ascontiguousarray(lost[name])) for name in ("row", "kept"))
        same = (own == kept).all(axis=1).tolist()
        return ["exact_duplicate" if one else "normalised_duplicate" for one in same], [None] * len(same)

    return {"dropped": verdicts.write(folder, rows, part, arguments["members"], COPIES, tell)}


def normalised(text: str) -> str:
    """A text as `normalise` compares it: NFKC, case folded, every run of digits a 0 and every run of what is neither
    letter nor digit a space."""
    text = unicodedata.normalize("NFKC", text).casefold()
    # Vowel signs and other marks count as letters, though regular expressions don't think so.
    marks = {c: None for c in set(text) if unicodedata.category(c)[0] == "M"}
    if marks:
        kept = "".join(c if c.isalnum() or c in marks else " " for c in text)
        return _NUMBER.sub("0", " ".join(kept.split()))
    return _NUMBER.sub("0", _BETWEEN.sub(" ", text)).strip()


def _digests(texts: Texts, normalise: bool) -> tuple[Bool, U8]:
    """Which documents have something to compare, and what is compared of each: uint8 [N, 32]."""
    spans = list(pairwise(texts.offsets.tolist()))
    some = np.array([_says_something(texts.utf8, a, b) for a, b in spans], dtype=bool)
    digests = texts.sha256
    if normalise:
        digests = digests.copy()
        for i in np.flatnonzero(some).tolist():
            plain = _normalised_digest(texts.utf8, texts.offsets[i : i + 2])
            if plain is not None:
                plain = bytes.fromhex(identity(plain.hex(), texts.pictures[i]))
                digests[i] = np.frombuffer(plain, dtype=np.uint8)
    return some, digests[some]


def _says_something(text: U8, first: int, end: int) -> bool:
    """Whether there is more than white space between."""
    return any(text[at : min(at + PIECE, end)].tobytes().strip() for at in range(first, end, PIECE))


def _normalised_digest(text: U8, offsets: I64) -> bytes | None:
    """The SHA-256 of a normalised text, which is made a piece at a time; None for one without letters."""
    digest, letters, between = hashlib.sha256(), False, b""
    cuts, _ = pieces(text, offsets)
    for first, end in pairwise(cuts.tolist()):
        plain = _normalised(text[first:end].tobytes())
        if plain:
            letters = letters or bool(plain.strip(b"0 "))
            digest.update(between + plain)
            between = b" "
    return digest.digest() if letters else None


def _normalised(data: bytes) -> bytes:
    """`normalised` of UTF-8."""
    if not data.isascii():
        return normalised(data.decode("utf-8", "replace")).encode()
    return re.sub(rb"[0-9]+", b"0", b" ".join(data.translate(_ASCII).split()))
