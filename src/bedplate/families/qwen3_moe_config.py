"""The configuration of Qwen3-MoE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from bedplate.families.family_config import HuggingFace, refuse
from bedplate.families.mixtral_config import TRAINING_ONLY, ExpertsConfig


class Qwen3MoeConfig(ExpertsConfig):
    """A Qwen3-MoE model: norms on each head's query and key, some layers of experts and some of one feed-forward."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="Qwen3MoeForCausalLM",
        renamed={"num_experts": "num_local_experts"},
        defaults={
            "max_position_embeddings": 32768, "num_key_value_heads": 4, "moe_intermediate_size": 768,
            "num_experts_per_tok": 8, "intermediate_size": 6144, "sliding_window": 4096,
        },
        harmless=TRAINING_ONLY | {"max_window_layers"},
    )  # fmt: skip

    model_type: Literal["qwen3_moe"] = Field("qwen3_moe", description="the Hugging Face name it is saved under")
    moe_intermediate_size: int = Field(gt=0, description="inner width of an expert")
    norm_topk_prob: bool = Field(False, description="whether the chosen experts' weights are made to sum to 1")
    decoder_sparse_step: int = Field(1, gt=0, description="layers n, 2n, ... counted from 1 have experts")
    mlp_only_layers: tuple[int, ...] = Field((), description="layers, counted from 0, that have none all the same")
    attention_bias: bool = Field(False, description="biases in attention")

    @property
    def expert_size(self) -> int:
        return self.moe_intermediate_size

    def has_experts(self, layer: int) -> bool:
        """Whether this layer, counted from 0, has experts."""
        return layer not in self.mlp_only_layers and (layer + 1) % self.decoder_sparse_step == 0

    @classmethod
    def fields_from(cls, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        """transformers 4 says num_experts, 5 num_local_experts."""
        said = {given[key] for key in ("num_experts", "num_local_experts") if isinstance(given.get(key), int)}
        if len(said) > 1:
            raise refuse(where, f"num_experts and num_local_experts: {sorted(said)}", "Leave only the right one.")
        window = given.get("sliding_window") if given.get("use_sliding_window") else None
        return super().fields_from(given, where) | {
            "num_experts": said.pop() if said else 128,
            "sliding_window": window,
        }

    @classmethod
    def handled(cls) -> set[str]:
        return super().handled() | {"num_experts", "use_sliding_window"}

    def keys_to(self) -> dict[str, Any]:
        return super().keys_to() | {
            "num_experts": self.num_experts, "use_sliding_window": self.sliding_window is not None,
        }  # fmt: skip
