"""What is tuned: a model, and the part of it that a way trains."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn

from bedplate.adapt.fitting import Fitting
from bedplate.adapt.ways import BitFit, Full, LastLayer, Lora
from bedplate.config import fold_in
from bedplate.deltas.adapter import save_adapter
from bedplate.deltas.lora import LoraConfig, LoraDelta, add_lora
from bedplate.deltas.names import Adaptable
from bedplate.deltas.places import check_adaptable, module_paths
from bedplate.deltas.subset import SubsetDelta, choose_subset
from bedplate.families.encoder_model import EncoderModel
from bedplate.generate.model import TextModel

TunedWay = Lora | LastLayer | BitFit | Full


@dataclass
class Body:
    """A model whose parameters require gradients where the way trains them, fp32 there. delta: None for all of it."""

    model: TextModel | EncoderModel
    delta: LoraDelta | SubsetDelta | None
    folder: Path

    @classmethod
    def prepare(cls, way: TunedWay, fitting: Fitting, compute: torch.dtype) -> Body:
        """Load what is tuned and mark what is trained. compute: what products will be computed in."""
        folder = fitting.folder(way.tune)
        model = _loaded(way, fitting, compute)
        delta: LoraDelta | SubsetDelta | None = None
        if isinstance(way, Lora):
            config = LoraConfig(rank=way.rank, alpha=way.alpha, dropout=way.dropout, rslora=way.rslora)
            generator = torch.Generator().manual_seed(fold_in(fitting.seed, "lora"))
            delta = add_lora(model.net, config, generator, paths=module_paths(cast(Adaptable, model)))
            check_adaptable(cast(Adaptable, model), delta.layers)
        elif isinstance(way, Full):
            model.net.requires_grad_(True)
        else:
            delta = choose_subset(model.net, way.way)
        _rest(model, compute)
        return cls(model, delta, folder)

    def seed_dropout(self, seed: int) -> None:
        """Which inputs are dropped next is a function of `seed`."""
        if isinstance(self.delta, LoraDelta):
            self.delta.seed_dropout(seed)

    def save(self, folder: Path) -> None:
        """Write what was trained: a PEFT folder, a delta folder, or the whole model in Hugging Face layout."""
        if self.delta is None:
            self.model.save(folder)
        else:
            save_adapter(folder, cast(Adaptable, self.model), self.delta, base=self.folder)


def _loaded(way: TunedWay, fitting: Fitting, compute: torch.dtype) -> TextModel | EncoderModel:
    if way.tune == "encoder":
        return EncoderModel.load(fitting.folder("encoder"), dtype="float32" if isinstance(way, Full) else None)
    # What stays as it is may be stored in the type that it is computed in: each product would round it so in any case.
    dtype = {Full: "float32", Lora: str(compute).removeprefix("torch.")}.get(type(way))
    return fitting.text_model(dtype=dtype)


def _rest(model: TextModel | EncoderModel, dtype: torch.dtype) -> None:
    """Store what isn't trained in the type that it is computed in. Every parameter of a decoder, and of an encoder's
    blocks, is rounded to it at each use in any case, so that this changes no number, only the bytes that are read. An
    encoder adds its embeddings up before it rounds: they stay."""
    parts: Iterable[nn.Module] = model.net.blocks if isinstance(model, EncoderModel) else [model.net]
    for p in (p for part in parts for p in part.parameters()):
        if not p.requires_grad:
            p.data = p.data.to(dtype)
