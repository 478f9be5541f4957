"""The configuration of the BERT family: encoders with learned positions whose norms come after the addition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from bedplate.families.activations import HiddenAct
from bedplate.families.family_config import MAX_LAYERS, MAX_NUMBERS, MAX_POSITIONS, FamilyConfig, TokenId


class BertConfig(FamilyConfig):
    """A BERT-family model; keys as in Hugging Face's config.json."""

    model_type: Literal["bert"] = Field("bert", description="the Hugging Face name it is saved under")
    vocab_size: int = Field(gt=0, description="rows of the embedding")
    hidden_size: int = Field(gt=0, description="width of the residual stream")
    intermediate_size: int = Field(gt=0, description="inner width of the feed-forward")
    num_hidden_layers: int = Field(gt=0, le=MAX_LAYERS, description="blocks")
    num_attention_heads: int = Field(gt=0, description="heads, each hidden_size / num_attention_heads wide")
    hidden_act: HiddenAct = Field("gelu", description="the function between the feed-forward's two maps")
    layer_norm_eps: float = Field(1e-12, gt=0, description="added to the variance in every norm")
    max_position_embeddings: int = Field(512, gt=0, le=MAX_POSITIONS, description="longest sequence: rows of positions")
    type_vocab_size: int = Field(2, gt=0, description="kinds of token: the first text of a pair, the second")
    pad_token_id: TokenId | None = Field(0, description="fills batches")
    hidden_dropout_prob: float = Field(
        0.1, ge=0, le=1, description="kept for libraries that train with dropout; this one doesn't"
    )
    attention_probs_dropout_prob: float = Field(0.1, ge=0, le=1, description="likewise, of attention")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}"
            )
        tallest = max(self.intermediate_size, self.vocab_size, self.max_position_embeddings, self.type_vocab_size)
        if self.hidden_size * max(tallest, self.hidden_size) > MAX_NUMBERS:
            raise ValueError(
                f"hidden_size {self.hidden_size} and {tallest} rows: a matrix of more numbers than can be addressed"
            )
        if self.pad_token_id is not None and self.pad_token_id >= self.vocab_size:
            raise ValueError(f"pad_token_id {self.pad_token_id} is beyond the {self.vocab_size} rows of the embedding")
        return self

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @classmethod
    def from_hf(cls, found: Mapping[str, Any], where: str = "config.json") -> BertConfig:
        """Read a Hugging Face config. Raises WeightsError for what isn't supported, naming the key."""
        from bedplate.families.bert_hf import read_config

        return read_config(found, where)

    def to_hf(self) -> dict[str, Any]:
        """The Hugging Face config that transformers 4 and 5 read."""
        from bedplate.families.bert_hf import write_config

        return write_config(self)
