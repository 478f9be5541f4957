"""The configuration of GPT-2."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bedplate.families.activations import HiddenAct
from bedplate.families.family_config import FamilyConfig, HuggingFace


class GPT2Config(FamilyConfig):
    """A GPT-2 model: learned positions, LayerNorm before each sublayer, biases everywhere, a tied head."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="GPT2LMHeadModel",
        renamed={
            "hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
            "intermediate_size": "n_inner", "max_position_embeddings": "n_positions",
            "hidden_act": "activation_function", "layer_norm_eps": "layer_norm_epsilon",
        },
        defaults={"bos_token_id": 50256, "eos_token_id": 50256},
        only={"scale_attn_by_inverse_layer_idx": (False,), "add_cross_attention": (False,)},
        harmless=frozenset({
            "n_ctx", "reorder_and_upcast_attn", "summary_activation", "summary_first_dropout", "summary_proj_to_labels",
            "summary_type", "summary_use_proj", "n_special", "predict_special_tokens",
        }),
    )  # fmt: skip

    model_type: Literal["gpt2"] = Field("gpt2", description="the Hugging Face name it is saved under")
    max_position_embeddings: int = Field(1024, gt=0, description="longest sequence: rows of positions")
    num_attention_heads: int = Field(gt=0, description="heads, each hidden_size / num_attention_heads wide")
    intermediate_size: int | None = Field(None, gt=0, description="inner width of the feed-forward; 4 x if absent")
    hidden_act: HiddenAct = Field("gelu_new", description="the function between the feed-forward's two maps")
    layer_norm_eps: float = Field(1e-5, gt=0, description="added to the variance in every norm")
    scale_attn_weights: bool = Field(True, description="whether scores are divided by the root of a head's size")
    tie_word_embeddings: bool = Field(True, description="whether the head is the embedding itself")

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"n_embd {self.hidden_size} is no multiple of n_head {self.num_attention_heads}")
        return self
