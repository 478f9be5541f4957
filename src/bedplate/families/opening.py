"""A model folder of whatever family: one that writes, or an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch

from bedplate.families import encoder_model
from bedplate.families import model as text_model
from bedplate.families.encoder_model import EncoderModel
from bedplate.families.family_config import FamilyConfig
from bedplate.families.model import Model, model_folder, read_json
from bedplate.families.registry import is_encoder

M = TypeVar("M", bound=Model)


def holds_encoder(path: str | Path) -> bool:
    """Whether the model at `path` is an encoder. Raises InputError where there is no model."""
    folder = model_folder(path)
    return is_encoder(read_json(folder / "config.json").get("model_type"))


def load_any(
    path: str | Path,
    dtype: str | torch.dtype | None = None,
    device: str = "auto",
    *,
    writer: type[M] = Model,  # type: ignore[assignment]
) -> M | EncoderModel:
    """The model at `path`: an artefact of kind model, run or release, or any Hugging Face folder.

    writer: the class of a model that writes (`generate.model.TextModel` gives it `generate`). dtype: "float32",
    "bfloat16" or "float16"; as stored where None. device: auto, cpu, cuda, mps. Raises as `Model.load` and
    `EncoderModel.load`.
    """
    folder = model_folder(path)
    if holds_encoder(folder):
        return EncoderModel.load(folder, dtype=dtype, device=device)
    return writer.load(folder, dtype=dtype, device=device)


def read_any_config(folder: Path) -> FamilyConfig:
    """The configuration of a model folder, and of an encoder also how it pools. Raises WeightsError for what isn't
    supported, naming the key."""
    if holds_encoder(folder):
        return encoder_model.read_config(folder)
    return text_model.read_config(folder)
