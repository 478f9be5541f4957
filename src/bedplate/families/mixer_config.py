"""The configuration of the mixer family: decoders that mix by attention, LSTM or gated linear attention."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bedplate.families.family_config import FamilyConfig, HuggingFace

Mixer = Literal["attention", "gated_linear", "lstm"]


class MixerConfig(FamilyConfig):
    """A decoder of this project alone: Llama's blocks with another mixer where `mixers` says so. No class of
    transformers reads it."""

    hf: ClassVar[HuggingFace] = HuggingFace(architecture="BedplateMixerForCausalLM")

    model_type: Literal["bedplate-mixer"] = Field("bedplate-mixer", description="the name it is saved under")
    mixers: tuple[Mixer, ...] = Field(description="each layer's mixer: attention, gated_linear or lstm")
    intermediate_size: int = Field(gt=0, description="inner width of the feed-forward")
    num_attention_heads: int = Field(gt=0, description="heads of attention and gated linear layers")
    lstm_size: int | None = Field(None, gt=0, description="cells of an LSTM layer; hidden_size if absent")
    rms_norm_eps: float = Field(1e-6, gt=0, description="added to the mean square in every norm")
    rope_theta: float = Field(10000.0, gt=1, le=1e30, description="base of the rotary frequencies of attention")
    tie_word_embeddings: bool = Field(True, description="whether the head is the embedding itself")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.mixers) != self.num_hidden_layers:
            raise ValueError(f"mixers names {len(self.mixers)} layers of {self.num_hidden_layers}")
        if self.hidden_size % (2 * self.num_attention_heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} doesn't divide into {self.num_attention_heads} heads of an even size"
            )
        return self
