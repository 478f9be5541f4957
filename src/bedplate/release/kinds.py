"""What a kind of model is called on a card, and how its folder is opened."""

from __future__ import annotations

from dataclasses import dataclass

from bedplate.families.encoder_model import EncoderModel
from bedplate.families.model import Model
from bedplate.families.seq2seq_model import Seq2SeqModel

Released = Model | EncoderModel | Seq2SeqModel
OWN = "bedplate-"
"""How a model_type begins that no other library knows."""


@dataclass(frozen=True)
class CardKind:
    """noun: what it is; pipeline: the hub's name of what it does; opener: the class of transformers that opens it, None
    where none does; modality: what goes in and what comes out."""

    noun: str
    pipeline: str
    opener: str | None
    modality: str

    @property
    def article(self) -> str:
        return "an" if self.noun[0] in "aeiou" else "a"

    @property
    def usage(self) -> str:
        """Code that opens the folder."""
        if self.opener is None:
            return 'import bedplate\n\nmodel = bedplate.load("path/to/this/folder")\n'
        return (
            f"from transformers import {self.opener}, AutoTokenizer\n\n"
            f'model = {self.opener}.from_pretrained("path/to/this/folder")\n'
            'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")\n'
        )

    @property
    def library(self) -> str:
        """The library that the usage is of."""
        return "bedplate" if self.opener is None else "transformers"


_ENCODERS = {
    None: CardKind("encoder", "feature-extraction", "AutoModel", "text in, vectors out"),
    "masked": CardKind("masked language model", "fill-mask", "AutoModelForMaskedLM", "text in, masked tokens out"),
    "classes": CardKind(
        "text classifier", "text-classification", "AutoModelForSequenceClassification", "text in, a class out"
    ),
    "token-classes": CardKind(
        "token classifier", "token-classification", "AutoModelForTokenClassification", "text in, a class a token out"
    ),
}


def card_kind(model: Released) -> CardKind:
    """What a model is."""
    if isinstance(model, EncoderModel):
        return _ENCODERS[model.config.head]
    if isinstance(model, Seq2SeqModel):
        return CardKind("encoder-decoder", "text2text-generation", "AutoModelForSeq2SeqLM", "text in, another text out")
    own = model.config.model_type.startswith(OWN)
    opener = None if own else "AutoModelForCausalLM"
    return CardKind("causal language model", "text-generation", opener, "text in, text out")
