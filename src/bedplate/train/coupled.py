"""Updates whose rows are judged by each other, exact however the batch is cut into micro-batches and ranks.

Features of each micro-batch are computed without gradients and gathered over the data ranks; the loss and its gradient
are taken with respect to them; then each micro-batch is run again, and given its part of that gradient (GradCache, Gao
et al., arXiv 2101.06983). Memory is that of one micro-batch, at the price of a second forward pass; a rank that has
its rows in one piece needs none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bedplate.objectives.hooks import Coupled
from bedplate.objectives.term import Batch, Net, Term
from bedplate.train.parallel import Parallel
from bedplate.train.step import Step, mean


def coupled_backward(
    step: Step[Net],
    objective: Coupled[Net],
    parts: Sequence[Batch],
    weights: Mapping[str, Tensor],
    parallel: Parallel,
) -> Tensor:
    """Add this rank's part of the gradients to the parameters; returns the loss of the whole global batch.

    parts: the micro-batches of this rank, equally many rows on each. weights: those of the global batch.
    """
    again = len(parts) > 1
    generators = _generators(step.net)
    states: list[list[Tensor]] = []
    features: list[Tensor] = []
    with torch.set_grad_enabled(not again):
        for part in parts:
            states.append([generator.get_state() for generator in generators])
            features.append(_features(step, objective, part))
    whole = parallel.gather_over_data(torch.cat(features).detach()).requires_grad_()
    loss = mean(objective.loss(whole), weights)
    (gradient,) = torch.autograd.grad(loss, whole)
    own = gradient.chunk(parallel.data_ranks)[parallel.data_rank].split([len(f) for f in features])
    for i, part in enumerate(parts):
        if again:
            for generator, state in zip(generators, states[i], strict=True):
                generator.set_state(state)  # the same places are dropped again
            features[i] = _features(step, objective, part)
        features[i].backward(own[i])
    return loss.detach()


@torch.no_grad()
def coupled_terms(
    step: Step[Net], objective: Coupled[Net], parts: Sequence[Batch], parallel: Parallel
) -> dict[str, Term]:
    """The terms of the global batch of which each data rank has `parts`."""
    features = torch.cat([_features(step, objective, part) for part in parts])
    return objective.loss(parallel.gather_over_data(features))


def _features(step: Step[Net], objective: Coupled[Net], batch: Batch) -> Tensor:
    return step.on_net(lambda net: objective.features(net, batch))


def _generators(net: nn.Module) -> list[torch.Generator]:
    """Those that the net's own layers draw from while they train (dropout of adapters)."""
    found: dict[int, Any] = {}
    for module in net.modules():
        generator = getattr(module, "generator", None)
        if isinstance(generator, torch.Generator):
            found[id(generator)] = generator
    return list(found.values())
