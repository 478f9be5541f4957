"""Rotary positions in configurations: read and written as transformers 4 and 5 spell them. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from bedplate.config.model import Config
from bedplate.families.family_config import MAX_POSITIONS, refuse

if TYPE_CHECKING:
    from bedplate.nn.rope import RopeScaling

RopeKind = Literal["linear", "dynamic", "llama3", "yarn", "longrope"]
_ROPE_KEYS = {
    "factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow",
    "attention_factor", "mscale", "mscale_all_dim", "truncate", "short_factor", "long_factor",
}  # fmt: skip
ROPE = frozenset({"rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor"})
"""The keys that `read_rope` reads."""


Divisor = Annotated[float, Field(ge=1e-6, le=1e9)]


class RopeScalingConfig(Config):
    """Stretching of rotary positions beyond the trained length; keys as in Hugging Face's `rope_parameters`."""

    rope_type: RopeKind = Field(description="linear, dynamic, llama3, yarn or longrope")
    # Bounds far around any model's keep logarithms, quotients and powers of these finite.
    factor: float = Field(gt=0, le=1e6, description="how many times the trained length")
    original_max_position_embeddings: int | None = Field(None, gt=0, le=MAX_POSITIONS, description="the trained length")
    low_freq_factor: float = Field(1.0, ge=1e-6, description="llama3: wavelengths above length / this are stretched")
    high_freq_factor: float = Field(4.0, description="llama3: wavelengths below length / this are kept")
    beta_fast: float = Field(32.0, ge=1e-6, le=1e9, description="yarn: rotations above which a dimension is kept")
    beta_slow: float = Field(1.0, ge=1e-6, le=1e9, description="yarn: rotations below which a dimension is stretched")
    attention_factor: float | None = Field(
        None, gt=0, description="yarn, longrope: factor on cos and sin; else computed"
    )
    mscale: float | None = Field(None, ge=0, description="yarn: numerator of the attention factor")
    mscale_all_dim: float | None = Field(None, ge=0, description="yarn: denominator of the attention factor")
    truncate: bool = Field(True, description="yarn: whether the ramp's ends are whole dimensions")
    short_factor: tuple[Divisor, ...] | None = Field(
        None, description="longrope: what each frequency is divided by within the trained length"
    )
    long_factor: tuple[Divisor, ...] | None = Field(None, description="longrope: the same beyond the trained length")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high_freq_factor <= self.low_freq_factor:
            raise ValueError(
                f"high_freq_factor {self.high_freq_factor} isn't above low_freq_factor {self.low_freq_factor}"
            )
        lists = (self.short_factor, self.long_factor)
        if self.rope_type == "longrope":
            if not all(lists):
                raise ValueError("longrope needs short_factor and long_factor")
            if self.original_max_position_embeddings == 1:
                raise ValueError("longrope and a trained length of 1, whose logarithm is nothing")
        elif any(x is not None for x in lists):
            raise ValueError(f"short_factor and long_factor are longrope's, not {self.rope_type}'s")
        return self

    def of_size(self, rotated: int) -> None:
        """Raise ValueError where what is said isn't for heads of which `rotated` numbers are turned."""
        for name, given in (("short_factor", self.short_factor), ("long_factor", self.long_factor)):
            if given is not None and len(given) != rotated // 2:
                raise ValueError(f"{name} has {len(given)} numbers where heads have {rotated // 2} frequencies")
        if rotated == 2 and self.rope_type == "dynamic":
            raise ValueError("head_dim 2 has one frequency, and dynamic scaling leaves that as it is")


def stretched(s: RopeScalingConfig | None, length: int) -> RopeScaling | None:
    """What the core wants; length: the model's own, which stands for a trained length that nobody says."""
    from bedplate.nn.rope import RopeScaling

    if s is None:
        return None
    # The dynamic kind measures against the model's own length, whatever else the file says.
    original = None if s.rope_type == "dynamic" else s.original_max_position_embeddings
    return RopeScaling(
        s.rope_type, s.factor, original or length, s.low_freq_factor, s.high_freq_factor,
        s.beta_fast, s.beta_slow, s.attention_factor, s.mscale, s.mscale_all_dim, s.truncate,
        s.short_factor or (), s.long_factor or (),
    )  # fmt: skip


def write_rope(theta: float, s: RopeScalingConfig | None, length: int) -> dict[str, Any]:
    """The keys of rotary positions; length: the model's own."""
    scaling: dict[str, Any] | None = None
    if s is not None:
        scaling = s.model_dump(mode="json", exclude_none=True, exclude_unset=True)
        if s.rope_type in ("llama3", "yarn", "longrope"):
            scaling.setdefault("original_max_position_embeddings", length)
        if s.rope_type == "llama3":
            scaling |= s.model_dump(include={"low_freq_factor", "high_freq_factor"})
    rope = {"rope_type": "default", "rope_theta": theta} | (scaling or {})
    # transformers 5 reads rope_parameters, 4 reads the other two.
    return {"rope_parameters": rope, "rope_theta": theta, "rope_scaling": scaling}


def read_rope(
    given: Mapping[str, Any], where: str, *, partial: float | None = None, theta: float = 10000.0
) -> tuple[Any, dict[str, Any] | None, Any]:
    """rope_theta, rope_scaling and the share of each head that is turned, values not yet checked, from whichever
    spellings the file has.

    partial: that share where the file says none; None in a family that turns whole heads, where another is refused.
    theta: likewise. Raises WeightsError for keys that contradict each other or aren't known.
    """
    outside = ("rope_theta", "partial_rotary_factor")
    parameters: dict[str, Any] = {key: given[key] for key in outside if given.get(key) is not None}
    for spelling in ("rope_scaling", "rope_parameters"):
        found = given.get(spelling) or {}
        if not isinstance(found, Mapping):
            raise refuse(where, f"{spelling}={found!r} is no table of keys", "Take an undamaged copy.")
        # Older files say "type".
        renamed = {"rope_type": found.get("rope_type", found.get("type")), **found}
        for key, value in renamed.items():
            if key == "type" or value is None:
                continue
            if parameters.setdefault(key, value) != value:
                raise refuse(
                    where, f"{key} is said to be {parameters[key]!r} and {value!r}", "Leave only the right one."
                )
    theta, kind = parameters.pop("rope_theta", theta), parameters.pop("rope_type", "default")
    share = parameters.pop("partial_rotary_factor", 1.0 if partial is None else partial)
    if partial is None and share != 1.0:
        raise refuse(where, "partial_rotary_factor isn't 1", "This family turns whole heads.")
    known = ("default", *get_args(RopeKind))
    if kind not in known:
        raise refuse(where, f"rope type {kind!r} is unknown", f"Known: {', '.join(known)}.")
    unknown = sorted(parameters.keys() - _ROPE_KEYS)
    if unknown:
        raise refuse(
            where, f"rope_parameters has unknown keys: {', '.join(unknown)}", "They may change the mathematics."
        )
    if kind == "longrope" and "factor" not in parameters:
        length, original = given.get("max_position_embeddings"), parameters.get("original_max_position_embeddings")
        said = isinstance(length, int) and isinstance(original, int) and original > 0
        parameters["factor"] = length / original if said else 1.0  # type: ignore[operator]  # both are whole numbers
    return theta, None if kind == "default" else {"rope_type": kind, **parameters}, share
