"""What the configurations of families with rotary positions and grouped queries have in common. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from bedplate.families.family_config import MAX_NUMBERS, FamilyConfig
from bedplate.families.rope_config import ROPE, RopeScalingConfig, read_rope, write_rope


class RotaryConfig(FamilyConfig):
    """A family whose heads are turned by their positions, and share keys and values where they want to."""

    num_attention_heads: int = Field(gt=0, description="query heads")
    num_key_value_heads: int | None = Field(None, gt=0, description="key and value heads; as many as queries if absent")
    head_dim: int | None = Field(None, gt=0, description="size of a head; hidden_size / num_attention_heads if absent")
    intermediate_size: int = Field(gt=0, description="inner width of the feed-forward")
    rope_theta: float = Field(10000.0, gt=1, le=1e30, description="base of the rotary frequencies")
    rope_scaling: RopeScalingConfig | None = Field(None, description="stretching beyond the trained length")
    tie_word_embeddings: bool = Field(False, description="whether the head is the embedding itself")

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}: "
                "change one, or say head_dim"
            )
        if self.num_attention_heads % self.kv_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} is no multiple of num_key_value_heads {self.kv_heads}"
            )
        if self.rotated < 2 or self.rotated % 2:
            raise ValueError(f"{self.rotated} numbers of each head are turned: rotary positions need pairs")
        if self.rope_scaling is not None:
            self.rope_scaling.of_size(self.rotated)
        if self.hidden_size * self.num_attention_heads * self.head_size > MAX_NUMBERS:
            raise ValueError(
                f"{self.num_attention_heads} heads of {self.head_size}: a matrix of more numbers than can be addressed"
            )
        return self

    @property
    def kv_heads(self) -> int:
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def head_size(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def rotated(self) -> int:
        """How many numbers of a head are turned, its first ones."""
        return self.head_size

    @classmethod
    def fields_from(cls, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        theta, scaling, _ = read_rope(given, where)
        return {"rope_theta": theta, "rope_scaling": scaling}

    @classmethod
    def handled(cls) -> set[str]:
        return set(ROPE)

    def settled(self) -> Self:
        heads = {"num_key_value_heads": self.kv_heads, "head_dim": self.head_size}
        return self.model_copy(update={name: size for name, size in heads.items() if name not in self.unwritten()})

    def keys_to(self) -> dict[str, Any]:
        # What stands for their absence differs from class to class and release to release.
        heads = {"num_key_value_heads": self.kv_heads, "head_dim": self.head_size}
        return heads | write_rope(self.rope_theta, self.rope_scaling, self.max_position_embeddings)


def tied(c: RotaryConfig) -> dict[str, str]:
    """What a tied model lacks -> what stands for it."""
    return {"head.weight": "embed.weight"} if c.tie_word_embeddings else {}
