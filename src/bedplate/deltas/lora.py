"""LoRA (Hu et al. 2021, arXiv 2106.09685): beside each frozen linear map a trained one of low rank.

    delta = add_lora(net, LoraConfig(rank=16, alpha=32), generator)     # in place; base weights frozen, never copied
    delta.parameters()                  # name in net -> nn.Parameter, fp32, the only ones that want a gradient
    with delta.disabled(): ...          # the base's own answers
    delta.seed_dropout(seed)            # before each step, where dropout isn't 0

`net` is any tree of modules: the decoder, an encoder. Every `bedplate.nn.linear.Linear` in it gets a delta except heads
(role "head"); `targets` narrows it. To keep the base as it is beside the adapted net, adapt a copy that shares its
tensors (`bedplate.deltas.sharing`). Saving and loading: `bedplate.deltas.adapter`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bedplate.deltas.replaced import Replaced
from bedplate.errors import InputError
from bedplate.nn.linear import Linear
from bedplate.nn.parameters import ParameterInfo

A, B = "lora_a", "lora_b"


@dataclass(frozen=True)
class LoraConfig:
    """y = x W^T + s (dropout(x) A^T) B^T, with A [rank, in], B [out, rank] and s = alpha / rank.

    rslora: s = alpha / sqrt(rank) (Kalajdzievski 2023, arXiv 2312.03732). targets: ends of the paths of the modules
    that get a delta, in Hugging Face's spelling ("q_proj"); all linear maps where None. rank_pattern, alpha_pattern:
    regular expression that the end of a path matches -> its own rank, alpha; the first that matches counts.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    rslora: bool = False
    targets: tuple[str, ...] | None = None
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ranks, alphas = (self.rank, *self.rank_pattern.values()), (self.alpha, *self.alpha_pattern.values())
        if min(ranks) < 1:
            raise InputError(f"LoRA: a rank of {min(ranks)}", "Ranks begin with 1.")
        if not all(math.isfinite(a) for a in alphas):
            raise InputError(f"LoRA: an alpha of {next(a for a in alphas if not math.isfinite(a))}", "Use a number.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"LoRA: a dropout of {self.dropout}", "Use a share from 0 to below 1.")

    def rank_of(self, path: str) -> int:
        """The rank of the module at a path."""
        return int(_by_pattern(self.rank_pattern, path, self.rank))

    def scale_of(self, path: str, rank: int) -> float:
        """s of the module at a path."""
        alpha = float(_by_pattern(self.alpha_pattern, path, self.alpha))
        return alpha / math.sqrt(rank) if self.rslora else alpha / rank

    def chooses(self, path: str) -> bool:
        """Whether the module at a path gets a delta."""
        return self.targets is None or any(path == t or path.endswith(f".{t}") for t in self.targets)


def _by_pattern(patterns: Mapping[str, float], path: str, default: float) -> float:
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", path)), default)


class LoraLinear(Linear):
    """A linear map with a delta. Shares weight and bias with `base`, under the same names; adds `lora_a` [rank, in] and
    `lora_b` [out, rank] in fp32. Computes in its input's dtype."""

    lora_a: nn.Parameter
    lora_b: nn.Parameter

    def __init__(
        self,
        base: Linear,
        rank: int,
        scale: float,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        """generator: of what is dropped; its own where None."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.role, self.shard, self.reduce = base.role, base.shard, base.reduce
        self.weight, self.bias = base.weight, base.bias
        self.scale, self.dropout, self.enabled = scale, dropout, True
        device = base.weight.device
        self.generator = generator or torch.Generator(device)
        self.lora_a = nn.Parameter(torch.empty(rank, self.in_features, device=device))
        self.lora_b = nn.Parameter(torch.zeros(self.out_features, rank, device=device))
        self.train(base.training)

    def parameter_info(self) -> dict[str, ParameterInfo]:
        rank = self.lora_a.shape[0]
        info = super().parameter_info()
        # Tensor parallelism cuts W's outputs (0) or its inputs (1). What is then whole on every rank has met only this
        # rank's part of the outputs, or of the inputs, so that the ranks' gradients are parts of one sum.
        info[A] = ParameterInfo(
            "hidden", self.in_features, rank, shard=1 if self.shard == 1 else None, partial_gradient=self.shard == 0
        )
        info[B] = ParameterInfo(
            "hidden", rank, self.out_features, shard=0 if self.shard == 0 else None, partial_gradient=self.shard == 1
        )
        return info

    def forward(self, x: Tensor) -> Tensor:
        if not self.enabled:
            return super().forward(x)
        if self.reduce is None:
            return self._product(x, self.bias)
        y = self.reduce(self._product(x, None))
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def _product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        drops = self.training and self.dropout > 0
        trains_base = self.weight.requires_grad or (bias is not None and bias.requires_grad)
        if not drops and not trains_base:
            fused: Tensor = _FrozenPlusLowRank.apply(x, self.weight, bias, self.lora_a, self.lora_b, self.scale)
            return fused
        y = F.linear(x, self.weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
        low = F.linear(self._dropped(x) if drops else x, self.lora_a.to(x.dtype))
        return y + F.linear(low, self.lora_b.to(x.dtype)) * self.scale

    def _dropped(self, x: Tensor) -> Tensor:
        kept = torch.empty(x.shape, device=x.device).bernoulli_(1 - self.dropout, generator=self.generator)
        return x * (kept / (1 - self.dropout)).to(x.dtype)

    def merged(self) -> Linear:
        """A plain map of W + s B A, in fp32 at least, and the same bias."""
        wide = torch.promote_types(self.weight.dtype, torch.float32)
        a, b = self.lora_a.detach().to(wide), self.lora_b.detach().to(wide)
        weight = torch.addmm(self.weight.detach().to(wide), b, a, alpha=self.scale)
        with torch.device("meta"):
            plain = Linear(self.in_features, self.out_features, role=self.role, shard=self.shard)
        plain.weight, plain.bias = nn.Parameter(weight, requires_grad=False), self.bias
        plain.reduce = self.reduce
        return plain.train(self.training)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, rank={self.lora_a.shape[0]}, scale={self.scale:g}"


class _FrozenPlusLowRank(torch.autograd.Function):
    """x W^T + bias + s (x A^T) B^T with W and bias frozen. Of the activations only x is kept, which maps that read the
    same x share, and x A^T, which is narrow; sums stay inside the matrix products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        low = rows @ a.to(x.dtype).t()
        y = F.linear(rows, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
        y.addmm_(low, b.to(x.dtype).t(), alpha=scale)
        ctx.save_for_backward(x, low, weight, a, b)
        ctx.scale = scale
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, Tensor | None, Tensor | None, None]:
        x, low, weight, a, b = ctx.saved_tensors
        need_x, _, _, need_a, need_b, _ = ctx.needs_input_grad
        rows, g = x.reshape(-1, x.shape[-1]), grad.reshape(-1, grad.shape[-1])
        grad_x = grad_a = grad_b = None
        if need_b:
            # The narrow side first: on CPU half the time of its transpose.
            grad_b = (low.t() @ g).t().to(b.dtype, memory_format=torch.contiguous_format).mul_(ctx.scale)
        if need_a or need_x:
            grad_low = (g @ b.to(g.dtype)).mul_(ctx.scale)
            if need_a:
                grad_a = (grad_low.t() @ rows).to(a.dtype)
            if need_x:
                grad_x = (g @ weight.to(g.dtype)).addmm_(grad_low, a.to(g.dtype)).view(x.shape)
        return grad_x, None, None, grad_a, grad_b, None


@dataclass
class LoraDelta:
    """The LoRA layers of one net, by the paths of our modules, and base parameters that the adapter replaces (none but
    in folders made elsewhere)."""

    config: LoraConfig
    layers: dict[str, LoraLinear]
    replaced: Replaced = field(default_factory=Replaced)

    kind = "lora"

    def parameters(self) -> dict[str, nn.Parameter]:
        """Every parameter of the delta under its name in the net."""
        low_rank = {f"{path}.{leaf}": getattr(layer, leaf) for path, layer in self.layers.items() for leaf in (A, B)}
        return low_rank | self.replaced.parameters()

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Inside, the net answers as its base does. Not for a net that other threads use meanwhile: give them a copy
        that shares its tensors."""
        before = {path: layer.enabled for path, layer in self.layers.items()}
        for layer in self.layers.values():
            layer.enabled = False
        try:
            with self.replaced.disabled():
                yield
        finally:
            for path, layer in self.layers.items():
                layer.enabled = before[path]

    def seed_dropout(self, seed: int) -> None:
        """Which inputs are dropped next is a function of `seed`: set it before each step, from the step's number."""
        for generator in {id(layer.generator): layer.generator for layer in self.layers.values()}.values():
            generator.manual_seed(seed)


def add_lora(
    net: nn.Module,
    config: LoraConfig,
    generator: torch.Generator,
    *,
    paths: Mapping[str, str] | None = None,
) -> LoraDelta:
    """Give the linear maps of `net` deltas, in place, and freeze everything else.

    A is uniform within 1 / sqrt(in) and B zero, as PEFT has them: at first the net answers as its base. paths: our
    modules' paths -> Hugging Face's (`deltas.places.module_paths`), which `targets` and patterns are about, our own
    where None; several of ours that are one map there have one path, and each the rank that it is given. Raises
    InputError where a target or pattern meets no module.
    """
    found = linear_paths(net)
    spelt = {path: (paths or {}).get(path, path) for path in found}
    chosen = [path for path in found if config.chooses(spelt[path])]
    _check_met(config, [spelt[path] for path in found])
    ranks = {path: config.rank_of(spelt[path]) for path in chosen}
    delta = attach(net, config, ranks, lambda path: config.scale_of(spelt[path], ranks[path]))
    for layer in delta.layers.values():
        bound = 1 / math.sqrt(layer.in_features)
        drawn = torch.empty(layer.lora_a.shape).uniform_(-bound, bound, generator=generator)
        with torch.no_grad():
            layer.lora_a.copy_(drawn)
    return delta


def attach(net: nn.Module, config: LoraConfig, ranks: Mapping[str, int], scale_of: Callable[[str], float]) -> LoraDelta:
    """Put LoRA layers, their A not yet set, in the place of the linear maps at our paths `ranks`; freeze the rest."""
    net.requires_grad_(False)
    layers: dict[str, LoraLinear] = {}
    generator = torch.Generator(next(net.parameters()).device)
    for path, rank in ranks.items():
        owner, _, leaf = path.rpartition(".")
        base = net.get_submodule(path)
        if isinstance(base, LoraLinear):
            raise InputError(f"{path} has a LoRA delta already", "Give one delta to a net; adapt a copy for another.")
        assert isinstance(base, Linear)
        layers[path] = LoraLinear(base, rank, scale_of(path), config.dropout, generator)
        setattr(net.get_submodule(owner), leaf, layers[path])
    return LoraDelta(config, layers)


def linear_paths(net: nn.Module) -> list[str]:
    """Paths of the linear maps that may have a delta: all but heads, which are used by their weight alone."""
    return [path for path, m in net.named_modules() if isinstance(m, Linear) and m.role != "head"]


def _check_met(config: LoraConfig, paths: Iterable[str]) -> None:
    paths = list(paths)
    ends = sorted({path.rpartition(".")[2] for path in paths})
    for target in config.targets or ():
        if not any(path == target or path.endswith(f".{target}") for path in paths):
            raise InputError(f"LoRA: no linear map is called {target!r}", f"There are: {', '.join(ends)}.")
    for pattern in (*config.rank_pattern, *config.alpha_pattern):
        try:
            met = any(re.match(rf"(.*\.)?({pattern})$", path) for path in paths)
        except re.error as error:
            raise InputError(f"LoRA: the pattern {pattern!r} is no regular expression: {error}") from error
        if not met:
            raise InputError(f"LoRA: no linear map matches the pattern {pattern!r}", f"There are: {', '.join(ends)}.")
