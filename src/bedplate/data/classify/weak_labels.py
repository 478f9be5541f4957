"""Weak labels: what labelling functions say of texts, put together.

`agreement` is the one-coin model of Dawid and Skene (1979, doi 10.2307/2346806) with hard labels: a function's accuracy
is the share of texts on which it says what the others together say, and its vote counts the log-odds of that.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Literal

from bedplate.errors import InputError, RecipeError

LabellingFunction = Callable[[str], object]
Votes = list[str | None]
ROUNDS = 10
_LEAST_WEIGHT, _MOST_WEIGHT = 0.05, 4.0


@dataclass(frozen=True)
class FunctionFacts:
    """spoke: texts of which it said something; agreed: of those, with the joint label; weight: of its vote."""

    name: str
    spoke: int
    agreed: int
    weight: float


def labelling_module(reference: str) -> str:
    """The module of "module:NAME", after making sure that the working directory is looked at, last."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    return reference.partition(":")[0]


def labelling_functions(reference: str) -> list[LabellingFunction]:
    """The functions that "module:NAME" lists. Raises RecipeError where there are none."""
    module, name = labelling_module(reference), reference.partition(":")[2]
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # whatever somebody else's module does when it is imported
        raise RecipeError(
            f"weak.functions: {reference} can't be imported: {type(error).__name__}: {error}",
            "Check the name and PYTHONPATH.",
        ) from error
    if not isinstance(found, list | tuple) or not found or not all(callable(function) for function in found):
        raise RecipeError(f"weak.functions: {reference} isn't a list of functions", "Write NAME = [rule, other_rule].")
    return list(found)


def votes_on(texts: Iterable[str], functions: Sequence[LabellingFunction], most: int) -> tuple[list[str], list[Votes]]:
    """The first `most` texts and what each function says of each. Raises InputError, naming function and text, where
    one raises."""
    from bedplate.data.classify.examples import label_word

    read, votes = [], []
    for text in islice(texts, most):
        row: Votes = []
        for function in functions:
            try:
                said = function(text)
            except Exception as error:
                raise InputError(
                    f"labelling function {_name(function)}: {type(error).__name__}: {error}, on {text[:60]!r}",
                    "Let it return None for what it can't judge.",
                ) from error
            row.append(None if said is None else label_word(said))
        read.append(text)
        votes.append(row)
    return read, votes


def combine(
    votes: Sequence[Votes],
    functions: Sequence[LabellingFunction],
    how: Literal["majority", "agreement"],
    least_votes: int = 1,
) -> tuple[Votes, list[FunctionFacts]]:
    """The joint label of each text, None where too few functions speak or the first place is shared; and of each
    function how it did."""
    weights = [1.0] * len(functions)
    joint = [_winner(row, weights, least_votes) for row in votes]
    kinds = max(2, len({said for row in votes for said in row if said is not None}))
    for _ in range(ROUNDS if how == "agreement" else 0):
        weights = [_weight(votes, weights, j, kinds) for j in range(len(functions))]
        before, joint = joint, [_winner(row, weights, least_votes) for row in votes]
        if joint == before:
            break
    facts = []
    for j, function in enumerate(functions):
        spoke = [(row[j], label) for row, label in zip(votes, joint, strict=True) if row[j] is not None]
        facts.append(
            FunctionFacts(_name(function), len(spoke), sum(said == label for said, label in spoke), weights[j])
        )
    return joint, facts


def _weight(votes: Sequence[Votes], weights: Sequence[float], j: int, kinds: int) -> float:
    """The log-odds of function j's accuracy against the others' joint label; 1 where no other ever speaks beside it."""
    right = wrong = 0
    others = [0.0 if i == j else weight for i, weight in enumerate(weights)]
    for row in votes:
        if row[j] is not None and (label := _winner(row, others, 1, without=j)) is not None:
            right += row[j] == label
            wrong += row[j] != label
    if not right + wrong:
        return 1.0
    accuracy = (right + 1) / (right + wrong + 2)
    return min(max(math.log(accuracy * (kinds - 1) / (1 - accuracy)), _LEAST_WEIGHT), _MOST_WEIGHT)


def _winner(row: Votes, weights: Sequence[float], least: int, without: int = -1) -> str | None:
    totals: Counter[str] = Counter()
    spoken = 0
    for j, (said, weight) in enumerate(zip(row, weights, strict=True)):
        if said is not None and j != without:
            totals[said] += weight  # type: ignore[assignment]
            spoken += 1
    if spoken < least or not totals:
        return None
    best = totals.most_common(2)
    return best[0][0] if len(best) == 1 or best[0][1] - best[1][1] > 1e-9 else None


def _name(function: LabellingFunction) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
