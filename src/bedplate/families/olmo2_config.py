"""The configuration of OLMo 2."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from bedplate.families.activations import HiddenAct
from bedplate.families.family_config import HuggingFace
from bedplate.families.rotary_config import RotaryConfig


class Olmo2Config(RotaryConfig):
    """An OLMo 2 model: norms after each sublayer, and over all queries and all keys together."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="Olmo2ForCausalLM", defaults={"pad_token_id": 1, "eos_token_id": 50279}
    )

    model_type: Literal["olmo2"] = Field("olmo2", description="the Hugging Face name it is saved under")
    hidden_act: HiddenAct = Field("silu", description="the function on the feed-forward's gate")
    rms_norm_eps: float = Field(1e-5, gt=0, description="added to the mean square in every norm")
    attention_bias: bool = Field(False, description="biases on queries, keys, values and the attention's output")
