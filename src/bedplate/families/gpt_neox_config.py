"""The configuration of GPT-NeoX and Pythia."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from bedplate.families.activations import HiddenAct
from bedplate.families.family_config import HuggingFace, refuse
from bedplate.families.rope_config import read_rope, write_rope
from bedplate.families.rotary_config import RotaryConfig


class GPTNeoXConfig(RotaryConfig):
    """A GPT-NeoX model: a part of each head turned, both sublayers reading the same stream where it says so."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="GPTNeoXForCausalLM",
        defaults={"bos_token_id": 0, "eos_token_id": 2},
        only={"head_dim": (), "num_key_value_heads": ()},
        harmless=frozenset({"is_decoder"}),
    )

    model_type: Literal["gpt_neox"] = Field("gpt_neox", description="the Hugging Face name it is saved under")
    num_key_value_heads: None = Field(None, description="none of its own: as many as queries")
    head_dim: None = Field(None, description="none of its own: hidden_size / num_attention_heads")
    hidden_act: HiddenAct = Field("gelu", description="the function between the feed-forward's two maps")
    layer_norm_eps: float = Field(1e-5, gt=0, description="added to the variance in every norm")
    rotary_pct: float = Field(0.25, gt=0, le=1, description="share of each head that is turned")
    use_parallel_residual: bool = Field(True, description="whether both sublayers read what comes before the first")
    attention_bias: bool = Field(True, description="biases on queries, keys, values and the attention's output")

    @property
    def rotated(self) -> int:
        return int(self.head_size * self.rotary_pct)

    @classmethod
    def fields_from(cls, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        spelt = {key: value for key, value in given.items() if key not in ("rope_theta", "partial_rotary_factor")}
        for key, name in (("rotary_emb_base", "rope_theta"), ("rotary_pct", "partial_rotary_factor")):
            if given.get(key) is not None:
                spelt[name] = given[key]
        theta, scaling, share = read_rope(spelt, where, partial=0.25)
        # Outside of rope_parameters transformers reads its own keys of this family alone, and so these can but agree.
        for key, name, value in (
            ("rotary_emb_base", "rope_theta", theta),
            ("rotary_pct", "partial_rotary_factor", share),
        ):
            if given.get(name) not in (None, value):
                raise refuse(where, f"{key}={value!r} and {name}={given[name]!r}", "Leave only the right one.")
        return {"rope_theta": theta, "rope_scaling": scaling, "rotary_pct": share}

    @classmethod
    def handled(cls) -> set[str]:
        return super().handled() | {"rotary_emb_base"}

    @classmethod
    def unwritten(cls) -> set[str]:
        return {"head_dim", "num_key_value_heads"}

    def keys_to(self) -> dict[str, Any]:
        keys = write_rope(self.rope_theta, self.rope_scaling, self.max_position_embeddings)
        keys["rope_parameters"]["partial_rotary_factor"] = self.rotary_pct
        return keys | {"rotary_emb_base": self.rope_theta}
