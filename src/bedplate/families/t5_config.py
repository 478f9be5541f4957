"""The configuration of T5, T5 1.1, Flan-T5 and ByT5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bedplate.families.activations import HiddenAct
from bedplate.families.family_config import HuggingFace, check_addressable, refuse
from bedplate.families.seq2seq_config import Seq2SeqConfig

Projection = Literal["relu", "gelu", "gelu_new", "silu", "gated-relu", "gated-gelu", "gated-gelu_new", "gated-silu"]


class T5Config(Seq2SeqConfig):
    """A T5: relative positions in buckets, unscaled attention, no biases, and a head that is the embedding with its
    input scaled by 1 / sqrt(hidden_size) (T5), or one of its own, unscaled (T5 1.1, Flan-T5, ByT5)."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="T5ForConditionalGeneration",
        renamed={
            "hidden_size": "d_model", "num_hidden_layers": "num_layers", "num_attention_heads": "num_heads",
            "head_dim": "d_kv", "intermediate_size": "d_ff", "max_position_embeddings": "n_positions",
            "layer_norm_eps": "layer_norm_epsilon",
        },
        defaults={
            "vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8,
            "pad_token_id": 0, "eos_token_id": 1,
        },
        only={"is_decoder": (False,), "is_encoder_decoder": (True,)},
        harmless=frozenset({"dropout_rate", "initializer_factor"}),
        written={"is_encoder_decoder": True},
    )  # fmt: skip

    model_type: Literal["t5"] = Field("t5", description="the Hugging Face name it is saved under")
    max_position_embeddings: int = Field(512, gt=0, description="length that it was trained at; it reads beyond")
    num_attention_heads: int = Field(gt=0, description="heads of every attention")
    head_dim: int = Field(gt=0, description="size of a head, whatever hidden_size is")
    intermediate_size: int = Field(gt=0, description="inner width of the feed-forward")
    feed_forward_proj: Projection = Field(
        "relu", description="the feed-forward's function; gated: of two maps' product"
    )
    relative_attention_num_buckets: int = Field(32, ge=4, description="buckets that distances fall into")
    relative_attention_max_distance: int = Field(128, gt=0, description="from here on all distances are one")
    layer_norm_eps: float = Field(1e-6, gt=0, description="added to the mean square in every norm")
    tie_word_embeddings: bool = Field(True, description="whether the head is the embedding, its input scaled")

    @property
    def gated(self) -> bool:
        return self.feed_forward_proj.startswith("gated-")

    @property
    def hidden_act(self) -> HiddenAct:
        """The function by name; "gated-gelu" has always meant the approximation."""
        return _activation(self.feed_forward_proj)

    @model_validator(mode="after")
    def _distances(self) -> Self:
        # Half of the decoder's buckets are for one distance each, and the logarithm of the rest begins there.
        if self.relative_attention_max_distance <= self.relative_attention_num_buckets // 2:
            raise ValueError(
                f"relative_attention_max_distance {self.relative_attention_max_distance} leaves no distances for the "
                f"wider half of {self.relative_attention_num_buckets} buckets"
            )
        heads, buckets = self.num_attention_heads, self.relative_attention_num_buckets
        check_addressable(heads * self.head_dim, self.hidden_size, f"{heads} heads of {self.head_dim}")
        check_addressable(heads, buckets, f"{heads} heads, each of {buckets} buckets")
        return self

    @classmethod
    def fields_from(cls, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        """transformers 5 calls every head tied, and says by `scale_decoder_outputs` alone which kind a model has."""
        projection = given.get("feed_forward_proj", "relu")
        derived = {"dense_act_fn": _activation(projection), "is_gated_act": str(projection).startswith("gated-")}
        for key, value in derived.items():
            if given.get(key) is not None and given[key] != value:
                raise refuse(
                    where,
                    f"{key}={given[key]!r} and feed_forward_proj={projection!r}",
                    "They say two things: keep one.",
                )
        scaled = given.get("scale_decoder_outputs")
        tied = given.get("tie_word_embeddings")
        return {"tie_word_embeddings": tied is not False and scaled is not False}

    @classmethod
    def handled(cls) -> set[str]:
        return {"scale_decoder_outputs", "dense_act_fn", "is_gated_act"}

    def keys_to(self) -> dict[str, Any]:
        # transformers 4 reads the first, 5 the second.
        return {"tie_word_embeddings": self.tie_word_embeddings, "scale_decoder_outputs": self.tie_word_embeddings}


def _activation(projection: Any) -> HiddenAct:
    name: HiddenAct = str(projection).removeprefix("gated-")  # type: ignore[assignment]  # a Literal where it is valid
    return "gelu_new" if projection == "gated-gelu" else name
