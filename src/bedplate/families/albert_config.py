"""The configuration of ALBERT."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bedplate.families.activations import HiddenAct
from bedplate.families.bert_config import BertShape
from bedplate.families.family_config import MAX_LAYERS, HuggingFace, check_addressable


class AlbertConfig(BertShape):
    """An ALBERT model: num_hidden_layers steps through num_hidden_groups groups of inner_group_num blocks."""

    hf: ClassVar[HuggingFace] = HuggingFace(
        architecture="Albert",
        defaults={"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3},
        only={"position_embedding_type": ("absolute",), "is_decoder": (False,), "pruned_heads": ({},)},
        harmless=frozenset({"down_scale_factor", "gap_size", "net_structure_type", "num_memory_blocks"}),
        written={"position_embedding_type": "absolute"},
    )

    model_type: Literal["albert"] = Field("albert", description="the Hugging Face name it is saved under")
    embedding_size: int = Field(128, gt=0, description="width of the embedding, which a map makes hidden_size")
    num_hidden_groups: int = Field(
        1, gt=0, le=MAX_LAYERS, description="groups of blocks that have numbers of their own"
    )
    inner_group_num: int = Field(1, gt=0, le=MAX_LAYERS, description="blocks of a group, run in turn at each step")
    hidden_act: HiddenAct = Field("gelu_new", description="the function between the feed-forward's two maps")

    @model_validator(mode="after")
    def _countable(self) -> Self:
        if self.num_hidden_groups * self.inner_group_num > MAX_LAYERS:
            raise ValueError(
                f"{self.num_hidden_groups} groups of {self.inner_group_num} blocks: more than {MAX_LAYERS}"
            )
        if self.num_hidden_layers * self.inner_group_num > MAX_LAYERS:
            raise ValueError(f"{self.num_hidden_layers} steps of {self.inner_group_num} blocks: more than {MAX_LAYERS}")
        rows = max(self.vocab_size, self.max_position_embeddings, self.type_vocab_size, self.hidden_size)
        check_addressable(rows, self.embedding_size, f"embedding_size {self.embedding_size}")
        return self

    @property
    def parts(self) -> int:
        return self.num_hidden_groups * self.inner_group_num
