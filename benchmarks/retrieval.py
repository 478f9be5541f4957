"""Retrieval on XQuAD (English): how often the right paragraph is found, what is answered, and when it declines.

    python benchmarks/retrieval.py --data SHARED/data --encoder models/minilm [--base models/smollm2] [--sample 120]

XQuAD-en has 1,190 questions over 240 paragraphs of 48 articles. Three parts, each printed as a table and as JSON:

- search: the share of questions whose paragraph is first, or among the first five, by vector, by words (BM25), and by
  both; reciprocal rank fusion beside it. A paragraph counts once, wherever a chunk of it stands.
- declining: every second paragraph is taken out of the index, so that its questions have no answer in it. The threshold
  is chosen on the articles of even number; the rates are those of the others. No base is asked.
- answers (with --base): on a stated sample, drawn by seed, over the same index: SQuAD's exact match and F1 on questions
  that have an answer, how many of the answers' citations resolve, how often it declines.

Intervals are 95%: Wilson's for rates, of 2,000 bootstrap samples for F1.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bedplate.adapt.bases import LocalBase
from bedplate.adapt.retrieval.answering import RetrievalAnswerer
from bedplate.adapt.retrieval.calibrating import Judged, exact, f1, threshold_of
from bedplate.adapt.retrieval.index import Index, Passage
from bedplate.adapt.retrieval.settings import THRESHOLD, RetrievalSettings
from bedplate.adapt.retrieval.stage import index_documents
from bedplate.console import Console


@dataclass(frozen=True)
class Question:
    """source: the file of its paragraph, as the index calls it. article: its number. removed: whether its paragraph is
    taken out for the second and third part."""

    text: str
    answer: str
    source: str
    article: int
    removed: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--sample", type=int, default=120)
    parser.add_argument("--styles", nargs="+", default=["extract", "quotes", "passages"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bedplate-retrieval-") as folder:
        figures = measure(options, Path(folder))
    figures["machine"] = {"platform": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps(figures))


def measure(options: argparse.Namespace, work: Path) -> dict:
    questions = read_xquad(options.data / "xquad" / "xquad.en.json", work)
    began = time.monotonic()
    whole = index_documents(work / "all", options.encoder, work / "index-all", console=Console.quiet())
    figures: dict = {"index_s": round(time.monotonic() - began, 1), "chunks": whole.measures["chunks"]}
    figures["search"] = searched(Index.open(whole), questions)
    kept = index_documents(work / "kept" / "all", options.encoder, work / "index-kept", console=Console.quiet())
    index = Index.open(kept)
    figures["declining"] = declining(index, questions)
    if options.base:
        figures["answers"] = answers(index, LocalBase(options.base), questions, options)
    return figures


def read_xquad(path: Path, work: Path) -> list[Question]:
    """The questions, with every paragraph as a file under all/, and every second one of an article under kept/all/."""
    questions = []
    for article, content in enumerate(json.loads(path.read_text(encoding="utf-8"))["data"]):
        for number, paragraph in enumerate(content["paragraphs"]):
            name = f"{article:02}/{number}.txt"
            removed = number % 2 == 1
            for root in ("all", *(() if removed else ("kept/all",))):
                file = work / root / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(paragraph["context"], encoding="utf-8", newline="")
            for asked in paragraph["qas"]:
                answer = asked["answers"][0]["text"]
                questions.append(Question(asked["question"], answer, f"all/{name}", article, removed))
    return questions


def searched(index: Index, questions: Sequence[Question]) -> dict:
    texts = [question.text for question in questions]
    vectors = index.embed(texts)
    table: dict = {}
    found = {mode: index.search_many(texts, 100, mode, vectors=vectors) for mode in ("vector", "bm25", "hybrid")}
    pairs = zip(found["vector"], found["bm25"], strict=True)
    found |= {"reciprocal ranks": [by_ranks(near, matching) for near, matching in pairs]}
    print(f"\n{'search':<18}{'recall@1':>26}{'recall@5':>26}")
    for name, passages in found.items():
        ranks = [rank(question.source, result) for question, result in zip(questions, passages, strict=True)]
        row = {f"recall@{k}": rate([r < k for r in ranks]) for k in (1, 5)}
        print(f"{name:<18}" + "".join(f"{shown(value):>26}" for value in row.values()))
        table[name] = row
    return table


def rank(source: str, passages: Sequence[Passage]) -> int:
    """Where a document first stands among the documents found; their number where it isn't."""
    sources = list(dict.fromkeys(passage.source for passage in passages))
    return sources.index(source) if source in sources else len(passages)


def by_ranks(*rankings: Sequence[Passage], k: int = 60) -> list[Passage]:
    """Reciprocal rank fusion (Cormack et al. 2009); among equals the vectors' order."""
    scores: dict[int, float] = {}
    passages = {}
    for ranking in rankings:
        for place, passage in enumerate(ranking, 1):
            scores[passage.id] = scores.get(passage.id, 0.0) + 1 / (k + place)
            passages.setdefault(passage.id, passage)
    return [passages[number] for number, _ in sorted(scores.items(), key=lambda pair: -pair[1])]


def declining(index: Index, questions: Sequence[Question]) -> dict:
    # The base is never asked: what is measured is the most support that any answer could have.
    answerer = RetrievalAnswerer(index, None, RetrievalSettings(), name="")  # type: ignore[arg-type]
    relevance = [evidence.relevance for evidence in answerer.evidence([question.text for question in questions])]
    judged = [Judged(not question.removed, value) for question, value in zip(questions, relevance, strict=True)]
    chosen = [j for j, question in zip(judged, questions, strict=True) if question.article % 2 == 0]
    tested = [j for j, question in zip(judged, questions, strict=True) if question.article % 2 == 1]
    threshold = threshold_of(chosen)
    table: dict = {"chosen_threshold": threshold}
    print(f"\n{'declining':<26}{'declined, no answer':>26}{'declined, with one':>26}")
    for name, at in (("chosen on the other half", threshold), ("default", THRESHOLD)):
        row = {
            kind: rate([j.support < at for j in tested if j.answerable == answerable])
            for kind, answerable in (("declined_unanswerable", False), ("declined_answerable", True))
        }
        print(f"{name + f' {at:.3f}':<26}" + "".join(f"{shown(value):>26}" for value in row.values()))
        table[name] = row | {"threshold": at}
    return table


def answers(index: Index, base: LocalBase, questions: Sequence[Question], options: argparse.Namespace) -> dict:
    tested = [question for question in questions if question.article % 2 == 1]
    order = np.random.default_rng(0).permutation(len(tested))
    sample = [tested[i] for i in order[: options.sample]]
    table: dict = {"sample": len(sample), "unanswerable": sum(question.removed for question in sample)}
    print(f"\nanswers to {len(sample)} questions, of which {table['unanswerable']} have no answer in the index")
    for style in options.styles:
        answerer = RetrievalAnswerer(index, base, RetrievalSettings(style=style), name=style)
        table[style] = answered(answerer, index, sample)
        table[f"{style}, no threshold"] = answered(with_no_threshold(answerer), index, sample)
    return table


def with_no_threshold(answerer: RetrievalAnswerer) -> RetrievalAnswerer:
    settings = replace(answerer.settings, threshold=0.0)
    return RetrievalAnswerer(answerer.index, answerer.base, settings, name=f"{answerer.name}, no threshold")


def answered(answerer: RetrievalAnswerer, index: Index, sample: Sequence[Question]) -> dict:
    began = time.monotonic()
    given = []
    for start in range(0, len(sample), 16):
        part = sample[start : start + 16]
        given += answerer.generate_many([[{"role": "user", "content": question.text}] for question in part])
    seconds = time.monotonic() - began
    pairs = list(zip(sample, given, strict=True))
    with_answer = [(q, a) for q, a in pairs if not q.removed]
    overlaps = [f1(a.text, q.answer) for q, a in with_answer]
    cited = [c for _, a in pairs for c in a.citations]
    row = {
        "exact_match": rate([exact(a.text, q.answer) for q, a in with_answer]),
        "f1": interval(overlaps, np.mean),
        "holds_the_answer": rate([q.answer.lower() in a.text.lower() for q, a in with_answer]),
        "cites_the_answer": rate(
            [any(c.source == q.source and q.answer in c.text for c in a.citations) for q, a in with_answer]
        ),
        "declined_unanswerable": rate([a.abstained for q, a in pairs if q.removed]),
        "declined_answerable": rate([a.abstained for _, a in with_answer]),
        "citations": len(cited),
        "citations_resolve": sum(index.source_text(c.source)[c.start : c.end] == c.text for c in cited),
        "answers_without_citation": sum(not a.citations and not a.abstained for _, a in pairs),
        "prompt_tokens": float(np.mean([a.usage.prompt_tokens for _, a in pairs])),
        "seconds_a_question": round(seconds / len(sample), 2),
    }
    print(f"\n{answerer.name}")
    for name, value in row.items():
        print(f"  {name:<26}{shown(value) if isinstance(value, list) else value:>26}")
    return row


def rate(hits: Sequence[bool]) -> list[float]:
    """Share, and Wilson's 95% interval."""
    n, z = len(hits), 1.96
    if not n:
        return [math.nan] * 3
    share = sum(hits) / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return [share, middle - half, middle + half]


def interval(values: Sequence[float], of: Callable) -> list[float]:
    """A statistic, and its 95% interval by the bootstrap."""
    random = np.random.default_rng(0)
    drawn = [of(random.choice(values, len(values))) for _ in range(2000)]
    return [float(of(values)), *np.quantile(drawn, [0.025, 0.975]).tolist()]


def shown(value: Sequence[float]) -> str:
    return f"{value[0]:.3f} [{value[1]:.3f}-{value[2]:.3f}]"


if __name__ == "__main__":
    main()
