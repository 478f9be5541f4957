"""How processes share a run: FSDP2 over the data ranks, tensor parallelism over the ranks that share each matrix.

One process is the plain case of all of it. Tensor parallelism cuts heads and feed-forward features (Megatron-LM,
arXiv 1909.08053): matrices whose outputs are cut come first in a sublayer, the one whose inputs are cut last, so that a
sublayer sums once forward and once backward. What is cut, and how, stands in the parameter table.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor, distribute_tensor

from bedplate.errors import BedplateError, RecipeError
from bedplate.nn.attention import AttentionLayer
from bedplate.nn.cross_attention import CrossAttentionLayer
from bedplate.nn.gated_linear import GatedLinearLayer
from bedplate.nn.latent_attention import LatentAttentionLayer
from bedplate.nn.linear import Linear
from bedplate.nn.parameters import ParameterInfo, parameter_table
from bedplate.nn.relative import RelativeBias


@dataclass
class Parallel:
    """This process's place among those of the run."""

    rank: int = 0
    ranks: int = 1
    tensor_ranks: int = 1
    mesh: DeviceMesh | None = None
    started: bool = False

    @classmethod
    def start(cls, device: str, tensor_ranks: int) -> Parallel:
        """Join the processes that `torchrun` started, or be alone. Raises RecipeError for numbers that don't divide."""
        # Job schedulers set WORLD_SIZE too; only torchrun gives a process its RANK.
        ranks = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1
        if ranks % tensor_ranks:
            raise RecipeError(
                f"tensor_parallel={tensor_ranks} doesn't divide the {ranks} processes of this run",
                "Start it by torchrun with a multiple of tensor_parallel, or set tensor_parallel=1.",
            )
        if ranks == 1:
            return cls()
        started = not dist.is_initialized()
        if started:
            _meet("nccl" if device.startswith("cuda") else "gloo")
        if device.startswith("cuda"):
            torch.cuda.set_device(device)
        kind = device.partition(":")[0]
        mesh = init_device_mesh(kind, (ranks // tensor_ranks, tensor_ranks), mesh_dim_names=("data", "tensor"))
        return cls(dist.get_rank(), ranks, tensor_ranks, mesh, started)

    def __enter__(self) -> Parallel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Leave, if this run was what brought the processes together."""
        if self.started:
            dist.destroy_process_group()
        if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
            raise BedplateError(
                f"rank {self.rank}: another process of this run has ended or can't be reached",
                "Its own message says why. Run the same command again to go on from the last checkpoint.",
            ) from error

    @property
    def data_ranks(self) -> int:
        return self.ranks // self.tensor_ranks

    @property
    def data_rank(self) -> int:
        return self.rank // self.tensor_ranks

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def sum_over_data(self, value: Tensor) -> Tensor:
        """The sum of `value` over the data ranks."""
        if self.mesh is not None and self.data_ranks > 1:
            dist.all_reduce(value, group=self.mesh.get_group("data"))
        return value

    def gather_over_data(self, rows: Tensor) -> Tensor:
        """[B, ...] on each data rank -> [B * data ranks, ...] in their order: the rows of the global batch."""
        if self.mesh is None or self.data_ranks == 1:
            return rows
        pieces = [torch.empty_like(rows) for _ in range(self.data_ranks)]
        dist.all_gather(pieces, rows.contiguous(), group=self.mesh.get_group("data"))
        return torch.cat(pieces)

    def largest(self, number: int, device: torch.device) -> int:
        """The largest of the numbers that the processes give."""
        if self.mesh is None:
            return number
        value = torch.tensor(number, device=device)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return int(value)

    def total(self, number: float, device: torch.device) -> float:
        """The sum of the numbers that the data ranks give."""
        if self.mesh is None:
            return number
        return float(self.sum_over_data(torch.tensor(number, dtype=torch.float64, device=device)))

    def from_leader(self, number: int, device: torch.device) -> int:
        """The number that rank 0 gives, on every process."""
        if self.mesh is None:
            return number
        value = torch.tensor(number, device=device)
        dist.broadcast(value, src=0)
        return int(value)

    def apply(self, step: nn.Module, net: nn.Module, dtype: torch.dtype) -> None:
        """Cut `net`, which has `blocks`, among the ranks; `step` is the module whose forward holds net and loss,
        FSDP2's root."""
        if self.mesh is None:
            return
        if self.tensor_ranks > 1:
            self._cut(net)
        if self.data_ranks > 1:
            policy = MixedPrecisionPolicy(
                param_dtype=None if dtype == torch.float32 else dtype,
                reduce_dtype=torch.float32,
                cast_forward_inputs=False,
            )
            # Every rank keeps states whole and in their own dtype: an objective sets them between steps.
            states = {net.get_parameter(n) for n, info in parameter_table(net).items() if info.role == "state"}
            for part in (*blocks_of(net), step):
                fully_shard(part, mesh=self.mesh["data"], mp_policy=policy, ignored_params=states)
            for part in step.modules():
                if isinstance(part, FSDPModule):
                    # The loss is already divided by the global weight: gradients are summed, not averaged. Said twice,
                    # for a factor alone becomes a scaled sum, which gloo hasn't.
                    part.set_gradient_divide_factor(1.0)
                    part.set_force_sum_reduction_for_comms(True)

    def _cut(self, net: nn.Module) -> None:
        assert self.mesh is not None
        group, index = self.mesh.get_group("tensor"), self.mesh.get_local_rank("tensor")
        for name, module in net.named_modules():
            if what := _UNCUT.get(type(module)):
                raise RecipeError(
                    f"tensor_parallel={self.tensor_ranks}: {name} is {what}, which ranks can't share",
                    "Use tensor_parallel=1: the processes then share the rows.",
                )
            if (heads := _heads(module)) is not None and heads % self.tensor_ranks:
                raise RecipeError(
                    f"tensor_parallel={self.tensor_ranks} doesn't divide the model's {heads} key heads",
                    "Use a divisor of num_key_value_heads.",
                )
        for name, info in parameter_table(net).items():
            owner = net.get_submodule(name.rpartition(".")[0])
            leaf = name.rpartition(".")[2]
            parameter = getattr(owner, leaf)
            if info.shard is not None:
                if parameter.shape[info.shard] % self.tensor_ranks:
                    raise RecipeError(
                        f"tensor_parallel={self.tensor_ranks} doesn't divide {name} {list(parameter.shape)}",
                        "Use a divisor of the heads and of intermediate_size.",
                    )
                part = parameter.detach().chunk(self.tensor_ranks, info.shard)[index].clone()
                setattr(owner, leaf, nn.Parameter(part, requires_grad=parameter.requires_grad))
        for module in net.modules():
            if isinstance(module, Linear) and module.shard == 1:
                module.reduce = lambda x: _Sum.apply(x, group)
            if any(isinstance(child, Linear) and child.shard == 0 for child in module.children()):
                module.register_forward_pre_hook(lambda _, args: (_Copy.apply(args[0], group), *args[1:]))

    def gather(self, part: Tensor, parameter: Tensor, shard: int | None) -> Tensor:
        """The whole of a tensor that is laid out as `parameter` is (a value, gradient or moment of it).

        shard: the axis cut by tensor parallelism. Every rank takes part and gets the whole.
        """
        whole = part.full_tensor() if isinstance(part, DTensor) else part
        if self.mesh is None or self.tensor_ranks == 1 or shard is None or whole.ndim == 0:
            return whole
        pieces = [torch.empty_like(whole) for _ in range(self.tensor_ranks)]
        dist.all_gather(pieces, whole.contiguous(), group=self.mesh.get_group("tensor"))
        return torch.cat(pieces, dim=shard)

    def scatter(self, whole: Tensor, parameter: Tensor, shard: int | None) -> Tensor:
        """This rank's part of `whole`, laid out as `parameter` is: `gather` undone."""
        if self.mesh is not None and self.tensor_ranks > 1 and shard is not None and whole.ndim > 0:
            whole = whole.chunk(self.tensor_ranks, shard)[self.mesh.get_local_rank("tensor")].contiguous()
        if isinstance(parameter, DTensor) and whole.ndim > 0:
            # None: every rank has the whole and cuts its own part, so nothing is sent.
            return distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)
        return whole

    def complete(self, parameters: dict[str, nn.Parameter], table: dict[str, ParameterInfo]) -> None:
        """Sum the gradients of which tensor parallelism gave each rank a part. Once a step, after the last backward."""
        if self.mesh is None or self.tensor_ranks == 1:
            return
        parts = [_local(p.grad) for n, p in parameters.items() if table[n].partial_gradient and p.grad is not None]
        if parts:
            # One message: these are gains, a few hundred numbers each.
            flat = _summed(torch.cat([part.flatten() for part in parts]), self.mesh.get_group("tensor"))
            for part, whole in zip(parts, flat.split([part.numel() for part in parts]), strict=True):
                part.copy_(whole.view_as(part))

    def clip(self, parameters: dict[str, nn.Parameter], table: dict[str, ParameterInfo], most: float | None) -> Tensor:
        """Scale all gradients so that their common norm is at most `most`; returns the norm before that."""
        whole: list[Tensor] = []
        cut: list[Tensor] = []
        device = next(iter(parameters.values())).device
        for name, p in parameters.items():
            if p.grad is not None:
                (cut if table[name].shard is not None else whole).append(_local(p.grad))
        squares = torch.stack([_square(whole, device), _square(cut, device)])
        # Under FSDP every gradient is cut over the data ranks; tensor parallelism cuts some of them besides.
        squares = self.sum_over_data(squares)
        if self.mesh is not None and self.tensor_ranks > 1:
            dist.all_reduce(squares[1:], group=self.mesh.get_group("tensor"))
        norm = squares.sum().sqrt()
        if most is not None:
            torch._foreach_mul_(whole + cut, (most / (norm + 1e-6)).clamp(max=1.0))
        return norm


_UNCUT: Mapping[type[nn.Module], str] = {
    CrossAttentionLayer: "attention to an encoder's states",
    RelativeBias: "a table of learned relative positions of all heads",
}
"""Layers that read whole tensors with parts of the heads. Experts and LSTMs aren't cut: every rank has them whole."""


def _heads(module: nn.Module) -> int | None:
    """How many heads ranks would share, None where it has none or they stay whole."""
    match module:
        case AttentionLayer():
            return None if module.k.shard is None else module.k.out_features // module.head_dim
        case LatentAttentionLayer():
            return module.kv_b.out_features // (module.nope_dim + module.value_dim)
        case GatedLinearLayer():
            return module.decay.out_features
    return None


def blocks_of(net: nn.Module) -> list[nn.Module]:
    """The net's blocks: what is compiled one by one, and gathered one by one under FSDP2."""
    return list(cast("Iterable[nn.Module]", net.blocks))


def _meet(backend: str) -> None:
    """Join the processes of this torchrun. A launch may do so several times, for one run after another, and each needs
    keys of its own in the store: a process must not find the addresses that another had the last time."""
    store, rank, ranks = next(rendezvous("env://"))
    times = store.add(f"bedplate/meetings/{rank}", 1)
    dist.init_process_group(backend, store=PrefixStore(f"bedplate/{times}", store), rank=rank, world_size=ranks)


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _square(tensors: list[Tensor], device: torch.device) -> Tensor:
    if not tensors:
        return torch.zeros((), device=device)
    return torch.stack(torch._foreach_norm(tensors)).square().sum()


def _summed(value: Tensor, group: dist.ProcessGroup) -> Tensor:
    value = value.contiguous().clone()
    dist.all_reduce(value, group=group)
    return value


class _Copy(torch.autograd.Function):
    """One input to every rank's part of a sublayer: gradients come back from all of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _summed(grad, ctx.group), None


class _Sum(torch.autograd.Function):
    """The sum of every rank's part of an output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        return _summed(x, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None
