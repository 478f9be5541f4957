"""What the configurations of encoders share: their shape, and which head stands on them. No torch here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bedplate.families.activations import HiddenAct
from bedplate.families.family_config import FamilyConfig, refuse

Head = Literal["masked", "classes", "token-classes"]
"""What an encoder predicts beside hidden states: masked tokens, the class of a text, the class of each token."""

Problem = Literal["single_label_classification", "multi_label_classification", "regression"]

_READ: Mapping[str, Head] = {
    "ForMaskedLM": "masked",
    "ForPreTraining": "masked",  # with a second head, for pairs of sentences, which nothing here asks for
    "ForSequenceClassification": "classes",
    "ForTokenClassification": "token-classes",
}
_WRITTEN: Mapping[Head | None, str] = {
    None: "Model",
    "masked": "ForMaskedLM",
    "classes": "ForSequenceClassification",
    "token-classes": "ForTokenClassification",
}


class EncoderConfig(FamilyConfig):
    """An encoder of any family. Its `hf.architecture` is the stem of its classes' names; which class, and so which head
    a folder has, is what `architectures` says."""

    causal: ClassVar[bool] = False
    architectures: ClassVar[Mapping[str, str]] = {}
    """Stems of the classes of other model types that a family reads."""

    head: Head | None = Field(None, description="masked, classes or token-classes; hidden states alone if absent")
    labels: tuple[str, ...] = Field((), description="names of the classes, where the head has such")
    problem_type: Problem | None = Field(None, description="what the logits of a head for classes mean")
    intermediate_size: int = Field(gt=0, description="inner width of the feed-forward")
    num_attention_heads: int = Field(gt=0, description="heads, each hidden_size / num_attention_heads wide")
    hidden_act: HiddenAct = Field("gelu", description="the function between the feed-forward's two maps")
    layer_norm_eps: float = Field(1e-12, gt=0, description="added to the variance in every norm")
    tie_word_embeddings: bool = Field(True, description="whether the masked head's matrix is the embedding's")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.head in ("classes", "token-classes") and not self.labels:
            raise ValueError("a head for classes, and no labels")
        return self

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def positions(self) -> int:
        """The longest text that it can read, in tokens."""
        return self.max_position_embeddings

    def headless(self) -> Self:
        """The same encoder without its head."""
        return self.model_copy(update={"head": None, "labels": (), "problem_type": None})

    @classmethod
    def fields_from(cls, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        said = given.get("architectures") or [""]
        if not isinstance(said, list) or not all(isinstance(name, str) for name in said):
            raise refuse(where, f"architectures={said!r} is no list of names", "Name the class that it is a model of.")
        name = said[0]
        head = next((head for ending, head in _READ.items() if name.endswith(ending)), None)
        labels = _labels(given, where) if head in ("classes", "token-classes") else ()
        return {"head": head, "labels": labels, "problem_type": given.get("problem_type") if labels else None}

    @classmethod
    def handled(cls) -> set[str]:
        return {"architectures", "id2label", "label2id", "num_labels"}

    def keys_to(self) -> dict[str, Any]:
        stem = self.architectures.get(self.model_type, self.hf.architecture)
        written: dict[str, Any] = {"architectures": [stem + _WRITTEN[self.head]]}
        if self.labels:
            written["id2label"] = {str(i): label for i, label in enumerate(self.labels)}
            written["label2id"] = {label: i for i, label in enumerate(self.labels)}
        return written

    @classmethod
    def unwritten(cls) -> set[str]:
        return {"head", "labels"}


def _labels(given: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The names of the classes; LABEL_0, LABEL_1, ... as transformers calls them where the file doesn't."""
    named, count = given.get("id2label"), given.get("num_labels")
    if named is None:
        return tuple(f"LABEL_{i}" for i in range(count if isinstance(count, int) and 0 < count < 1 << 20 else 2))
    try:
        labels = tuple(str({int(i): label for i, label in named.items()}[i]) for i in range(len(named)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise refuse(
            where, f"id2label={named!r} doesn't name the classes 0, 1, 2, ...", "Name each, from 0 on."
        ) from error
    if len(set(labels)) < len(labels):
        label, _ = Counter(labels).most_common(1)[0]
        raise refuse(where, f"id2label names two classes {label!r}", "Give each class a name of its own.")
    return labels
