"""The configuration of Phi-3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bedplate.families.activations import HiddenAct
from bedplate.families.family_config import MAX_POSITIONS, HuggingFace
from bedplate.families.rope_config import read_rope
from bedplate.families.rotary_config import RotaryConfig


class Phi3Config(RotaryConfig):
    """A Phi-3 or Phi-4 model: Llama, of whose heads a part may be turned, stretched by longrope alone."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="Phi3ForCausalLM",
        defaults={
            "bos_token_id": 1, "eos_token_id": 32000, "pad_token_id": 32000, "max_position_embeddings": 4096,
            "original_max_position_embeddings": 4096,
        },
        only={"full_attn_mod": (1,), "interpolate_factor": (1,)},
        # Phi-3 came with code of its own, of which transformers' class is the successor.
        harmless=frozenset({"auto_map"}),
    )  # fmt: skip

    model_type: Literal["phi3"] = Field("phi3", description="the Hugging Face name it is saved under")
    hidden_act: HiddenAct = Field("silu", description="the function on the feed-forward's gate")
    rms_norm_eps: float = Field(1e-5, gt=0, description="added to the mean square in every norm")
    original_max_position_embeddings: int = Field(
        4096, gt=0, le=MAX_POSITIONS, description="the trained length, from where on positions are stretched"
    )
    partial_rotary_factor: float = Field(1.0, gt=0, le=1, description="share of each head that is turned")
    sliding_window: int | None = Field(
        None, gt=0, le=MAX_POSITIONS, description="positions seen, itself included; all if absent"
    )

    @model_validator(mode="after")
    def _stretching(self) -> Self:
        s, original = self.rope_scaling, self.original_max_position_embeddings
        if s is not None and s.rope_type != "longrope":
            raise ValueError(f"rope scaling {s.rope_type}: phi3 knows longrope alone")
        if s is not None and s.original_max_position_embeddings != original:
            raise ValueError(
                f"original_max_position_embeddings is said to be {original} and, of the scaling, "
                f"{s.original_max_position_embeddings}"
            )
        return self

    @property
    def rotated(self) -> int:
        return int(self.head_size * self.partial_rotary_factor)

    @classmethod
    def fields_from(cls, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        spelt = dict(given)
        for key in ("rope_scaling", "rope_parameters"):
            if isinstance(given.get(key), Mapping):
                spelt[key] = _with_length(given[key], given.get("original_max_position_embeddings"))
        theta, scaling, share = read_rope(spelt, where, partial=1.0)
        return {"rope_theta": theta, "rope_scaling": scaling, "partial_rotary_factor": share}

    def keys_to(self) -> dict[str, Any]:
        keys, s = super().keys_to(), self.rope_scaling
        keys["rope_parameters"]["partial_rotary_factor"] = self.partial_rotary_factor
        if s is not None:
            # transformers 4 takes a table of these three alone.
            keys["rope_scaling"] = {
                "type": "longrope", "short_factor": list(s.short_factor or ()), "long_factor": list(s.long_factor or ())
            }  # fmt: skip
            own = {"factor": s.factor, "attention_factor": s.attention_factor}
            if s.factor == self.max_position_embeddings / self.original_max_position_embeddings:
                del own["factor"]
            keys["rope_scaling"] |= {k: v for k, v in own.items() if v is not None}
        return keys


def _with_length(rope: Mapping[str, Any], original: object) -> dict[str, Any]:
    """With the trained length, which stands outside, and under the name that transformers gave "su" later."""
    kind = rope.get("rope_type", rope.get("type"))
    named = {**rope, "rope_type": "longrope"} if kind == "su" else dict(rope)
    return {"original_max_position_embeddings": original, **named} if kind in ("su", "longrope") else named
