"""Rotary positions (Su et al. 2021, arXiv 2104.09864) and the ways of stretching them to longer contexts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class RopeScaling:
    """How frequencies are stretched; fields as in Hugging Face's `rope_parameters`.

    linear: positions divided by `factor` (Chen et al. 2023, arXiv 2306.15595). dynamic: the base grows with the
    length seen (NTK-aware). llama3: low frequencies stretched, high ones kept (Llama 3.1). yarn: Peng et al. 2023,
    arXiv 2309.00071, with its attention factor on cos and sin. longrope: each frequency divided by a number of its own,
    one of `short_factor` up to the trained length and of `long_factor` beyond (Ding et al. 2024, arXiv 2402.13753),
    with an attention factor likewise.
    """

    kind: Literal["linear", "dynamic", "llama3", "yarn", "longrope"]
    factor: float
    original_length: int
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True
    short_factor: tuple[float, ...] = ()
    long_factor: tuple[float, ...] = ()

    @property
    def depends_on_length(self) -> bool:
        """Whether the longest sequence of a batch decides by what angle every position is turned."""
        return self.kind in ("dynamic", "longrope")


@dataclass(frozen=True)
class Rope:
    """Rotates the first and second half of each head against each other (the Hugging Face arrangement).

    head_dim: the numbers of a head that are rotated, its first ones where a head has more (GPT-NeoX's rotary_pct).
    """

    head_dim: int
    theta: float = 10000.0
    scaling: RopeScaling | None = None

    def tables(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """positions [B, T] int64 -> cos, sin [B, 1, T, head_dim / 2], computed in fp32 and cast."""
        frequencies, factor = self._frequencies(positions)
        angles = positions[:, None, :, None].float() * frequencies
        return (angles.cos() * factor).to(dtype), (angles.sin() * factor).to(dtype)

    def _frequencies(self, positions: Tensor) -> tuple[Tensor, float]:
        s, device = self.scaling, positions.device
        if s is not None and s.kind == "dynamic":
            length = max(int(positions.max()) + 1, s.original_length)
            grown = s.factor * length / s.original_length - (s.factor - 1)
            return self._inverse(self.theta * grown ** (self.head_dim / (self.head_dim - 2)), device), 1.0
        plain = self._inverse(self.theta, device)
        if s is None:
            return plain, 1.0
        if s.kind == "linear":
            return plain / s.factor, 1.0
        if s.kind == "llama3":
            return _llama3(plain, s), 1.0
        if s.kind == "longrope":
            short, long = (torch.tensor(f, dtype=torch.float32, device=device) for f in (s.short_factor, s.long_factor))
            # One choice for all positions, made on the device.
            return plain / torch.where(positions.max() >= s.original_length, long, short), _longrope_attention_factor(s)
        return self._yarn(plain, s), _yarn_attention_factor(s)

    def _inverse(self, theta: float, device: torch.device) -> Tensor:
        exponent = torch.arange(0, self.head_dim, 2, dtype=torch.int64, device=device).float() / self.head_dim
        return 1.0 / (theta**exponent)

    def _yarn(self, plain: Tensor, s: RopeScaling) -> Tensor:
        def dimension(rotations: float) -> float:
            turns = s.original_length / (rotations * 2 * math.pi)
            return self.head_dim * math.log(turns) / (2 * math.log(self.theta))

        low, high = dimension(s.beta_fast), dimension(s.beta_slow)
        if s.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, self.head_dim - 1)
        steps = torch.arange(self.head_dim // 2, dtype=torch.float32, device=plain.device)
        ramp = ((steps - low) / (high - low if high != low else 0.001)).clamp(0, 1)
        return plain / s.factor * ramp + plain * (1 - ramp)


def _llama3(plain: Tensor, s: RopeScaling) -> Tensor:
    wavelength = 2 * math.pi / plain
    smooth = (s.original_length / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor)
    blended = (1 - smooth) * plain / s.factor + smooth * plain
    stretched = torch.where(wavelength > s.original_length / s.low_freq_factor, plain / s.factor, plain)
    between = (wavelength <= s.original_length / s.low_freq_factor) & (
        wavelength >= s.original_length / s.high_freq_factor
    )
    return torch.where(between, blended, stretched)


def _yarn_attention_factor(s: RopeScaling) -> float:
    if s.attention_factor is not None:
        return s.attention_factor

    def scale(m: float) -> float:
        return 1.0 if s.factor <= 1 else 0.1 * m * math.log(s.factor) + 1.0

    if s.mscale and s.mscale_all_dim:
        return scale(s.mscale) / scale(s.mscale_all_dim)
    return scale(1.0)


def _longrope_attention_factor(s: RopeScaling) -> float:
    if s.attention_factor is not None:
        return s.attention_factor
    return 1.0 if s.factor <= 1 else math.sqrt(1 + math.log(s.factor) / math.log(s.original_length))


class _Rotate(torch.autograd.Function):
    """A rotation's gradient is the rotation back: nothing but the tables is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(grad, cos, -sin), None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def rotate(x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    """x [B, H, T, D] turned by the tables of its positions; what of a head is beyond the tables stays as it is."""
    rotated = 2 * tables[0].shape[-1]
    if rotated == x.shape[-1]:
        whole: Tensor = _Rotate.apply(x, *tables)
        return whole
    return torch.cat((_Rotate.apply(x[..., :rotated], *tables), x[..., rotated:]), dim=-1)
