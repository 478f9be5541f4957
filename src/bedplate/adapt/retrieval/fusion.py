"""One ranking out of two whose scores can't be compared: cosines and BM25.

Each question's scores are scaled to [0, 1] by the best and the least (for BM25: none) that it found, and the mean of
the two counts: a convex combination with min-max normalisation (Bruch, Gai, Ingber 2022, "An analysis of fusion
functions for hybrid retrieval", arXiv 2210.11934). The scale makes it indifferent to how an encoder's cosines spread.
Reciprocal rank fusion was tried and found fewer of XQuAD's paragraphs first (benchmarks/retrieval.py): ranks often tie.
"""

from __future__ import annotations

from collections.abc import Mapping


def fused(cosines: Mapping[int, float], words: Mapping[int, float], least: float) -> list[tuple[int, float]]:
    """Every item with its fused score in [0, 1], best first; among equals the one of higher cosine.

    cosines: of all items. words: BM25 of those that have words of the question. least: the cosine that counts as 0,
    that of the last of the nearest; what words alone found may lie below it, and counts as 0 too.
    """
    spread = max(cosines.values(), default=0.0) - least
    most = max(words.values(), default=0.0)
    scores = {}
    for item, near in cosines.items():
        by_vector = min(1.0, max(0.0, near - least) / spread) if spread > 0 else 1.0
        scores[item] = (by_vector + (words.get(item, 0.0) / most if most > 0 else 0.0)) / 2
    return sorted(scores.items(), key=lambda pair: (-pair[1], -cosines[pair[0]]))
