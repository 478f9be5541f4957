"""A model folder of whatever kind: a decoder, an encoder-decoder, or an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import nn

from bedplate.codecs.text import TextTokenizer
from bedplate.families import encoder_model, seq2seq_model
from bedplate.families import model as text_model
from bedplate.families.encoder_config import EncoderConfig
from bedplate.families.encoder_model import EncoderModel
from bedplate.families.family_config import FamilyConfig
from bedplate.families.model import Model, model_folder, read_json
from bedplate.families.registry import is_encoder, is_encoder_decoder
from bedplate.families.seq2seq_config import Seq2SeqConfig
from bedplate.families.seq2seq_model import Seq2SeqModel
from bedplate.nn.decoder import Decoder
from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_decoder import EncoderDecoder

M = TypeVar("M", bound=Model)
S = TypeVar("S", bound=Seq2SeqModel)


def holds_encoder(path: str | Path) -> bool:
    """Whether the model at `path` is an encoder. Raises InputError where there is no model."""
    return is_encoder(_model_type(model_folder(path)))


def holds_encoder_decoder(path: str | Path) -> bool:
    """Whether the model at `path` is an encoder-decoder. Raises InputError where there is no model."""
    return is_encoder_decoder(_model_type(model_folder(path)))


def load_any(
    path: str | Path,
    dtype: str | torch.dtype | None = None,
    device: str = "auto",
    *,
    writer: type[M] = Model,  # type: ignore[assignment]
    rewriter: type[S] = Seq2SeqModel,  # type: ignore[assignment]
) -> M | S | EncoderModel:
    """The model at `path`: an artefact of kind model, run or release, or any Hugging Face folder.

    writer: the class of a decoder, and rewriter of an encoder-decoder (`generate.model` gives those that have
    `generate`). dtype: "float32", "bfloat16" or "float16"; as stored where None. device: auto, cpu, cuda, mps. Raises
    as `Model.load`, `Seq2SeqModel.load` and `EncoderModel.load`.
    """
    folder = model_folder(path)
    if holds_encoder(folder):
        return EncoderModel.load(folder, dtype=dtype, device=device)
    if holds_encoder_decoder(folder):
        return rewriter.load(folder, dtype=dtype, device=device)
    return writer.load(folder, dtype=dtype, device=device)


def read_any_config(folder: Path) -> FamilyConfig:
    """The configuration of a model folder, and of an encoder also how it pools. Raises WeightsError for what isn't
    supported, naming the key."""
    if holds_encoder(folder):
        return encoder_model.read_config(folder)
    if holds_encoder_decoder(folder):
        return seq2seq_model.read_config(folder)
    return text_model.read_config(folder)


def model_of(
    config: FamilyConfig, net: nn.Module, tokenizer: TextTokenizer | None = None
) -> Model | EncoderModel | Seq2SeqModel:
    """Modules that were made or trained here as a model that can be asked and saved."""
    if isinstance(net, Encoder):
        return EncoderModel(cast(EncoderConfig, config), net, tokenizer)
    if isinstance(net, EncoderDecoder):
        return Seq2SeqModel(cast(Seq2SeqConfig, config), net, tokenizer)
    return Model(config, cast(Decoder, net), tokenizer)


def _model_type(folder: Path) -> object:
    return read_json(folder / "config.json").get("model_type")
