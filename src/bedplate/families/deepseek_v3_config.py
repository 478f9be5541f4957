"""The configuration of DeepSeek-V3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bedplate.families.activations import HiddenAct
from bedplate.families.family_config import MAX_LAYERS, MAX_PARTS, FamilyConfig, HuggingFace, check_addressable, refuse
from bedplate.families.rope_config import ROPE, RopeScalingConfig, read_rope, write_rope


class DeepseekV3Config(FamilyConfig):
    """A DeepSeek-V3 model: latent attention, some dense blocks and then blocks of experts, and blocks that foresee."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="DeepseekV3ForCausalLM",
        defaults={
            "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_attention_heads": 128,
            "n_shared_experts": 1, "n_routed_experts": 256, "routed_scaling_factor": 2.5, "kv_lora_rank": 512,
            "q_lora_rank": 1536, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128, "n_group": 8,
            "topk_group": 4, "num_experts_per_tok": 8, "first_k_dense_replace": 3, "max_position_embeddings": 4096,
            "bos_token_id": 0, "eos_token_id": 1,
        },
        only={"scoring_func": ("sigmoid",), "topk_method": ("noaux_tc",), "moe_layer_freq": (1,)},
        # The head sizes follow from others; the rest concerns training, or how a model is spread over machines.
        harmless=frozenset({
            "head_dim", "qk_head_dim", "ep_size", "pretraining_tp", "aux_loss_alpha", "seq_aux", "auto_map",
        }),
    )  # fmt: skip

    model_type: Literal["deepseek_v3"] = Field("deepseek_v3", description="the Hugging Face name it is saved under")
    intermediate_size: int = Field(gt=0, description="inner width of a dense block's feed-forward")
    moe_intermediate_size: int = Field(gt=0, description="inner width of each expert")
    num_attention_heads: int = Field(gt=0, description="heads")
    q_lora_rank: int | None = Field(None, gt=0, description="latent that queries are made from; none if null")
    kv_lora_rank: int = Field(gt=0, description="latent that keys and values are made from")
    qk_nope_head_dim: int = Field(gt=0, description="numbers of each head's queries and keys that aren't rotated")
    qk_rope_head_dim: int = Field(gt=0, multiple_of=2, description="numbers that are; all heads share the key's")
    v_head_dim: int = Field(gt=0, description="size of each head's values")
    attention_bias: bool = Field(False, description="biases into the latents and on the attention's output")
    rope_interleave: bool = Field(True, description="whether numbers rotated against each other lie side by side")
    rope_theta: float = Field(10000.0, gt=1, le=1e30, description="base of the rotary frequencies")
    rope_scaling: RopeScalingConfig | None = Field(None, description="stretching beyond the trained length")
    first_k_dense_replace: int = Field(ge=0, description="blocks at the beginning that have no experts")
    n_routed_experts: int = Field(gt=0, le=MAX_PARTS, description="experts that tokens choose from")
    n_shared_experts: int = Field(1, gt=0, description="experts that every token takes")
    num_experts_per_tok: int = Field(gt=0, description="experts that each token chooses")
    n_group: int = Field(1, gt=0, description="groups that the experts fall into")
    topk_group: int = Field(1, gt=0, description="groups that each token chooses from")
    norm_topk_prob: bool = Field(True, description="whether the chosen experts' weights are made to sum to 1")
    routed_scaling_factor: float = Field(1.0, gt=0, description="what these weights are then multiplied by")
    num_nextn_predict_layers: int = Field(
        0, ge=0, le=MAX_LAYERS, description="blocks after the last that foresee further tokens"
    )
    hidden_act: HiddenAct = Field("silu", description="the function on a feed-forward's gate")
    rms_norm_eps: float = Field(1e-6, gt=0, description="added to the mean square in the norms beside the latents'")
    tie_word_embeddings: bool = Field(False, description="whether the head is the embedding itself")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.rope_scaling is not None:
            self.rope_scaling.of_size(self.qk_rope_head_dim)
        per_group, rest = divmod(self.n_routed_experts, self.n_group)
        # A group is judged by its two best experts.
        if rest or per_group < 2:
            raise ValueError(
                f"n_routed_experts {self.n_routed_experts} aren't n_group {self.n_group} equal groups of two or more"
            )
        if self.topk_group > self.n_group:
            raise ValueError(f"topk_group {self.topk_group} of n_group {self.n_group} can't be chosen")
        if self.num_experts_per_tok > self.topk_group * per_group:
            raise ValueError(
                f"num_experts_per_tok {self.num_experts_per_tok} is more than the {self.topk_group * per_group} "
                f"experts of topk_group {self.topk_group} groups"
            )
        widest = max(self.qk_nope_head_dim + self.qk_rope_head_dim, self.qk_nope_head_dim + self.v_head_dim)
        latent = max(self.hidden_size, self.kv_lora_rank, self.q_lora_rank or 0)
        check_addressable(self.num_attention_heads * widest, latent, f"{self.num_attention_heads} heads of {widest}")
        for name in ("n_routed_experts", "n_shared_experts"):
            inner = getattr(self, name) * self.moe_intermediate_size
            check_addressable(inner, self.hidden_size, f"{name} of moe_intermediate_size {self.moe_intermediate_size}")
        if self.parts > MAX_PARTS:
            raise ValueError(f"{self.num_hidden_layers} layers of {self.n_routed_experts} experts: over {MAX_PARTS}")
        return self

    @property
    def parts(self) -> int:
        layers = self.num_hidden_layers + self.num_nextn_predict_layers
        dense = min(self.first_k_dense_replace, self.num_hidden_layers)
        return dense + (layers - dense) * self.n_routed_experts

    @classmethod
    def handled(cls) -> set[str]:
        return {*ROPE, "num_key_value_heads"}

    @classmethod
    def fields_from(cls, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        heads, kv_heads = given["num_attention_heads"], given.get("num_key_value_heads")
        if kv_heads not in (None, heads):
            raise refuse(
                where, f"num_key_value_heads={kv_heads!r} beside num_attention_heads={heads!r}",
                "Latent attention makes a key for every head: they must be equal.",
            )  # fmt: skip
        theta, scaling, _ = read_rope(given, where)
        return {"rope_theta": theta, "rope_scaling": scaling}

    def keys_to(self) -> dict[str, Any]:
        rope = write_rope(self.rope_theta, self.rope_scaling, self.max_position_embeddings)
        return {"num_key_value_heads": self.num_attention_heads, **rope}
