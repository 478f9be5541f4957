"""The parameter table: what every parameter of a model is.

Initialisation, optimiser groups, weight decay, FLOP counts and tensor-parallel plans derive from this one table. A
module that owns parameters says what they are in `parameter_info`; one that doesn't is an error, so that nothing is
trained by accident with another's settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import nn

from bedplate.errors import InternalError

Role = Literal["embedding", "hidden", "head", "norm", "bias", "state"]
"""state: never trained by gradients, but the model's own: kept in checkpoints and saved."""


@dataclass(frozen=True)
class ParameterInfo:
    """What one parameter is.

    role: what it does. "state" is never trained (requires_grad False) and still part of the model: what an objective
        sets between steps, saved and resumed with the rest (a router's balancing bias). No shard.
    fan_in, fan_out: sizes of the map that it is part of (a norm's gain is fan_in 1).
    shard: the axis that tensor parallelism cuts, None where every rank holds the whole.
    partial_gradient: True where tensor parallelism gives each rank only its part of the gradient of a whole
        parameter (a norm applied to this rank's heads alone), so that the parts must be summed.
    active: the share of its numbers that one token is multiplied by (experts).
    residual: whether it writes into the residual stream; what tensor parallelism cuts along axis 1 does besides.
    """

    role: Role
    fan_in: int
    fan_out: int
    shard: int | None = None
    partial_gradient: bool = False
    active: float = 1.0
    residual: bool = False


@runtime_checkable
class HasParameterInfo(Protocol):
    """A module that owns parameters directly and says what they are."""

    def parameter_info(self) -> dict[str, ParameterInfo]: ...


def parameter_table(model: nn.Module) -> dict[str, ParameterInfo]:
    """Every parameter's full name -> what it is. A tied parameter stands once, under its first name.

    Raises InternalError for a parameter that no module describes.
    """
    table: dict[str, ParameterInfo] = {}
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if not own:
            continue
        described = module.parameter_info() if isinstance(module, HasParameterInfo) else {}
        for name, parameter in own.items():
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            full = f"{prefix}.{name}" if prefix else name
            if name not in described:
                raise InternalError(
                    f"{full} ({type(module).__name__}) stands in no parameter table",
                    "Describe it in that module's parameter_info().",
                )
            table[full] = described[name]
    return table
