"""How far annotators agree, beyond what chance gives: Cohen's and Fleiss' kappa, Krippendorff's alpha.

All are 1 for perfect agreement and about 0 for chance. None stands where a figure has no meaning: nothing was labelled
twice, or only one label was ever used, so that chance agrees perfectly too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from bedplate.errors import InputError

Ratings = Mapping[str, Mapping[str, str]]
"""{document: {annotator: label}}"""


@dataclass(frozen=True)
class Pair:
    """Two annotators, over the documents that both labelled."""

    annotators: tuple[str, str]
    documents: int
    agreement: float
    """Share of those documents on which they agree."""
    kappa: float | None


@dataclass(frozen=True)
class Agreement:
    """What `agreement` finds."""

    documents: int
    """Documents with a label."""
    shared: int
    """Those with labels of two annotators or more."""
    observed: float | None
    """Share of pairs of labels of one document that are equal; every document counts alike."""
    alpha: float | None
    """Krippendorff's, nominal."""
    pairs: tuple[Pair, ...]
    counts: dict[str, dict[str, int]]
    """{annotator: {label: documents}}"""
    disputed: tuple[str, ...]
    """Documents on which annotators differ, in order."""


def agreement(ratings: Ratings) -> Agreement:
    """The figures for all annotators together and for each two of them."""
    annotators = sorted({name for given in ratings.values() for name in given})
    shared = {document: given for document, given in ratings.items() if len(given) > 1}
    pairs = []
    for one, other in combinations(annotators, 2):
        both = [(given[one], given[other]) for given in shared.values() if one in given and other in given]
        if both:
            share = sum(a == b for a, b in both) / len(both)
            pairs.append(Pair((one, other), len(both), share, cohen_kappa(both)))
    counts = {name: Counter(given[name] for given in ratings.values() if name in given) for name in annotators}
    units = [list(given.values()) for given in ratings.values()]
    return Agreement(
        documents=len(ratings),
        shared=len(shared),
        observed=observed_agreement(units),
        alpha=krippendorff_alpha(units),
        pairs=tuple(pairs),
        counts={name: dict(sorted(found.items())) for name, found in counts.items()},
        disputed=tuple(document for document, given in shared.items() if len(set(given.values())) > 1),
    )


def observed_agreement(units: Iterable[Sequence[str]]) -> float | None:
    """Mean over units of the share of their pairs of labels that are equal; units without a pair don't count."""
    shares = [
        sum(n * (n - 1) for n in Counter(unit).values()) / (len(unit) * (len(unit) - 1))
        for unit in units
        if len(unit) > 1
    ]
    return sum(shares) / len(shares) if shares else None


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa (1960, doi 10.1177/001316446002000104) of two annotators' labels of the same documents."""
    count = len(pairs)
    if not count:
        return None
    observed = sum(one == other for one, other in pairs) / count
    first, second = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    chance = sum(first[label] * second[label] for label in first) / count**2
    return None if chance == 1 else (observed - chance) / (1 - chance)


def fleiss_kappa(counts: npt.ArrayLike) -> float | None:
    """Fleiss' kappa (1971, doi 10.1037/h0031619). counts: [documents, labels], how many annotators gave each label.

    Raises InputError unless every document has the same number of labels, two at least; `krippendorff_alpha` takes
    them as they are.
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or not len(table):
        raise InputError("Fleiss' kappa: no table of documents and labels", "Give [documents, labels] of counts.")
    raters = table.sum(axis=1)
    n = raters[0]
    if n < 2 or not (raters == n).all():
        raise InputError(
            "Fleiss' kappa: documents with different numbers of labels, or fewer than two",
            "Use Krippendorff's alpha, which allows that.",
        )
    observed = ((table * (table - 1)).sum(axis=1) / (n * (n - 1))).mean()
    chance = float(((table.sum(axis=0) / table.sum()) ** 2).sum())
    return None if chance == 1 else float((observed - chance) / (1 - chance))


def krippendorff_alpha(units: Iterable[Sequence[str]]) -> float | None:
    """Krippendorff's alpha for nominal labels (2011, "Computing Krippendorff's Alpha-Reliability").

    units: for each document the labels that it got, in any number: who didn't label it is just absent.
    """
    agreeing, totals = 0.0, Counter[str]()
    for unit in units:
        if len(unit) < 2:
            continue
        found = Counter(unit)
        totals.update(found)
        agreeing += sum(n * (n - 1) for n in found.values()) / (len(unit) - 1)
    n = totals.total()
    if len(totals) < 2:
        return None
    chance = sum(k * (k - 1) for k in totals.values())
    return ((n - 1) * agreeing - chance) / (n * (n - 1) - chance)
