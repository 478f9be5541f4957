"""The configuration of BART."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bedplate.families.activations import HiddenAct
from bedplate.families.family_config import HuggingFace, TokenId
from bedplate.families.seq2seq_config import Seq2SeqConfig


class BartConfig(Seq2SeqConfig):
    """A BART: learned positions, LayerNorm after each sublayer and on the embeddings, biases everywhere, a tied head
    with a constant beside it.

    `forced_eos_token_id` is read and not kept: transformers writes it where a text reaches its greatest length, which
    is no part of the model; here such a text ends where it is cut.
    """

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="BartForConditionalGeneration",
        renamed={
            "hidden_size": "d_model", "num_hidden_layers": "encoder_layers", "num_decoder_layers": "decoder_layers",
            "hidden_act": "activation_function",
        },
        defaults={
            "vocab_size": 50265, "max_position_embeddings": 1024, "encoder_layers": 12, "decoder_layers": 12,
            "d_model": 1024, "encoder_attention_heads": 16, "decoder_attention_heads": 16, "encoder_ffn_dim": 4096,
            "decoder_ffn_dim": 4096, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
            "decoder_start_token_id": 2,
        },
        only={
            "is_decoder": (False,), "is_encoder_decoder": (True,), "tie_word_embeddings": (True,),
            "normalize_before": (False,), "add_final_layer_norm": (False,), "normalize_embedding": (True,),
            "static_position_embeddings": (False,), "add_bias_logits": (False,),
            "do_blenderbot_90_layernorm": (False,), "extra_pos_embeddings": (2,),
        },
        harmless=frozenset({
            "dropout", "activation_dropout", "classif_dropout", "classifier_dropout", "encoder_layerdrop",
            "decoder_layerdrop", "init_std", "num_hidden_layers", "num_beams", "early_stopping", "length_penalty",
            "max_length", "min_length", "no_repeat_ngram_size", "prefix", "forced_eos_token_id",
            "force_bos_token_to_be_generated",
        }),
        written={"is_encoder_decoder": True, "tie_word_embeddings": True},
    )  # fmt: skip

    model_type: Literal["bart"] = Field("bart", description="the Hugging Face name it is saved under")
    max_position_embeddings: int = Field(1024, gt=0, description="longest sequence: rows of positions less two")
    encoder_attention_heads: int = Field(gt=0, description="heads of the encoder, each an equal part of hidden_size")
    decoder_attention_heads: int = Field(gt=0, description="heads of the decoder, each an equal part of hidden_size")
    encoder_ffn_dim: int = Field(gt=0, description="inner width of the encoder's feed-forward")
    decoder_ffn_dim: int = Field(gt=0, description="inner width of the decoder's feed-forward")
    hidden_act: HiddenAct = Field("gelu", description="the function between the feed-forward's two maps")
    scale_embedding: bool = Field(False, description="whether token vectors are multiplied by sqrt(hidden_size)")
    forced_bos_token_id: TokenId | None = Field(None, description="what every written text begins with, if any")

    @property
    def longest(self) -> int | None:
        return self.max_position_embeddings

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        for name in ("encoder_attention_heads", "decoder_attention_heads"):
            if self.hidden_size % getattr(self, name):
                raise ValueError(f"hidden_size {self.hidden_size} is no multiple of {name} {getattr(self, name)}")
        if self.forced_bos_token_id is not None and self.forced_bos_token_id >= self.vocab_size:
            raise ValueError(f"forced_bos_token_id {self.forced_bos_token_id} is beyond {self.vocab_size} tokens")
        return self
