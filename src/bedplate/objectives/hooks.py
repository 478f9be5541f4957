"""What an objective may do besides giving its terms: the loop looks whether it has these, and none is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from bedplate.objectives.term import Batch, Term

_Net = TypeVar("_Net", bound=nn.Module, contravariant=True)


@runtime_checkable
class ActsAfterStep(Protocol[_Net]):
    """An objective that sets the net's states (parameters of role "state") between steps."""

    def after_step(self, net: _Net, sum_over_data: Callable[[Tensor], Tensor]) -> None:
        """Called after each optimiser step, without gradients, on every rank. sum_over_data: a tensor's sum over the
        data ranks, in place."""
        ...


@runtime_checkable
class Reports(Protocol):
    """An objective with numbers of its own in metrics.jsonl."""

    def report(self) -> dict[str, float]:
        """Finite numbers for the next line, by name, of the steps since the last one; then they are forgotten."""
        ...


@runtime_checkable
class Resumes(Protocol):
    """An objective that has gathered figures since the last line: a checkpoint keeps them, so that a resumed run's
    next line is what it would have been."""

    def gathered(self) -> list[list[float]]:
        """What there is, as numbers that JSON keeps exactly."""
        ...

    def resume(self, gathered: list[list[float]]) -> None:
        """Go on from what `gathered` gave."""
        ...


@runtime_checkable
class Coupled(Protocol[_Net]):
    """An objective whose rows are judged by each other: its loss is a function of the features of the whole global
    batch, and no sum over rows. The loop computes features by micro-batch and gathers them (train/coupled.py)."""

    couples: Literal[True]

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        """As `Objective.weights`."""
        ...

    def features(self, net: _Net, batch: Batch) -> Tensor:
        """[B, ...] fp32: what the loss needs of each row, learnt numbers (a temperature) applied to it already."""
        ...

    def loss(self, features: Tensor) -> dict[str, Term]:
        """Each term's sum over all rows, from the features of the global batch [N, ...] and nothing else."""
        ...
