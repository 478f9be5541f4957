"""What llama.cpp and Hugging Face call the same things in a model of the Llama family, and the two layouts of q and k.

The names are those of gguf-py's constants.py. In a file of architecture `llama` the rows of q and k are interleaved:
llama.cpp rotates neighbouring rows of a head against each other where Hugging Face rotates its halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

LAYER_NAMES: Mapping[str, str] = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP_NAMES: Mapping[str, str] = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
ROPE_FACTORS = "rope_freqs.weight"

ARCHITECTURES: Mapping[str, str] = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""Hugging Face's `model_type` -> GGUF's `general.architecture`."""


def to_hugging_face(name: str) -> str | None:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; None for a name we don't know."""
    if name in TOP_NAMES:
        return TOP_NAMES[name]
    block, layer, part, what = (*name.split("."), "", "", "", "")[:4]
    known = block == "blk" and part in LAYER_NAMES and what in ("weight", "bias") and name.count(".") == 3
    if not known or not layer.isascii() or not layer.isdecimal() or layer != str(int(layer)):
        return None
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{what}"


def to_gguf(name: str) -> str:
    """The inverse of `to_hugging_face`. Raises KeyError for a name we don't know."""
    top = {theirs: ours for ours, theirs in TOP_NAMES.items()}
    if name in top:
        return top[name]
    rest = name.removeprefix("model.layers.")
    layer, _, rest = rest.partition(".")
    part, _, what = rest.rpartition(".")
    return f"blk.{layer}.{({theirs: ours for ours, theirs in LAYER_NAMES.items()})[part]}.{what}"


def rotated_heads(name: str, architecture: str, heads: int, kv_heads: int) -> int:
    """How many heads are interleaved in the rows of this tensor (by its Hugging Face name); 0 where none are."""
    if architecture != "llama":
        return 0
    return heads if ".self_attn.q_proj." in name else kv_heads if ".self_attn.k_proj." in name else 0


def to_halves(rows: Array, heads: int) -> Array:
    """Rows [heads * d, ...] from interleaved (a0 b0 a1 b1 ...) to halves (a0 a1 ... b0 b1 ...), head by head."""
    paired = rows.reshape(heads, -1, 2, *rows.shape[1:])
    return np.ascontiguousarray(paired.swapaxes(1, 2)).reshape(rows.shape)


def to_interleaved(rows: Array, heads: int) -> Array:
    """The inverse of `to_halves`."""
    halves = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows.shape)


def llama3_factors(
    theta: float, head_dim: int, factor: float, low: float, high: float, length: float
) -> NDArray[np.float64]:
    """[head_dim / 2] float64: by how much Llama 3's scaling divides each frequency. llama.cpp stores just that."""
    frequencies = theta ** -(np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    smooth = np.clip((length * frequencies / (2 * np.pi) - low) / (high - low), 0, 1)
    return np.asarray(1 / ((1 - smooth) / factor + smooth))


def llama3_parameters(found: NDArray[np.float64], theta: float) -> dict[str, Any] | None:
    """The inverse: Hugging Face's parameters that give these factors, or None if none do.

    Between the two wavelengths the blend is linear in the frequency, so two factors there fix the line. It is the same
    for (low, high, length) and any multiple of them; `low_freq_factor` is taken to be 1, as in every released model.
    """
    head_dim = 2 * len(found)
    if not len(found) or not np.isfinite(found).all() or found.min() < 1 or found.max() == 1:
        return None
    factor = float(str(np.float32(found.max())))
    candidates = [(4.0, 8192.0)]
    frequencies = theta ** -(np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    between = (found > 1 + 1e-6) & (found < factor * (1 - 1e-6))
    if between.sum() >= 2:
        smooth = (1 / found[between] - 1 / factor) / (1 - 1 / factor)
        slope, start = np.polyfit(frequencies[between] / (2 * np.pi), smooth, 1)
        if slope > 0 > start:
            high = 1 - 1 / start
            candidates.append((round(high, 4), round(slope * (high - 1), 0)))
    for high, length in candidates:
        if np.allclose(found, llama3_factors(theta, head_dim, factor, 1.0, high, length), rtol=1e-5, atol=0):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": 1.0,
                "high_freq_factor": high,
                "original_max_position_embeddings": int(length),
            }
    return None
