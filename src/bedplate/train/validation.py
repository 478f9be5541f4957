"""What a run is checked against while it trains: anything that scores the net as it stands."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from bedplate.data.row_sources import FiniteRows, ScoredRows
from bedplate.errors import InputError
from bedplate.objectives.hooks import Coupled
from bedplate.objectives.term import Term
from bedplate.train.coupled import coupled_terms
from bedplate.train.loader import counted_batches, to_tensors, validation_batches

if TYPE_CHECKING:
    from bedplate.train.loop import Trainer

_Scored = tuple[dict[str, Term], dict[str, Tensor], bool]
"""Each term of a batch, its weight, and whether the batch counts."""
_CHECK = "Check the loss mask (keep), or give more validation rows."


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
    """Mean loss in nats a token and bits a byte over whole documents, by the run's own objective.

    term: the objective's likelihood of the tokens; what else it has (a router's balance) isn't part of the score.
    """

    rows: ScoredRows
    term: str = "next_token"

    def scores(self, run: Trainer[Any]) -> dict[str, Any]:
        rows = self.rows
        parts: list[Tensor] = []
        for batch in validation_batches(rows, run.micro_size, run.parallel, run.device):
            parts.append(run.step.terms(batch)[self.term].sum)
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


@dataclass(frozen=True)
class MeanLoss:
    """The objective's own loss over one pass of rows of any kind: each term's sum over its weight in the whole pass.

    likelihood: the term that is a negative log-likelihood, exp of which is reported as perplexity; None where there is
    none. Scores: `loss`, each term's mean by name where there are several, `perplexity`, `weight` by term. An objective
    that couples rows is scored on blocks of the run's batch, as it trains; what is left over isn't scored.
    """

    rows: FiniteRows
    likelihood: str | None = None

    @torch.no_grad()
    def scores(self, run: Trainer[Any]) -> dict[str, Any]:
        objective = run.step.objective
        sums: dict[str, float] = {}
        weights: dict[str, float] = {}
        coefficients: dict[str, float] = {}
        coupled = isinstance(objective, Coupled)
        batches = self._coupled(run, objective) if isinstance(objective, Coupled) else self._plain(run)
        for terms, counted, counts in batches:
            for name, term in terms.items():
                coefficients[name] = term.coefficient
                # Named on every rank, whatever it has, for all add up the same terms.
                sums[name] = sums.get(name, 0.0) + (float(term.sum) if counts else 0.0)
                weights[name] = weights.get(name, 0.0) + (float(counted[name]) if counts else 0.0)
        if not coupled:
            sums = {name: run.parallel.total(value, run.device) for name, value in sums.items()}
            weights = {name: run.parallel.total(value, run.device) for name, value in weights.items()}
        for name, weight in weights.items():
            if not weight > 0:
                raise InputError(f"nothing in the validation rows is supervised for the loss {name!r}", _CHECK)
        means = {name: value / weights[name] for name, value in sums.items()}
        scores: dict[str, Any] = {"loss": math.fsum(coefficients[name] * value for name, value in means.items())}
        if len(means) > 1:
            scores |= means
        if self.likelihood is not None:
            scores["perplexity"] = math.exp(means[self.likelihood])
        return scores | {"weight": weights}

    def shown(self, scores: dict[str, Any]) -> dict[str, str]:
        name = "loss" if self.likelihood is None else "perplexity"
        return {f"validation {name}": f"{scores[name]:.3f}"}

    def _plain(self, run: Trainer[Any]) -> Iterator[_Scored]:
        for batch, counts in counted_batches(self.rows, run.micro_size, run.parallel, run.device):
            yield run.step.terms(batch), run.step.objective.weights(batch), counts

    def _coupled(self, run: Trainer[Any], objective: Coupled[Any]) -> Iterator[_Scored]:
        loader, blocks = run.loader, self.rows.count // run.loader.size
        if not blocks:
            raise InputError(
                f"{self.rows.count} validation rows, where the loss compares the {loader.size} of a batch",
                "Give more validation rows, or use a smaller batch.",
            )
        for block in range(blocks):
            batch = to_tensors(self.rows.rows(block * loader.size + loader.offset, loader.share), run.device)
            terms = coupled_terms(run.step, objective, run.micro_batches(batch), run.parallel)
            weights = {n: w * run.parallel.data_ranks for n, w in objective.weights(batch).items()}
            yield terms, weights, True
