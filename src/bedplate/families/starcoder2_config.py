"""The configuration of StarCoder 2."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from bedplate.families.activations import HiddenAct
from bedplate.families.family_config import HuggingFace
from bedplate.families.rotary_config import RotaryConfig


class Starcoder2Config(RotaryConfig):
    """A StarCoder 2 model: rotary positions and grouped queries, with GPT-2's norms, feed-forward and biases."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="Starcoder2ForCausalLM",
        renamed={"layer_norm_eps": "norm_epsilon"},
        defaults={"num_key_value_heads": 2, "bos_token_id": 50256, "eos_token_id": 50256},
        only={"norm_type": ("layer_norm",), "mlp_type": ("default",), "scale_attn_weights": (True,)},
        harmless=frozenset({
            "residual_dropout", "activation_function", "layer_norm_epsilon", "attention_softmax_in_fp32",
            "scale_attention_softmax_in_fp32",
        }),
    )  # fmt: skip

    model_type: Literal["starcoder2"] = Field("starcoder2", description="the Hugging Face name it is saved under")
    max_position_embeddings: int = Field(4096, gt=0, description="longest sequence that it is meant for")
    hidden_act: HiddenAct = Field("gelu_pytorch_tanh", description="the function between the feed-forward's two maps")
    layer_norm_eps: float = Field(1e-5, gt=0, description="added to the variance in every norm")
    sliding_window: int | None = Field(None, gt=0, description="positions that one sees, itself included; null for all")
    use_bias: bool = Field(True, description="biases in attention and feed-forward")
    tie_word_embeddings: bool = Field(True, description="whether the head is the embedding itself")
