"""Training a few of the base's own parameters: biases alone, or the last layer alone.

    delta = choose_subset(model.net, "bitfit")     # in place: those are trained, as fp32 copies; the rest is frozen

BitFit (Ben Zaken et al. 2021, arXiv 2106.10199) trains biases; where a net has none, the gains of its norms instead.
"last-layer" trains the last block and the last norm. The delta's folder holds their new values whole: `delta.json`, and
`delta.safetensors` with Hugging Face's names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from bedplate.deltas.names import Adaptable
from bedplate.deltas.peft_folder import read_tensors, write_tensors
from bedplate.deltas.replaced import Replaced
from bedplate.errors import ArtefactError, InputError, InternalError, WeightsError
from bedplate.families.model import read_json, write_json
from bedplate.nn.parameters import parameter_table

DELTA, TENSORS = "delta.json", "delta.safetensors"
SubsetKind = Literal["bitfit", "last-layer"]
_VERSION = 1


@dataclass
class SubsetDelta:
    """Base parameters with values of their own. The base's stand behind them, untouched."""

    kind: SubsetKind
    replaced: Replaced

    def parameters(self) -> dict[str, nn.Parameter]:
        """Name in the net -> the parameter that is trained."""
        return self.replaced.parameters()

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Inside, the net answers as its base does. Not for a net that other threads use meanwhile."""
        with self.replaced.disabled():
            yield


def subset_names(net: nn.Module, kind: SubsetKind) -> list[str]:
    """The parameters of `net` that a kind trains, by our names."""
    table = parameter_table(net)
    if kind == "bitfit":
        biases = [name for name, info in table.items() if info.role == "bias"]
        return biases or [name for name, info in table.items() if info.role == "norm"]
    blocks = getattr(net, "blocks", None)
    if not isinstance(blocks, nn.ModuleList) or not len(blocks):
        raise InternalError(f"{type(net).__name__} has no blocks, so no last one")
    return [name for name in table if name.startswith((f"blocks.{len(blocks) - 1}.", "norm."))]


def choose_subset(net: nn.Module, kind: SubsetKind) -> SubsetDelta:
    """Freeze `net` but for the parameters of a kind, of which it gets fp32 copies to train: in place, and without
    touching tensors that it shares with other nets."""
    names = subset_names(net, kind)
    net.requires_grad_(False)
    values = {name: net.get_parameter(name).detach().to(torch.float32, copy=True) for name in names}
    return SubsetDelta(kind, Replaced(net, values))


def write_subset(folder: Path, model: Adaptable, delta: SubsetDelta) -> None:
    """Write the delta's folder, in fp32."""
    own = {name: p.detach().to("cpu", torch.float32) for name, p in delta.parameters().items()}
    stored = model.family.table(model.config).stored(own, model.config.num_hidden_layers)
    tensors = {name: tensor.contiguous() for name, tensor in stored.items()}
    write_tensors(folder / TENSORS, tensors)
    write_json(folder / DELTA, {"version": _VERSION, "kind": delta.kind, "parameters": sorted(tensors)})


def read_subset(folder: Path, model: Adaptable, *, trainable: bool = False) -> SubsetDelta:
    """Attach the delta in a folder to `model.net`, in place.

    trainable: in fp32 and with gradients; else in the base's dtype. Raises WeightsError where it doesn't fit the model,
    InputError for a missing or damaged file, ArtefactError for one of a newer form.
    """
    found = read_json(folder / DELTA)
    kind: Any = found.get("kind")
    version = found.get("version")
    if not isinstance(version, int) or version > _VERSION:
        raise ArtefactError(f"{folder / DELTA}: version {version!r}; this Bedplate reads {_VERSION}", "Upgrade it.")
    if kind not in get_args(SubsetKind):
        raise InputError(f"{folder / DELTA}: kind {kind!r}", f"Known: {', '.join(get_args(SubsetKind))}.")
    tensors = read_tensors(folder / TENSORS)
    expected = subset_names(model.net, kind)
    lines = model.family.table(model.config).lines(expected, model.config.num_hidden_layers)
    wanted: dict[str, tuple[int, ...]] = {}
    for line in lines:
        empty = [torch.empty(model.net.get_parameter(name).shape, device="meta") for name in line.ours]
        wanted |= {n: tuple(t.shape) for n, t in zip(line.theirs, line.written(empty), strict=True)}
    odd = sorted(wanted.keys() ^ tensors.keys())
    odd += [name for name in wanted.keys() & tensors.keys() if tuple(tensors[name].shape) != wanted[name]]
    if odd or sorted(tensors) != found.get("parameters"):
        raise WeightsError(
            f"{folder / TENSORS}: not the {kind} parameters of this model"
            + (f": missing, unknown or misshapen: {', '.join(odd[:6])}" if odd else f", or not those of {DELTA}"),
            "Take the base that it was trained on, or an undamaged copy.",
        )
    model.net.requires_grad_(False)
    ours = {
        n: t for line in lines for n, t in zip(line.ours, line.read([tensors[x] for x in line.theirs]), strict=True)
    }
    values = {n: t.to(torch.float32 if trainable else model.net.get_parameter(n).dtype) for n, t in ours.items()}
    replaced = Replaced(model.net, values)
    for parameter in replaced.parameters().values():
        parameter.requires_grad_(trainable)
    return SubsetDelta(kind, replaced)
