"""The configuration of ESM-1b and ESM-2, encoders of proteins."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bedplate.families.encoder_config import EncoderConfig
from bedplate.families.family_config import MAX_POSITIONS, HuggingFace, TokenId


class EsmConfig(EncoderConfig):
    """An ESM: norms before sublayers and at the end, rotary positions (ESM-2) or learned ones (ESM-1b)."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="Esm",
        defaults={"position_embedding_type": "absolute", "hidden_act": "gelu"},
        only={
            "hidden_act": ("gelu",), "is_decoder": (False,), "add_cross_attention": (False,),
            "is_folding_model": (False,), "esmfold_config": (),
        },
        harmless=frozenset({"vocab_list"}),
    )  # fmt: skip

    model_type: Literal["esm"] = Field("esm", description="the Hugging Face name it is saved under")
    max_position_embeddings: int = Field(
        1026, gt=0, le=MAX_POSITIONS, description="longest sequence, padding's row too"
    )
    position_embedding_type: Literal["absolute", "rotary"] = Field(description="learned rows of positions, or rotary")
    rope_theta: float = Field(10_000.0, gt=0, description="base of rotary positions")
    emb_layer_norm_before: bool = Field(False, description="whether embeddings are normed")
    token_dropout: bool = Field(False, description="whether masked tokens are inputs that were dropped")
    mask_token_id: TokenId | None = Field(None, description="the token that stands for a masked one")

    @model_validator(mode="after")
    def _tokens_told(self) -> Self:
        if self.token_dropout and self.mask_token_id is None:
            raise ValueError("token_dropout, and no mask_token_id")
        if self.mask_token_id is not None and self.mask_token_id >= self.vocab_size:
            raise ValueError(
                f"mask_token_id {self.mask_token_id} is beyond the {self.vocab_size} rows of the embedding"
            )
        if self.position_embedding_type == "absolute" and self.pad_token_id is None:
            raise ValueError("pad_token_id: positions are counted from it, and there is none")
        if self.positions <= 0:
            raise ValueError(
                f"{self.max_position_embeddings} rows of positions, the first {self.position_offset} unused"
            )
        if self.position_embedding_type == "rotary" and self.head_size % 2:
            raise ValueError(f"heads of {self.head_size} numbers, of which rotary positions turn pairs")
        return self

    @property
    def position_offset(self) -> int:
        """The row of the first position."""
        return (self.pad_token_id or 0) + 1 if self.position_embedding_type == "absolute" else 0

    @property
    def positions(self) -> int:
        return self.max_position_embeddings - self.position_offset
