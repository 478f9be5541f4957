"""What storing may do to a tensor: round its values within the bound of the format, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bedplate.errors import WeightsError
from bedplate.families.family_config import FamilyConfig
from bedplate.families.registry import Family

CHUNK_ELEMENTS = 1 << 22
"""Values widened to fp64 at once."""


@dataclass(frozen=True)
class Rounding:
    """Norm of the error <= `relative` * norm of the tensor + `absolute` * sqrt(values). The second term is what is
    lost where values are too small for a format whose exponent is short."""

    relative: float
    absolute: float


EXACT = Rounding(0.0, 0.0)
ROUNDING: Mapping[str, Rounding] = {
    # Ten bits stored: rounding to nearest is off by at most 2^-11 of a value. Below 2^-14 all steps are 2^-24.
    "float16": Rounding(2**-10, 2**-25),
    # Seven bits stored: at most 2^-8 of a value, with float32's own exponents.
    "bfloat16": Rounding(2**-8, 0.0),
    # Blocks of 32 values: integers up to 127 times a scale d = greatest / 127 in float16. Rounding to an integer is off
    # by d / 2 = greatest / 254 a value, so by sqrt(32) / 254 * greatest in a block, whose norm is at least `greatest`;
    # rounding d by 2^-11 of each value, or by 2^-25 times an integer up to 127 where d is below 2^-14. What holds of
    # each block holds of the tensor. Rows that don't divide into blocks are float16, which is closer.
    "q8_0": Rounding(math.sqrt(32) / 254 + 2**-11, 127 * 2**-25),
}


def rounding_of(own: torch.dtype, stored: str) -> Rounding:
    """Exact where `stored` holds every value of `own`. float64 counts as float32, which all answers are computed in."""
    return EXACT if stored in (str(own).removeprefix("torch."), "float32") else ROUNDING[stored]


@dataclass(frozen=True)
class TensorError:
    """The tensor furthest from its source, by its name in Hugging Face's layout; the norm of the error over the norm
    of the source (Frobenius)."""

    name: str
    relative: float


class Weighted(Protocol):
    """What is compared: a model or an encoder."""

    @property
    def net(self) -> nn.Module: ...

    @property
    def config(self) -> FamilyConfig: ...

    @property
    def family(self) -> Family[Any, Any]: ...


def compare_tensors(
    source: Weighted, result: Weighted, own: Mapping[str, torch.dtype], *, stored: str, what: str
) -> TensorError:
    """Compare every tensor of two models; the one that is furthest off.

    own: what the source's tensors were in, by our names. The source loses each tensor once it has been compared, so
    that memory falls on the way. Raises WeightsError naming `what` and the first tensor that is further from its source
    than storing it as `stored` can explain.
    """
    spellings = source.family.table(source.config).pairs(own, source.config.num_hidden_layers)
    theirs = dict(result.net.named_parameters())
    if own.keys() != theirs.keys():
        odd = ", ".join(sorted(own.keys() ^ theirs.keys())[:8])
        raise WeightsError(f"{what}: the result hasn't the parameters of its source: {odd}", "Please report it.")
    greatest = TensorError("", -1.0)
    for ours, dtype in own.items():
        name, a, b = spellings[ours][0], source.net.get_parameter(ours).detach(), theirs[ours].detach()
        relative = compare_tensor(name, a, b, dtype, stored=stored, what=what)
        if relative > greatest.relative:
            greatest = TensorError(name, relative)
        owner, _, leaf = ours.rpartition(".")
        setattr(source.net.get_submodule(owner), leaf, nn.Parameter(a.to("meta"), requires_grad=False))
    return greatest


def compare_tensor(name: str, a: Tensor, b: Tensor, own: torch.dtype, *, stored: str, what: str) -> float:
    """Norm of b - a over norm of a, where `b` is what became of `a`. Raises as `compare_tensors`."""
    if a.shape != b.shape:
        raise WeightsError(f"{what}: {name} is {list(b.shape)} and was {list(a.shape)}", "Please report it.")
    error, norm = _norms(a, b)
    rounding = rounding_of(own, stored)
    limit = rounding.relative * norm + rounding.absolute * math.sqrt(a.numel())
    relative = error / norm if norm else (0.0 if error == 0 else math.inf)
    if not error <= limit:  # NaN lands here too
        raise WeightsError(
            f"{what}: {name} isn't its source stored as {stored}: it is off by {relative:.3g} of its norm, and "
            f"rounding can't cost more than {limit / norm if norm else 0:.3g}",
            "Please report it: this type holds the source exactly."
            if rounding == EXACT
            else "Store it in a wider type: dtype=float32. Please report it if values don't overflow this one.",
        )
    return relative


def _norms(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Norm of b - a, and of a. What is equally infinite or no number in both is no difference."""
    error = norm = 0.0
    for x, y in zip(_chunks(a), _chunks(b), strict=True):
        same = (x == y) | (x.isnan() & y.isnan())
        error += torch.where(same, 0.0, y - x).square().sum().item()
        norm += torch.where(x.isfinite(), x, 0.0).square().sum().item()
    return math.sqrt(error), math.sqrt(norm)


def _chunks(tensor: Tensor) -> Iterator[Tensor]:
    for chunk in tensor.reshape(-1).split(CHUNK_ELEMENTS):
        yield chunk.cpu().double()
