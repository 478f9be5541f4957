"""The words of a text and how much each tells: what two texts share counts by how rare it is in the index."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from bedplate.data.corpus import ParquetTable

WORDS = "words.parquet"

# Chinese, Japanese and Korean write no spaces: there each character counts as a word.
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_ENDINGS = ("ing", "ed", "es", "ly", "s")
_LEAST_STEM = 3

# Rare in documents, yet they say nothing of what a question is about.
_ASKING = "what which who whom whose when where why how do does did much many called name named following"
_SMALL = "a an the of in on at to for and or is are was were be been being by with from as it its this that these those"
_SILENT = frozenset(f"{_ASKING} {_SMALL}".split())


def words(text: str) -> frozenset[str]:
    """The words of a text, folded in case and without common English endings; small words and those of asking left
    out."""
    return frozenset(stem for word in _WORD.findall(text.casefold()) if word not in _SILENT and (stem := _stem(word)))


def numbers(of: Iterable[str]) -> frozenset[str]:
    """Those of the words that have a digit."""
    return frozenset(word for word in of if any(char.isdigit() for char in word))


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST_STEM and word.isalpha():
            return word[: -len(ending)]
    return word


class Vocabulary:
    """In how many of an index's chunks each word is."""

    def __init__(self, counts: Mapping[str, int], chunks: int) -> None:
        self._counts, self._chunks = counts, chunks

    def weight(self, word: str) -> float:
        """BM25's inverse document frequency (Robertson, Zaragoza 2009); greatest for a word that no chunk has."""
        count = self._counts.get(word, 0)
        return math.log(1 + (self._chunks - count + 0.5) / (count + 0.5))

    def share(self, of: Iterable[str], within: frozenset[str]) -> float:
        """How much of the weight of some words is found within others, in [0, 1]; 0 where there is no word."""
        total = found = 0.0
        for word in of:
            weight = self.weight(word)
            total += weight
            found += weight if word in within else 0.0
        return found / total if total else 0.0

    @staticmethod
    def save(folder: Path, counts: Counter[str]) -> None:
        """Write words.parquet."""
        with ParquetTable(folder, "words", {"word": "string", "chunks": "int64"}, single=True) as table:
            for word, count in sorted(counts.items()):
                table.add({"word": word, "chunks": count})

    @classmethod
    def load(cls, path: Path, chunks: int) -> Vocabulary:
        """Read words.parquet of an index of so many chunks."""
        import pyarrow.parquet as pq

        found = pq.read_table(path)
        return cls(dict(zip(found.column("word").to_pylist(), found.column("chunks").to_pylist(), strict=True)), chunks)
