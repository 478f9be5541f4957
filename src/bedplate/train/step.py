"""Net and objective as one module: what FSDP2 sees as its root."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from bedplate.objectives.term import Batch, Net, Objective, Term

Result = TypeVar("Result")


class Step(nn.Module, Generic[Net]):
    """Whatever is asked of the net goes through one forward, in which FSDP2 has its parameters whole."""

    def __init__(self, net: Net, objective: Objective[Net]) -> None:
        super().__init__()
        self.net = net
        self.objective = objective

    def forward(self, use: Callable[[Net], Any]) -> Any:
        """What `use` makes of the net: tensors, or lists and dicts of them."""
        return use(self.net)

    def on_net(self, use: Callable[[Net], Result]) -> Result:
        """`forward`, with its type."""
        result: Result = self(use)
        return result

    def share(self, batch: Batch, weights: Mapping[str, Tensor]) -> Tensor:
        """This part's share of the global mean loss, a scalar. weights: those of the whole global batch."""
        return self.on_net(lambda net: mean(self.objective(net, batch), weights))

    def terms(self, batch: Batch) -> dict[str, Term]:
        """The objective's terms over this part. Without gradients only: FSDP2 finds tensors in lists and dicts, and
        none in a `Term`, to prepare their backward pass."""
        return self.on_net(lambda net: self.objective(net, batch))


def mean(terms: Mapping[str, Term], weights: Mapping[str, Tensor]) -> Tensor:
    """The loss: each term's sum over its weight, by its coefficient, added up."""
    return torch.stack([term.coefficient * term.sum / weights[name] for name, term in terms.items()]).sum()
