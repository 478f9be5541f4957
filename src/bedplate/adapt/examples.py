"""In-context examples: which of the training examples a prompt shows. The same for all, drawn for each text, or the
nearest by an encoder. A pure function of (the kept examples, the text, the seed)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Literal

import numpy as np
import numpy.typing as npt

from bedplate.config.randomness import fold_in
from bedplate.tasks.examples import Example, Task

How = Literal["fixed", "random", "nearest"]
Floats = npt.NDArray[np.float32]
Shown = tuple[str, str]
"""A text and what is right for it."""


class Chooser:
    """Chooses `shots` of the kept examples for each text, the most useful last: nearest to the question.

    vectors [M, D]: of the kept examples, of length 1; embed: of any texts. Both for "nearest" only.
    """

    def __init__(
        self,
        how: How,
        kept: Sequence[Shown],
        shots: int,
        seed: int,
        *,
        vectors: Floats | None = None,
        embed: Callable[[Sequence[str]], Floats] | None = None,
    ) -> None:
        self._how, self._kept, self._shots, self._seed = how, tuple(kept), min(shots, len(kept)), seed
        self._vectors, self._embed = vectors, embed

    def choose(self, texts: Sequence[str]) -> list[list[Shown]]:
        """The examples of each text, in the order to show them."""
        if self._how == "fixed":
            return [list(self._kept[: self._shots]) for _ in texts]
        if self._how == "random":
            return [self._drawn(text) for text in texts]
        assert self._vectors is not None
        assert self._embed is not None
        if not texts:
            return []
        similar = self._embed(texts) @ self._vectors.T
        order = np.argsort(-similar, axis=1, kind="stable")[:, : self._shots]
        return [[self._kept[i] for i in row[::-1]] for row in order]

    def _drawn(self, text: str) -> list[Shown]:
        return random.Random(fold_in(self._seed, "examples", text)).sample(self._kept, self._shots)


def fixed_examples(task: Task, shots: int, seed: int) -> list[Shown]:
    """`shots` training examples for all prompts, drawn class by class: no class twice before all were seen once."""
    rng = random.Random(fold_in(seed, "fixed examples"))
    train = list(task.train)
    rng.shuffle(train)
    groups: dict[str, list[Example]] = {}
    for example in train:
        groups.setdefault(example.target if task.classes else "", []).append(example)
    in_turn = [e for row in zip_longest(*groups.values()) for e in row if e is not None]
    return [(e.input, e.target) for e in in_turn[:shots]]
