"""A GGUF file of the Llama family as a `Model`: configuration, weights, tokenizer.

Every key of the architecture and every tensor must be one that we know the meaning of: one that we don't know may
change the mathematics, so it is refused by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from gguf.constants import GGMLQuantizationType

from bedplate.errors import WeightsError
from bedplate.families.building import build_empty, check_parts
from bedplate.families.gguf_names import ROPE_FACTORS, llama3_parameters, rotated_heads, to_halves, to_hugging_face
from bedplate.families.gguf_reader import GGUF, Value
from bedplate.families.gguf_tokenizer import GGUFTokenizer, read_tokenizer
from bedplate.families.llama_config import LlamaConfig
from bedplate.families.model import Model, check_tokenizer, fill
from bedplate.families.registry import family_of
from bedplate.nn.decoder import Decoder

SUPPORTED = ("llama", "qwen2", "qwen3")
"""`general.architecture` of the files that are read. Mistral's say `llama`."""

_READ_KEYS = frozenset(
    [
        *["context_length", "embedding_length", "block_count", "feed_forward_length", "vocab_size"],
        *["attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon"],
        *["attention.key_length", "attention.value_length", "attention.sliding_window", "attention.causal"],
        *["rope.dimension_count", "rope.freq_base", "rope.scale_linear", "rope.scaling.type", "rope.scaling.factor"],
        *["rope.scaling.original_context_length", "rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor"],
        *["rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow", "expert_count", "expert_used_count"],
    ]
)
_HARMLESS_KEYS = frozenset({"rope.scaling.finetuned", "tensor_data_layout"})


@dataclass(frozen=True)
class GGUFModel:
    """What an open GGUF amounts to. Nothing has been decoded yet but the factors of `rope_freqs.weight`."""

    file: GGUF
    config: LlamaConfig
    tokenizer: GGUFTokenizer | None
    architecture: str
    sources: dict[str, str]
    """Hugging Face name -> the file's name of every tensor."""
    notes: tuple[str, ...]
    """What was reconstructed or assumed, in words."""

    @property
    def quantisation(self) -> str:
        """The type that holds most of the numbers: Q4_1, BF16 ..."""
        return self._most.name

    @property
    def natural_dtype(self) -> str:
        """What to store it in: the file's own half precision where its matrices are in one, otherwise float32."""
        matrices = {info.type for info in self.file.tensors.values() if len(info.shape) > 1}
        return (
            {"F16": "float16", "BF16": "bfloat16"}.get(self._most.name, "float32") if len(matrices) == 1 else "float32"
        )

    @property
    def _most(self) -> GGMLQuantizationType:
        count: Counter[GGMLQuantizationType] = Counter()
        for info in self.file.tensors.values():
            count[info.type] += prod(info.shape)
        return count.most_common(1)[0][0]

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """(Hugging Face name, fp32 tensor in its layout), decoded one at a time. Raises WeightsError for a value that
        is infinite or not a number."""
        for name, source in self.sources.items():
            yield name, self._tensor(name, source)

    def check(self) -> None:
        """Raise WeightsError naming every tensor that is missing, extra or misshapen. Decodes nothing."""
        self._empty()

    def build(self) -> Model:
        """The model on the CPU in fp32, its tokenizer with it. Raises as `check` and `tensors` do, and TokenizerError
        if there are more tokens than embeddings."""
        net, names = self._empty()
        fill(net, ((ours, self._tensor(name, self.sources[name])) for ours, name in names.items()))
        tokenizer = None if self.tokenizer is None else self.tokenizer.text
        if tokenizer is not None:
            check_tokenizer(tokenizer, self.config, str(self.file.path))
        return Model(self.config, net.eval(), tokenizer)

    def _empty(self) -> tuple[Decoder, dict[str, str]]:
        """The modules without values, and each parameter's Hugging Face name."""
        family = family_of(self.config.model_type, str(self.file.path))
        check_parts(self.config, self.sources, str(self.file.path))
        net = build_empty(family, self.config, str(self.file.path))
        shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
        found = {name: self.file.tensors[source].shape for name, source in self.sources.items()}
        table = family.table(self.config)
        names = table.match(shapes, found, self.config.num_hidden_layers, str(self.file.path), {}).names
        return net, names

    def _tensor(self, name: str, source: str) -> torch.Tensor:
        array = self.file.read(source)
        if not np.isfinite(array).all():
            raise WeightsError(
                f"{self.file.path}: tensor {source} holds values that are infinite or not numbers",
                "The file is corrupt or its conversion overflowed; fetch or convert it again.",
            )
        heads = rotated_heads(name, self.architecture, self.config.num_attention_heads, self.config.kv_heads)
        return torch.from_numpy(to_halves(array, heads) if heads else array)


def read_model(file: GGUF) -> GGUFModel:
    """Configuration, tokenizer and tensor names of an open GGUF.

    Raises WeightsError naming an unsupported architecture and any key or tensor that we don't know; TokenizerError for
    a tokenizer that can't be rebuilt exactly.
    """
    keys = _Keys(file)
    found, notes = _config(keys)
    unknown = sorted(set(keys.values) - _READ_KEYS - _HARMLESS_KEYS)
    if unknown:
        names = ", ".join(f"{keys.architecture}.{key} = {_short(keys.values[key])}" for key in unknown[:8])
        raise keys.fail(f"metadata that may change the mathematics: {names}", _OTHER_WAY)
    sources = _sources(file)
    tokenizer = read_tokenizer(file.metadata, str(file.path)) if "tokenizer.ggml.model" in file.metadata else None
    if tokenizer is None:
        notes.append("the file holds no tokenizer")
    else:
        notes += tokenizer.notes
        ids = {"bos_token_id": tokenizer.text.bos_id, "eos_token_id": list(tokenizer.stop_ids) or None}
        ids["pad_token_id"] = tokenizer.text.pad_id
        if len(tokenizer.stop_ids) == 1:
            ids["eos_token_id"] = tokenizer.stop_ids[0]
        found |= {key: value for key, value in ids.items() if value is not None}
    config = LlamaConfig.from_hf(found, str(file.path))
    return GGUFModel(file, config, tokenizer, keys.architecture, sources, tuple(notes))


_OTHER_WAY = "Import the Hugging Face folder of this model instead."


class _Keys:
    """The metadata under the architecture's prefix, looked up with types checked."""

    def __init__(self, file: GGUF) -> None:
        self.file = file
        architecture = file.metadata.get("general.architecture")
        if architecture not in SUPPORTED:
            raise WeightsError(
                f"{file.path}: general.architecture is {architecture!r}", f"Supported in GGUF: {', '.join(SUPPORTED)}."
            )
        self.architecture = str(architecture)
        prefix = f"{architecture}."
        self.values = {k.removeprefix(prefix): v for k, v in file.metadata.items() if k.startswith(prefix)}

    def fail(self, problem: str, fix: str = "Convert the original again with a current llama.cpp.") -> WeightsError:
        return WeightsError(f"{self.file.path}: {problem}", fix)

    def number(self, key: str, default: float | None = None) -> float:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            what = "missing" if value is None else f"{_short(value)}, not one number"
            raise self.fail(f"{self.architecture}.{key} is {what}")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        value = self.number(key, default)
        if not isinstance(value, int) or value < 1:
            raise self.fail(f"{self.architecture}.{key} is {value}, not a positive integer")
        return value

    def single(self, key: str, default: float | None = None) -> float:
        """A 32-bit float as the decimal that was meant: 9.999999747e-06 is 1e-05."""
        value = float(str(np.float32(self.number(key, default))))
        if not np.isfinite(value) or value <= 0:
            raise self.fail(f"{self.architecture}.{key} is {value}, not a positive number")
        return value


def _config(keys: _Keys) -> tuple[dict[str, Any], list[str]]:
    """What Hugging Face's config.json would say, and notes."""
    tensors, architecture = keys.file.tensors, keys.architecture
    heads, hidden = keys.count("attention.head_count"), keys.count("embedding_length")
    if "attention.key_length" not in keys.values and hidden % heads:
        raise keys.fail(f"{heads} heads don't divide the width {hidden}, and no attention.key_length says their size")
    head_dim = keys.count("attention.key_length", max(1, hidden // heads))
    for key in ("attention.value_length", "rope.dimension_count"):
        if keys.count(key, head_dim) != head_dim:
            problem = f"{architecture}.{key} is {keys.values[key]}; only {head_dim}, the size of a head, is supported"
            raise keys.fail(problem, _OTHER_WAY)
    if keys.values.get("expert_count", 0) != 0:
        raise keys.fail("a mixture of experts isn't supported in GGUF", _OTHER_WAY)
    if keys.values.get("attention.causal", True) is not True:
        raise keys.fail("attention.causal is false: an encoder, not a language model", _OTHER_WAY)
    layers = keys.count("block_count")
    if layers > len(tensors):
        raise keys.fail(f"{architecture}.block_count is {layers:,}, and the file holds {len(tensors):,} tensors")
    if "token_embd.weight" not in tensors:
        raise keys.fail("tensor token_embd.weight is missing")
    rows = tensors["token_embd.weight"].shape[0]
    if keys.count("vocab_size", rows) != rows:
        raise keys.fail(f"{architecture}.vocab_size is {keys.values['vocab_size']}, the embedding has {rows} rows")
    context = keys.count("context_length")
    window = _window(keys, context)
    rope, notes = _rope(keys, context)
    config: dict[str, Any] = {
        "model_type": architecture if window is None else "mistral",
        "vocab_size": rows,
        "hidden_size": hidden,
        "intermediate_size": keys.count("feed_forward_length"),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys.count("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "max_position_embeddings": context,
        "rms_norm_eps": keys.single("attention.layer_norm_rms_epsilon"),
        "rope_parameters": rope,
        "tie_word_embeddings": "output.weight" not in tensors,
    }
    if window is not None:
        config["sliding_window"] = window
    if architecture != "qwen2":
        config["attention_bias"] = "blk.0.attn_q.bias" in tensors
        config["mlp_bias"] = "blk.0.ffn_gate.bias" in tensors
    return config, notes


def _window(keys: _Keys, context: int) -> int | None:
    window = keys.values.get("attention.sliding_window", 0)
    if not isinstance(window, int):
        raise keys.fail(f"{keys.architecture}.attention.sliding_window is {_short(window)}, not one number")
    if not 0 < window < context:
        return None
    if keys.architecture != "llama":
        raise keys.fail(f"{keys.architecture}.attention.sliding_window = {window} says not which layers", _OTHER_WAY)
    return window


def _rope(keys: _Keys, context: int) -> tuple[dict[str, Any], list[str]]:
    """`rope_parameters` of Hugging Face, and notes."""
    plain = {"rope_type": "default", "rope_theta": keys.single("rope.freq_base", 10000.0)}
    rope: dict[str, Any] = dict(plain)
    kind = keys.values.get("rope.scaling.type", "linear" if "rope.scale_linear" in keys.values else "none")
    if kind == "linear":
        legacy = keys.number("rope.scale_linear", 1.0)
        rope |= {"rope_type": "linear", "factor": keys.single("rope.scaling.factor", legacy)}
    elif kind == "yarn":
        length = keys.count("rope.scaling.original_context_length", context)
        rope |= {"rope_type": "yarn", "factor": keys.single("rope.scaling.factor")}
        rope |= {"original_max_position_embeddings": length}
        for name in ("beta_fast", "beta_slow"):
            if f"rope.scaling.yarn_{name}" in keys.values:
                rope[name] = keys.single(f"rope.scaling.yarn_{name}")
    elif kind != "none":
        raise keys.fail(f"rope.scaling.type {kind!r} isn't supported (supported: none, linear, yarn)", _OTHER_WAY)
    for key in ("rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor"):
        if keys.single(key, 1.0) != 1.0:
            raise keys.fail(f"{keys.architecture}.{key} = {keys.values[key]} isn't supported", _OTHER_WAY)
    if rope.get("factor") == 1.0:
        rope = plain
    if ROPE_FACTORS not in keys.file.tensors:
        return rope, []
    return _llama3(keys, plain) if rope == plain else _both(keys)


def _llama3(keys: _Keys, plain: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    factors = keys.file.read(ROPE_FACTORS).astype(np.float64).ravel()
    if (factors == 1).all():
        return plain, []
    found = llama3_parameters(factors, plain["rope_theta"])
    if found is None:
        raise keys.fail(f"tensor {ROPE_FACTORS} holds factors that Llama 3's scaling doesn't give", _OTHER_WAY)
    length, factor = found["original_max_position_embeddings"], found["factor"]
    return plain | found, [f"{ROPE_FACTORS} read as Llama 3's RoPE scaling: factor {factor:g} over {length} positions"]


def _both(keys: _Keys) -> tuple[dict[str, Any], list[str]]:
    raise keys.fail(f"both rope.scaling keys and a tensor {ROPE_FACTORS}", _OTHER_WAY)


def _sources(file: GGUF) -> dict[str, str]:
    names = {source: to_hugging_face(source) for source in file.tensors if source != ROPE_FACTORS}
    unknown = [source for source, name in names.items() if name is None]
    if unknown:
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        raise WeightsError(f"{file.path}: unknown tensors: {', '.join(unknown[:8])}{more}", _OTHER_WAY)
    return {name: source for source, name in names.items() if name is not None}


def _short(value: Value | None) -> str:
    return f"a list of {len(value):,}" if isinstance(value, np.ndarray | list) else repr(value)
