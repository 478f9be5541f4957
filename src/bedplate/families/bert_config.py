"""The configuration of the BERT family: encoders with learned positions whose norms come after the addition."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from bedplate.families.encoder_config import EncoderConfig
from bedplate.families.family_config import MAX_POSITIONS, HuggingFace, TokenId


class BertShape(EncoderConfig):
    """What BERT has and its descendants RoBERTa and ALBERT have kept."""

    max_position_embeddings: int = Field(512, gt=0, le=MAX_POSITIONS, description="longest sequence: rows of positions")
    type_vocab_size: int = Field(2, gt=0, description="kinds of token: the first text of a pair, the second")
    hidden_dropout_prob: float = Field(
        0.1, ge=0, le=1, description="kept for libraries that train with dropout; this one doesn't"
    )
    attention_probs_dropout_prob: float = Field(0.1, ge=0, le=1, description="likewise, of attention")

    @property
    def position_offset(self) -> int:
        """The row of the first position."""
        return 0


class BertConfig(BertShape):
    """A BERT-family model; keys as in Hugging Face's config.json."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="Bert",
        defaults={"pad_token_id": 0},
        only={
            "position_embedding_type": ("absolute",), "is_decoder": (False,), "add_cross_attention": (False,),
            "is_encoder_decoder": (False,), "pruned_heads": ({},), "embedding_size": (),
        },
        harmless=frozenset({
            "directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers",
            "pooler_size_per_head", "pooler_type", "layer_norm_epsilon",
        }),
        written={"position_embedding_type": "absolute"},
    )  # fmt: skip

    model_type: Literal["bert"] = Field("bert", description="the Hugging Face name it is saved under")
    pad_token_id: TokenId | None = Field(0, description="fills batches")
