"""A `Model` as a GGUF file that llama.cpp, and our own import, read back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from gguf import GGUFWriter
from gguf.constants import GGMLQuantizationType, LlamaFileType
from gguf.quants import quant_shape_to_byte_shape, quantize
from numpy.typing import NDArray

from bedplate.errors import WeightsError
from bedplate.families.family_config import FamilyConfig
from bedplate.families.gguf_names import (
    ARCHITECTURES,
    ROPE_FACTORS,
    Array,
    llama3_factors,
    rotated_heads,
    to_gguf,
    to_interleaved,
)
from bedplate.families.gguf_reader import CHUNK_ELEMENTS
from bedplate.families.gguf_vocabulary import Written, tokenizer_metadata
from bedplate.families.llama_config import LlamaConfig

if TYPE_CHECKING:
    from bedplate.families.model import Model

GGUFDtype = Literal["float32", "float16", "bfloat16", "q8_0"]
TYPES: dict[str, tuple[GGMLQuantizationType, LlamaFileType]] = {
    "float32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "float16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bfloat16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}


def write_gguf(model: Model, path: Path, *, dtype: GGUFDtype, name: str, license: str | None = None) -> list[str]:
    """Write the file; return notes on what llama.cpp will do otherwise than we do.

    Matrices are stored as `dtype` (a Q8_0 matrix whose rows don't divide into blocks of 32 as F16), vectors in fp32.
    Raises WeightsError for a configuration that GGUF has no keys for, or weights that overflow `dtype`; TokenizerError
    for a tokenizer that it can't say.
    """
    config = _supported(model.config)
    keys, notes = _keys(config)
    writer = GGUFWriter(path, ARCHITECTURES[config.model_type])
    writer.add_type("model")
    writer.add_name(name)
    if license is not None:
        writer.add_license(license)
    writer.add_file_type(int(TYPES[dtype][1]))
    writer.add_quantization_version(2)
    for key, value in keys.items():
        _add(writer, f"{ARCHITECTURES[config.model_type]}.{key}", value)
    if model.tokenizer is not None:
        stops = config.eos_token_id if isinstance(config.eos_token_id, tuple) else (config.eos_token_id,)
        stop_ids = [id for id in stops if id is not None] or [id for id in [model.tokenizer.eos_id] if id is not None]
        if len(stop_ids) > 3:
            notes.append(f"GGUF has room for three ids that end a turn; {stop_ids[3:]} are left out")
        for key, value in tokenizer_metadata(model.tokenizer, config.vocab_size, stop_ids[:3]).items():
            _add(writer, key, value)
    shapes = {tensor: (array.shape, _type(array, dtype)) for tensor, array in _tensors(model, shapes_only=True)}
    for tensor, (shape, kind) in shapes.items():
        stored = quant_shape_to_byte_shape(shape, kind) if kind != GGMLQuantizationType.F32 else shape
        size = prod(stored) * (4 if kind == GGMLQuantizationType.F32 else 1)
        raw = np.dtype(np.float32 if kind == GGMLQuantizationType.F32 else np.uint8)
        writer.add_tensor_info(tensor, stored, raw, size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor, array in _tensors(model):
        writer.write_tensor_data(_encode(array, shapes[tensor][1], tensor))
    writer.flush()
    writer.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return notes


def _supported(config: FamilyConfig) -> LlamaConfig:
    if not isinstance(config, LlamaConfig):
        raise WeightsError(
            f"model_type {config.model_type} can't be written as GGUF yet",
            f"Those that can: {', '.join(ARCHITECTURES)}. Export it as Hugging Face folder.",
        )
    return config


def _keys(c: LlamaConfig) -> tuple[dict[str, Written], list[str]]:
    """The keys under the architecture's prefix, and notes."""
    keys: dict[str, Written] = {
        "context_length": c.max_position_embeddings,
        "embedding_length": c.hidden_size,
        "block_count": c.num_hidden_layers,
        "feed_forward_length": c.intermediate_size,
        "vocab_size": c.vocab_size,
        "attention.head_count": c.num_attention_heads,
        "attention.head_count_kv": c.kv_heads,
        "attention.layer_norm_rms_epsilon": float(c.rms_norm_eps),
        "attention.key_length": c.head_size,
        "attention.value_length": c.head_size,
        "rope.dimension_count": c.head_size,
        "rope.freq_base": float(c.rope_theta),
    }
    notes: list[str] = []
    windows = set(c.windows or (None,))
    window = next(iter(windows - {None}), None)
    if window is not None and window < c.max_position_embeddings:
        if len(windows) > 1 or ARCHITECTURES[c.model_type] != "llama":
            raise _refuse(f"sliding windows of {c.model_type}, {window} in some layers")
        keys["attention.sliding_window"] = window
        notes.append(f"llama.cpp ignores the sliding window of {window} that this model was made with")
    scaling = c.rope_scaling
    if scaling is None or scaling.rope_type == "llama3":  # llama3's goes into a tensor
        return keys, notes
    if scaling.rope_type in ("dynamic", "longrope"):
        raise _refuse(f"{scaling.rope_type} RoPE scaling")
    if scaling.attention_factor is not None or scaling.mscale is not None or not scaling.truncate:
        raise _refuse("YaRN with an attention factor, mscale or fractional ends of its own")
    keys |= {"rope.scaling.type": scaling.rope_type, "rope.scaling.factor": float(scaling.factor)}
    if scaling.rope_type == "yarn":
        keys["rope.scaling.original_context_length"] = (
            scaling.original_max_position_embeddings or c.max_position_embeddings
        )
        keys |= {"rope.scaling.yarn_beta_fast": scaling.beta_fast, "rope.scaling.yarn_beta_slow": scaling.beta_slow}
    return keys, notes


def _tensors(model: Model, *, shapes_only: bool = False) -> Iterator[tuple[str, Array]]:
    """(GGUF name, fp32 array in llama.cpp's layout), one at a time. With `shapes_only` the values are left as zeros
    that take no memory."""
    c = _supported(model.config)
    architecture = ARCHITECTURES[c.model_type]
    scaling = c.rope_scaling
    if scaling is not None and scaling.rope_type == "llama3":
        length = scaling.original_max_position_embeddings or c.max_position_embeddings
        factors = llama3_factors(
            c.rope_theta, c.head_size, scaling.factor, scaling.low_freq_factor, scaling.high_freq_factor, length
        )
        yield ROPE_FACTORS, factors.astype(np.float32)
    parameters = dict(model.net.named_parameters())
    pairs = model.family.table(c).pairs(parameters, c.num_hidden_layers)
    for ours, parameter in parameters.items():
        name = pairs[ours][0]
        if shapes_only:
            yield to_gguf(name), np.broadcast_to(np.float32(0), tuple(parameter.shape))
            continue
        array = parameter.detach().float().cpu().numpy()
        heads = rotated_heads(name, architecture, c.num_attention_heads, c.kv_heads)
        yield to_gguf(name), to_interleaved(array, heads) if heads else array


def _type(array: Array, dtype: GGUFDtype) -> GGMLQuantizationType:
    if array.ndim == 1:
        return GGMLQuantizationType.F32
    if dtype == "q8_0" and array.shape[-1] % 32:
        return GGMLQuantizationType.F16
    return TYPES[dtype][0]


def _encode(array: Array, kind: GGMLQuantizationType, name: str) -> NDArray[np.generic]:
    """The bytes of a tensor as [rows, bytes a row], or fp32 as it is. Quantised some rows at a time."""
    if kind == GGMLQuantizationType.F32:
        return np.ascontiguousarray(array)
    if kind == GGMLQuantizationType.F16 and np.abs(array).max() > np.finfo(np.float16).max:
        raise WeightsError(f"{name}: values beyond float16's {np.finfo(np.float16).max:g}", "Export as bfloat16.")
    out = np.empty(quant_shape_to_byte_shape(array.shape, kind), np.uint8)
    step = max(1, CHUNK_ELEMENTS // array.shape[-1])
    for first in range(0, len(array), step):
        out[first : first + step] = quantize(array[first : first + step], kind).view(np.uint8)
    return out


def _add(writer: GGUFWriter, key: str, value: Written) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _refuse(what: str) -> WeightsError:
    return WeightsError(f"GGUF has no keys for {what}", "Export a Hugging Face folder instead.")
