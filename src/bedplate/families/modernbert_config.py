"""The configuration of ModernBERT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bedplate.families.activations import HiddenAct
from bedplate.families.encoder_config import EncoderConfig
from bedplate.families.family_config import MAX_POSITIONS, HuggingFace, refuse
from bedplate.families.rope_config import read_rope

LayerType = Literal["full_attention", "sliding_attention"]
_THETA: Mapping[str, tuple[str, float]] = {
    "full_attention": ("global_rope_theta", 160_000.0),
    "sliding_attention": ("local_rope_theta", 10_000.0),
}


class ModernBertConfig(EncoderConfig):
    """A ModernBERT: rotary positions, gated feed-forwards, few biases; most layers see a window on both sides."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="ModernBert",
        renamed={"hidden_act": "hidden_activation", "layer_norm_eps": "norm_eps"},
        defaults={"pad_token_id": 50283, "bos_token_id": 50281, "eos_token_id": 50282},
        only={"position_embedding_type": ("absolute",), "rope_scaling": ()},  # both said, neither meant
        harmless=frozenset({
            "deterministic_flash_attn", "initializer_cutoff_factor", "layer_norm_eps", "mlp_dropout",
            "reference_compile", "repad_logits_with_grad", "sparse_pred_ignore_index", "sparse_prediction",
        }),
    )  # fmt: skip

    model_type: Literal["modernbert"] = Field("modernbert", description="the Hugging Face name it is saved under")
    max_position_embeddings: int = Field(8192, gt=0, le=MAX_POSITIONS, description="longest text that it is meant for")
    layer_norm_eps: float = Field(1e-5, gt=0, description="added to the variance in every norm")
    norm_bias: bool = Field(False, description="whether norms have biases")
    attention_bias: bool = Field(False, description="whether attention has biases")
    mlp_bias: bool = Field(False, description="whether the feed-forward has biases")
    layer_types: tuple[LayerType, ...] = Field(description="which layers see everything, and which a window")
    local_attention: int = Field(128, gt=0, le=MAX_POSITIONS, description="the window, half of it on either side")
    full_theta: float = Field(160_000.0, gt=0, description="base of rotary positions where layers see everything")
    sliding_theta: float = Field(10_000.0, gt=0, description="base of rotary positions where layers see a window")
    decoder_bias: bool = Field(True, description="whether the masked head's logits have a bias")
    classifier_bias: bool = Field(False, description="whether the first map of a head has a bias")
    classifier_activation: HiddenAct = Field("gelu", description="the function after the first map of a head")
    classifier_pooling: Literal["cls", "mean"] = Field("cls", description="what stands for a text that is classified")

    @model_validator(mode="after")
    def _layers_told(self) -> Self:
        if len(self.layer_types) != self.num_hidden_layers:
            raise ValueError(f"layer_types tells of {len(self.layer_types)} of {self.num_hidden_layers} layers")
        return self

    @classmethod
    def fields_from(cls, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        fields = super().fields_from(given, where)
        types, every = given.get("layer_types"), given.get("global_attn_every_n_layers") or 3
        layers = given.get("num_hidden_layers")
        if types is None and isinstance(layers, int) and isinstance(every, int) and 0 < layers < 1 << 20:
            types = ["sliding_attention" if i % every else "full_attention" for i in range(layers)]
        if types is not None and not isinstance(types, list):
            raise refuse(where, f"layer_types={types!r} is no list", "Say what each layer is.")
        thetas = [_theta(given, where, kind) for kind in _THETA]
        return fields | {
            "layer_types": tuple(types or ()), "full_theta": thetas[0],
            "sliding_theta": thetas[0] if thetas[1] is None else thetas[1],
        }  # fmt: skip

    @classmethod
    def handled(cls) -> set[str]:
        keys = {key for key, _ in _THETA.values()}
        return super().handled() | keys | {"layer_types", "global_attn_every_n_layers", "rope_parameters"}

    def keys_to(self) -> dict[str, Any]:
        thetas = (self.full_theta, self.sliding_theta)
        spelt = dict(zip(_THETA.items(), thetas, strict=True))
        # transformers 5 reads the first, 4 the others.
        parameters = {kind: {"rope_type": "default", "rope_theta": theta} for (kind, _), theta in spelt.items()}
        return super().keys_to() | {
            "rope_parameters": parameters,
            **{key: theta for (_, (key, _)), theta in spelt.items()},
            "global_attn_every_n_layers": self._every(),
        }

    def _every(self) -> int | None:
        """How transformers 4 says `layer_types`, None where it can't."""
        for every in range(1, self.num_hidden_layers + 1):
            if all((kind == "full_attention") == (i % every == 0) for i, kind in enumerate(self.layer_types)):
                return every
        return None

    @classmethod
    def unwritten(cls) -> set[str]:
        return super().unwritten() | {"full_theta", "sliding_theta"}


def _theta(given: Mapping[str, Any], where: str, kind: str) -> Any:
    """The base of one kind of layer; None where the older key says that it is the other kind's."""
    key, default = _THETA[kind]
    told = {} if given.get("rope_parameters") is None else given["rope_parameters"]
    if not isinstance(told, Mapping) or told.keys() - _THETA.keys():
        raise refuse(where, f"rope_parameters={told!r}", f"ModernBERT says them of {' and of '.join(_THETA)}.")
    found = told.get(kind)
    if found is not None:
        theta, scaling, _ = read_rope({"rope_parameters": found}, where, theta=default)
        if scaling is not None:
            raise refuse(where, f"rope_parameters of {kind} are stretched", "Only the default kind is supported here.")
        return theta
    if given.get(key, default) is None and kind == "full_attention":
        raise refuse(where, f"{key} is null", "Say the base of rotary positions.")
    return given.get(key, default)
