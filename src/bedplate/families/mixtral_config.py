"""The configuration of Mixtral, and what it shares with other decoders of Llama's shape whose feed-forward is many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bedplate.families.activations import HiddenAct
from bedplate.families.family_config import MAX_NUMBERS, MAX_PARTS, MAX_POSITIONS, HuggingFace
from bedplate.families.rope_config import read_rope
from bedplate.families.rotary_config import RotaryConfig

TRAINING_ONLY = frozenset({"router_aux_loss_coef", "router_jitter_noise"})
"""Keys that a forward pass that doesn't train takes no notice of."""


class ExpertsConfig(RotaryConfig):
    """A decoder of Llama's shape whose feed-forward is a mixture of experts."""

    hidden_act: HiddenAct = Field("silu", description="the function on the gate")
    rms_norm_eps: float = Field(1e-6, gt=0, description="added to the mean square in every norm")
    sliding_window: int | None = Field(
        None, gt=0, le=MAX_POSITIONS, description="positions that each sees, itself included; all if absent"
    )
    num_experts: int = Field(gt=0, le=MAX_PARTS, description="feed-forwards in a layer of experts")
    num_experts_per_tok: int = Field(gt=0, description="those that each token takes")

    @model_validator(mode="after")
    def _experts_fit(self) -> Self:
        if self.num_experts_per_tok > self.num_experts:
            raise ValueError(
                f"num_experts_per_tok {self.num_experts_per_tok}, and there are {self.num_experts} experts"
            )
        if self.hidden_size * self.num_experts * self.expert_size > MAX_NUMBERS:
            raise ValueError(
                f"{self.num_experts} experts of {self.expert_size}: a tensor of more numbers than can be addressed"
            )
        # Whether or not every layer has experts.
        if self.num_hidden_layers * self.num_experts > MAX_PARTS:
            raise ValueError(f"{self.num_hidden_layers} layers of {self.num_experts} experts: over {MAX_PARTS}")
        return self

    @property
    def parts(self) -> int:
        return sum(self.num_experts if self.has_experts(layer) else 1 for layer in range(self.num_hidden_layers))

    def has_experts(self, layer: int) -> bool:
        """Whether this layer, counted from 0, has experts."""
        return True

    @property
    def expert_size(self) -> int:
        """Inner width of one expert."""
        return self.intermediate_size


class MixtralConfig(ExpertsConfig):
    """A Mixtral model: every layer's feed-forward is experts."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="MixtralForCausalLM",
        renamed={"num_experts": "num_local_experts"},
        defaults={
            "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 131072, "num_key_value_heads": 8,
            "rms_norm_eps": 1e-5, "num_local_experts": 8, "num_experts_per_tok": 2,
        },
        harmless=TRAINING_ONLY,
    )  # fmt: skip

    model_type: Literal["mixtral"] = Field("mixtral", description="the Hugging Face name it is saved under")

    @classmethod
    def fields_from(cls, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        theta, scaling, _ = read_rope(given, where, theta=1e6)
        return {"rope_theta": theta, "rope_scaling": scaling}
