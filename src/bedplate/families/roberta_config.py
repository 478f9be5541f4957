"""The configuration of RoBERTa and its namesakes in other languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bedplate.families.bert_config import BertShape
from bedplate.families.family_config import HuggingFace


class RobertaConfig(BertShape):
    """A RoBERTa, XLM-RoBERTa or CamemBERT: BERT whose rows of positions begin after the padding token's number."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="Roberta",
        defaults={"pad_token_id": 1},
        only={
            "position_embedding_type": ("absolute",), "is_decoder": (False,), "add_cross_attention": (False,),
            "is_encoder_decoder": (False,), "pruned_heads": ({},),
        },
        written={"position_embedding_type": "absolute"},
    )  # fmt: skip
    architectures: ClassVar[Mapping[str, str]] = {"xlm-roberta": "XLMRoberta", "camembert": "Camembert"}

    model_type: Literal["roberta", "xlm-roberta", "camembert"] = Field(
        "roberta", description="the Hugging Face name it is saved under"
    )

    @model_validator(mode="after")
    def _positions_left(self) -> Self:
        if self.pad_token_id is None:
            raise ValueError("pad_token_id: positions are counted from it, and there is none")
        if self.positions <= 0:
            raise ValueError(
                f"{self.max_position_embeddings} rows of positions, the first {self.position_offset} unused"
            )
        return self

    @property
    def position_offset(self) -> int:
        return (self.pad_token_id or 0) + 1

    @property
    def positions(self) -> int:
        return self.max_position_embeddings - self.position_offset
