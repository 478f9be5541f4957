"""The configuration of the Llama family: Llama 2 and 3, Mistral, Qwen 2 and Qwen 3 are one architecture with switches.

What Hugging Face implies by a model's name (Qwen 2 has biases, Mistral a window) is written out here as fields, and
turned back into a name on saving. A key that would change the mathematics and isn't supported is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from bedplate.config.model import Config
from bedplate.families.family_config import MAX_LAYERS, MAX_NUMBERS, MAX_POSITIONS, FamilyConfig, TokenId
from bedplate.families.rope_config import RopeScalingConfig

ModelType = Literal["llama", "mistral", "qwen2", "qwen3"]


class LlamaArchitecture(Config):
    """The shape of a Llama-family model, all but the vocabulary, which a tokenizer decides."""

    model_type: ModelType = Field("llama", description="the Hugging Face name it is saved under")
    hidden_size: int = Field(gt=0, description="width of the residual stream")
    intermediate_size: int = Field(gt=0, description="inner width of the feed-forward")
    num_hidden_layers: int = Field(gt=0, le=MAX_LAYERS, description="blocks")
    num_attention_heads: int = Field(gt=0, description="query heads")
    num_key_value_heads: int | None = Field(None, gt=0, description="key and value heads; as many as queries if absent")
    head_dim: int | None = Field(None, gt=0, description="size of a head; hidden_size / num_attention_heads if absent")
    rms_norm_eps: float = Field(1e-6, gt=0, description="added to the mean square in every norm")
    max_position_embeddings: int = Field(
        2048, gt=0, le=MAX_POSITIONS, description="longest sequence that it is meant for"
    )
    rope_theta: float = Field(10000.0, gt=1, le=1e30, description="base of the rotary frequencies")
    rope_scaling: RopeScalingConfig | None = Field(None, description="stretching beyond the trained length")
    tie_word_embeddings: bool = Field(False, description="whether the head is the embedding itself")
    qkv_bias: bool = Field(False, description="biases on queries, keys and values")
    out_bias: bool = Field(False, description="bias on the attention's output")
    mlp_bias: bool = Field(False, description="biases in the feed-forward")
    qk_norm: bool = Field(False, description="RMSNorm on each head's query and key")
    windows: tuple[int | None, ...] | None = Field(
        None, description="sliding window of each layer, itself included, null for full attention; none if absent"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        # transformers demands it of Llama whatever head_dim says, and so couldn't read what we save.
        if (self.head_dim is None or self.model_type == "llama") and self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}: "
                "change one, or say head_dim (and a model_type that isn't llama)"
            )
        if self.num_attention_heads % self.kv_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} is no multiple of num_key_value_heads {self.kv_heads}"
            )
        if self.head_size % 2:
            raise ValueError(f"head_dim {self.head_size} is odd: rotary positions need pairs")
        if self.rope_scaling is not None:
            self.rope_scaling.of_size(self.head_size)
        widest = max(self.intermediate_size, self.num_attention_heads * self.head_size)
        if self.hidden_size * widest > MAX_NUMBERS:
            raise ValueError(
                f"hidden_size {self.hidden_size} and intermediate_size {self.intermediate_size} or "
                f"{self.num_attention_heads} heads of {self.head_size}: a matrix of more numbers than can be addressed"
            )
        if self.windows is not None and len(self.windows) != self.num_hidden_layers:
            raise ValueError(f"windows has {len(self.windows)} entries for {self.num_hidden_layers} layers")
        if any(w is not None and w < 1 for w in self.windows or ()):
            raise ValueError(f"windows {self.windows}: a layer that sees nothing, not even itself")
        if any(w is not None and w > MAX_POSITIONS for w in self.windows or ()):
            raise ValueError(f"windows wider than {MAX_POSITIONS} positions")
        self._expressible()
        return self

    def _expressible(self) -> None:
        """Whether `model_type`, read by other libraries, means these very semantics."""
        switches = (self.qkv_bias, self.out_bias, self.mlp_bias, self.qk_norm)
        can = {
            "llama": self.qkv_bias == self.out_bias and not self.qk_norm and not any(self.windows or ()),
            "mistral": not any(switches) and len(set(self.windows or ())) <= 1,
            "qwen2": switches == (True, False, False, False),
            "qwen3": self.qkv_bias == self.out_bias and not self.mlp_bias and self.qk_norm,
        }
        if self.model_type.startswith("qwen"):
            can[self.model_type] &= len({w for w in self.windows or () if w is not None}) <= 1
        if not can[self.model_type]:
            raise ValueError(
                f"model_type {self.model_type} can't say these biases, norms or windows; "
                f"those that can: {', '.join(k for k, v in can.items() if v) or 'none'}"
            )

    @property
    def kv_heads(self) -> int:
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def head_size(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads


class LlamaConfig(LlamaArchitecture, FamilyConfig):
    """A Llama-family model: its architecture, vocabulary and special tokens."""

    vocab_size: int = Field(gt=0, description="rows of the embedding")
    bos_token_id: TokenId | None = Field(None, description="begins a text")
    eos_token_id: TokenId | tuple[TokenId, ...] | None = Field(None, description="ends a text; several may")
    pad_token_id: TokenId | None = Field(None, description="fills batches")

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.hidden_size * self.vocab_size > MAX_NUMBERS:
            raise ValueError(
                f"hidden_size {self.hidden_size} and vocab_size {self.vocab_size}: a matrix of more numbers than can "
                "be addressed"
            )
        for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
            found = getattr(self, key)
            for token in found if isinstance(found, tuple) else (found,):
                if token is not None and token >= self.vocab_size:
                    raise ValueError(f"{key} {token} is beyond the {self.vocab_size} rows of the embedding")
        return self

    def settled(self) -> Self:
        return self.model_copy(update={"num_key_value_heads": self.kv_heads, "head_dim": self.head_size})

    @classmethod
    def from_hf(cls, found: Mapping[str, Any], where: str = "config.json") -> LlamaConfig:
        """Read a Hugging Face config. Raises WeightsError for what isn't supported, naming the key."""
        from bedplate.families.llama_hf import read_config

        return read_config(found, where)

    def to_hf(self) -> dict[str, Any]:
        """The Hugging Face config that transformers 4 and 5, vLLM and llama.cpp read."""
        from bedplate.families.llama_hf import write_config

        return write_config(self)
