"""What a run is checked against while it trains: anything that scores the net as it stands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from bedplate.train.loader import ScoredRows, validation_batches

if TYPE_CHECKING:
    from bedplate.train.loop import Trainer


class Validation(Protocol):
    """Called between steps, in evaluation mode and without gradients. Under several processes every rank calls it."""

    def scores(self, run: Trainer[Any]) -> dict[str, Any]:
        """What goes into the metrics and comes back from `Trainer.train`; JSON-able."""
        ...

    def shown(self, scores: dict[str, Any]) -> dict[str, str]:
        """The few of them that the progress line shows, by name."""
        ...


@dataclass(frozen=True)
class BitsPerByte:
    """Mean loss in nats a token and bits a byte over whole documents, by the run's own objective."""

    rows: ScoredRows

    def scores(self, run: Trainer[Any]) -> dict[str, Any]:
        rows = self.rows
        parts: list[Tensor] = []
        for batch in validation_batches(rows, run.micro_size, run.parallel, run.device):
            ones = {name: torch.ones_like(w) for name, w in run.step.objective.weights(batch).items()}
            parts.append(run.step(batch, ones))
        nats = run.parallel.total(math.fsum(torch.stack(parts).tolist()), run.device)
        return {
            "loss": nats / rows.pairs,
            "bits_per_byte": nats / math.log(2) / rows.bytes,
            "documents": rows.documents,
            "tokens": rows.pairs,
            "bytes": rows.bytes,
        }

    def shown(self, scores: dict[str, Any]) -> dict[str, str]:
        return {"validation bits/byte": f"{scores['bits_per_byte']:.3f}"}
