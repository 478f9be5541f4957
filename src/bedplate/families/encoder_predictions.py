"""What an encoder's head says of texts: likely tokens for masks, the class of a text, the class of each token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bedplate.errors import InputError

if TYPE_CHECKING:
    from bedplate.families.encoder_config import Head
    from bedplate.families.encoder_model import EncoderModel

_ASKED = {"masked": "masked tokens", "classes": "the classes of texts", "token-classes": "the classes of tokens"}


@dataclass(frozen=True)
class Guess:
    """A token that may stand for a mask, and how probable the model finds it."""

    token: int
    text: str
    probability: float


@dataclass(frozen=True)
class TokenClass:
    """A token of a text, its most probable class and how probable that is."""

    token: int
    text: str
    label: str
    probability: float


@torch.inference_mode()
def fill_mask(model: EncoderModel, texts: Sequence[str], top: int) -> list[list[tuple[Guess, ...]]]:
    """For each text and each mask in it the `top` most probable tokens, the likeliest first.

    Special tokens in the texts are parsed. Raises InputError for a model without a head for masked tokens or a
    tokenizer that names no mask, and for a text without a mask, or whose masks lie beyond what the model reads.
    """
    check_head(model, "masked")
    mask = _mask_token(model)
    found = []
    for index, row in enumerate(model.encode_batch(texts, specials=True)):
        tokens = torch.tensor([row], device=model.device)
        places = tokens[0] == mask
        if not bool(places.any()):
            raise InputError(
                f"text {index + 1} of {len(texts)} has no mask among the {model.max_length} tokens that are read",
                f"Write {model.tokenizer.backend.id_to_token(mask)} where a token is to be guessed.",
            )
        states = model.net.head_states(model.hidden(tokens)[0, places])
        best = model.net.readout.logits(states).softmax(-1).topk(min(top, model.config.vocab_size))
        found.append([
            tuple(Guess(token, _text(model, token), p) for token, p in zip(ids, chances, strict=True))
            for ids, chances in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ])  # fmt: skip
    return found


@torch.inference_mode()
def classify(model: EncoderModel, texts: Sequence[str]) -> list[dict[str, float]]:
    """For each text what the model says of each class: a probability, all of them 1 together (each by itself where a
    text may be of several classes), or of a regression the number itself.

    Raises InputError for a model without a head for the classes of texts.
    """
    check_head(model, "classes")
    said = []
    for row in model.encode_batch(texts):
        logits = model.class_logits(torch.tensor([row], device=model.device))[0]
        said.append(dict(zip(model.config.labels, _meant(logits, model.config.problem_type).tolist(), strict=True)))
    return said


def _meant(logits: Tensor, problem: str | None) -> Tensor:
    """What logits [K] of a head for classes mean: numbers, or probabilities."""
    if problem == "regression":
        return logits
    return logits.sigmoid() if problem == "multi_label_classification" else logits.softmax(-1)


@torch.inference_mode()
def classify_tokens(model: EncoderModel, texts: Sequence[str]) -> list[list[TokenClass]]:
    """For each text its tokens, special ones left out, with their most probable classes.

    Raises InputError for a model without a head for the classes of tokens.
    """
    check_head(model, "token-classes")
    said = []
    for row in model.encode_batch(texts):
        chances, numbers = model.class_logits(torch.tensor([row], device=model.device))[0].softmax(-1).max(-1)
        said.append([
            TokenClass(token, _text(model, token), model.config.labels[number], chance)
            for token, number, chance in zip(row, numbers.tolist(), chances.tolist(), strict=True)
            if not model.tokenizer.is_special(token)
        ])  # fmt: skip
    return said


def check_head(model: EncoderModel, head: Head) -> None:
    """Raise InputError unless the model has this head."""
    if model.config.head != head:
        has = f"its head predicts {_ASKED[model.config.head]}" if model.config.head else "it has no head"
        raise InputError(
            f"the encoder can't predict {_ASKED[head]}: {has}",
            "Give one whose config.json names such a class in `architectures`, such as ...ForMaskedLM, "
            "...ForSequenceClassification or ...ForTokenClassification, with its weights.",
        )


def _mask_token(model: EncoderModel) -> int:
    name = model.tokenizer.named_tokens.get("mask_token")
    token = None if name is None else model.tokenizer.backend.token_to_id(name)
    if token is None:
        raise InputError(
            "the tokenizer names no mask token", "Say mask_token in tokenizer_config.json, as the model was trained."
        )
    return int(token)


def _text(model: EncoderModel, token: int) -> str:
    return str(model.tokenizer.backend.id_to_token(token) or "")
