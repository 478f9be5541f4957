"""The configurations of Gemma 2 and of Gemma 3's text models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bedplate.families.activations import HiddenAct
from bedplate.families.family_config import MAX_LAYERS, MAX_POSITIONS, HuggingFace, refuse
from bedplate.families.rope_config import read_rope, write_rope
from bedplate.families.rotary_config import RotaryConfig

LayerType = Literal["sliding_attention", "full_attention"]
_DEFAULTS = {
    "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "num_key_value_heads": 4, "head_dim": 256,
    "sliding_window": 4096,
}  # fmt: skip
_ONLY = {"use_bidirectional_attention": (False,), "hidden_act": ("gelu_pytorch_tanh",)}
# How old releases of transformers lay out their cache, and another name of the window that none of them reads.
_HARMLESS = frozenset({"cache_implementation", "sliding_window_size"})


class _GemmaConfig(RotaryConfig):
    """What both have: four norms a block, GeGLU, embeddings times the root of the width, windows in some layers."""

    hidden_act: HiddenAct = Field("gelu_pytorch_tanh", description="the function on the feed-forward's gate")
    rms_norm_eps: float = Field(1e-6, gt=0, description="added to the mean square in every norm")
    tie_word_embeddings: bool = Field(True, description="whether the head is the embedding itself")
    attention_bias: bool = Field(False, description="biases on queries, keys, values and the attention's output")
    query_pre_attn_scalar: int = Field(256, gt=0, description="scores are divided by its root")
    sliding_window: int | None = Field(
        None, gt=0, le=MAX_POSITIONS, description="positions that sliding layers see, itself included"
    )
    layer_types: tuple[LayerType, ...] | None = Field(
        None, description="sliding_attention or full_attention of each layer; the family's own pattern if absent"
    )
    final_logit_softcapping: float | None = Field(None, gt=0, description="logits become this * tanh(logits / this)")

    @model_validator(mode="after")
    def _layers_fit(self) -> Self:
        if self.layer_types is not None and len(self.layer_types) != self.num_hidden_layers:
            raise ValueError(f"layer_types has {len(self.layer_types)} entries for {self.num_hidden_layers} layers")
        if self.sliding_window is None and "sliding_attention" in self.types:
            raise ValueError("sliding_attention in some layers, and no sliding_window")
        if self.hidden_size % self.num_attention_heads:
            # transformers demands it whatever head_dim says, and so couldn't read what we save.
            raise ValueError(
                f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}"
            )
        return self

    @property
    def every(self) -> int:
        """Layers from one that sees everything to the next, where `layer_types` doesn't say."""
        return 2

    @property
    def types(self) -> tuple[LayerType, ...]:
        """What each layer is."""
        kinds: tuple[LayerType, LayerType] = ("full_attention", "sliding_attention")
        return self.layer_types or tuple(kinds[bool((i + 1) % self.every)] for i in range(self.num_hidden_layers))

    def settled(self) -> Self:
        return super().settled().model_copy(update={"layer_types": self.types})

    def keys_to(self) -> dict[str, Any]:
        return super().keys_to() | {"layer_types": list(self.types)}


class Gemma2Config(_GemmaConfig):
    """A Gemma 2 model: every second layer has a window, scores and logits are softcapped."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="Gemma2ForCausalLM",
        renamed={"hidden_act": "hidden_activation"},
        defaults={
            **_DEFAULTS, "max_position_embeddings": 8192, "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
        },
        only=_ONLY,
        harmless=_HARMLESS,
    )  # fmt: skip

    model_type: Literal["gemma2"] = Field("gemma2", description="the Hugging Face name it is saved under")
    attn_logit_softcapping: float | None = Field(None, gt=0, description="scores become this * tanh(scores / this)")


class Gemma3Config(_GemmaConfig):
    """A Gemma 3 text model: five layers in six have a window and rotations of their own; queries and keys are normed.

    rope_theta and rope_scaling are those of the layers without a window.
    """

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="Gemma3ForCausalLM",
        renamed={"hidden_act": "hidden_activation", "rope_local_theta": "rope_local_base_freq"},
        defaults={**_DEFAULTS, "max_position_embeddings": 131072},
        # transformers reads this key and computes without it.
        only={**_ONLY, "attn_logit_softcapping": ()},
        harmless=_HARMLESS,
    )

    model_type: Literal["gemma3_text"] = Field("gemma3_text", description="the Hugging Face name it is saved under")
    rope_theta: float = Field(1_000_000.0, gt=1, le=1e30, description="base of the frequencies in full layers")
    rope_local_theta: float = Field(10000.0, gt=1, le=1e30, description="base of the frequencies in sliding layers")

    @property
    def every(self) -> int:
        return 6

    @classmethod
    def fields_from(cls, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        nested = given.get("rope_parameters") or {}
        if not isinstance(nested, Mapping) or nested.keys() - {"full_attention", "sliding_attention"}:
            raise refuse(
                where, f"rope_parameters={nested!r}", "Gemma 3 says them of full_attention and of sliding_attention."
            )
        # An older spelling, rope_scaling {"type": ...}, means here what it means in every other family; transformers 5
        # lays it over a default rope_type, and so takes no notice of it.
        full = {k: v for k, v in given.items() if k != "rope_parameters"}
        full["rope_parameters"] = nested.get("full_attention")
        theta, scaling, _ = read_rope(full, where, theta=1_000_000.0)
        local, local_scaling, _ = read_rope(
            {"rope_theta": given.get("rope_local_base_freq"), "rope_parameters": nested.get("sliding_attention")}, where
        )
        if local_scaling is not None:
            raise refuse(where, f"sliding layers with {local_scaling}", "Only full layers are stretched.")
        fields = {"rope_theta": theta, "rope_scaling": scaling, "rope_local_theta": local}
        every, layers = given.get("sliding_window_pattern"), given.get("num_hidden_layers")
        if given.get("layer_types") is None and every is not None and isinstance(layers, int) and layers < MAX_LAYERS:
            if not isinstance(every, int) or every < 1:
                raise refuse(where, f"sliding_window_pattern={every!r} is no count of layers", "Say a whole number.")
            kinds = ("full_attention", "sliding_attention")
            fields["layer_types"] = tuple(kinds[bool((i + 1) % every)] for i in range(layers))
        return fields

    @classmethod
    def handled(cls) -> set[str]:
        return super().handled() | {"sliding_window_pattern"}

    def keys_to(self) -> dict[str, Any]:
        keys = super().keys_to()
        local = write_rope(self.rope_local_theta, None, self.max_position_embeddings)["rope_parameters"]
        return keys | {"rope_parameters": {"full_attention": keys["rope_parameters"], "sliding_attention": local}}
