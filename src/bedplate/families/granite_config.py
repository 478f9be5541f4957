"""The configuration of Granite."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from bedplate.families.activations import HiddenAct
from bedplate.families.family_config import HuggingFace
from bedplate.families.rotary_config import RotaryConfig


class GraniteConfig(RotaryConfig):
    """A Granite model: Llama with factors of its own on embeddings, scores, residuals and logits."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="GraniteForCausalLM", defaults={"bos_token_id": 1, "eos_token_id": 2}
    )

    model_type: Literal["granite"] = Field("granite", description="the Hugging Face name it is saved under")
    hidden_act: HiddenAct = Field("silu", description="the function on the feed-forward's gate")
    rms_norm_eps: float = Field(1e-6, gt=0, description="added to the mean square in every norm")
    attention_bias: bool = Field(False, description="biases on queries, keys, values and the attention's output")
    mlp_bias: bool = Field(False, description="biases in the feed-forward")
    embedding_multiplier: float = Field(1.0, gt=0, description="of the embeddings")
    attention_multiplier: float = Field(1.0, gt=0, description="of the scores, in place of 1 / sqrt(head size)")
    residual_multiplier: float = Field(1.0, gt=0, description="of what each sublayer adds")
    logits_scaling: float = Field(1.0, gt=0, description="what logits are divided by")
