"""Certificates of encoders: every tensor compared with its source, and the same texts embedded by both.

As `families/certificate.py` for models that write; here what is compared is hidden states and vectors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bedplate.errors import WeightsError
from bedplate.families import rounding
from bedplate.families.certificate import PROMPTS
from bedplate.families.encoder_model import EncoderModel
from bedplate.families.rounding import TensorError, compare_tensor, compare_tensors, rounding_of


@dataclass(frozen=True)
class Limits:
    """How far a result may be from its source: greatest absolute difference of a hidden state, and of the vectors of
    one text 1 - cosine. Hidden states have been normed, so their numbers are about 1."""

    hidden_error: float
    cosine_distance: float


EXACT = Limits(1e-4, 1e-6)
LIMITS: Mapping[str, Limits] = {"float32": EXACT, "float16": Limits(0.1, 1e-4), "bfloat16": Limits(2.0, 2e-2)}
"""By what the weights are stored in, where that can't hold the source exactly. Wide: they are for what isn't in a
tensor. A wrong tensor is found by comparing tensors."""


@dataclass(frozen=True)
class Answers:
    """What an encoder makes of the prompts, in fp32: its tokens, hidden states [T, D] of each, vectors [prompts, D]."""

    tokens: tuple[tuple[int, ...], ...]
    hidden: tuple[Tensor, ...]
    vectors: Tensor

    def check(self, what: str) -> None:
        """Raise WeightsError if the source itself answers with what are no numbers: nothing can be compared with it."""
        if not all(bool(hidden.isfinite().all()) for hidden in self.hidden):
            raise WeightsError(
                f"{what}: the source's own hidden states aren't finite numbers, so its weights are damaged",
                "Take an undamaged copy.",
            )


@dataclass(frozen=True)
class EncoderCertificate:
    """What was found over `positions` tokens of `prompts` texts. greatest_cosine_distance: 1 - cosine of a text's two
    vectors. greatest_tensor_error: norm of the error over norm of the source, of `worst_tensor`."""

    prompts: int
    positions: int
    greatest_hidden_error: float
    greatest_cosine_distance: float
    same_tokens: bool
    stored: str
    limits: Limits
    greatest_tensor_error: float
    worst_tensor: str

    def facts(self) -> dict[str, Any]:
        """JSON-able; goes into the manifest's measures."""
        return asdict(self)

    def save(self, folder: Path) -> None:
        """Write `certificate.json`."""
        (folder / "certificate.json").write_text(json.dumps(self.facts(), indent=2) + "\n", encoding="utf-8")

    def check(self, what: str) -> None:
        """Raise WeightsError if the result is further from its source than the limits allow."""
        if not self.same_tokens:
            raise WeightsError(
                f"{what}: the tokenizer that was written cuts the fixed prompts differently from its source",
                "Please report it.",
            )
        hidden_ok = self.greatest_hidden_error <= self.limits.hidden_error
        if not (hidden_ok and self.greatest_cosine_distance <= self.limits.cosine_distance):  # NaN lands here too
            raise WeightsError(
                f"{what}: stored as {self.stored} it doesn't embed as its source does: greatest error of a hidden "
                f"state {self.greatest_hidden_error:.3g} (limit {self.limits.hidden_error:g}), greatest cosine "
                f"distance {self.greatest_cosine_distance:.3g} (limit {self.limits.cosine_distance:g})",
                "Please report it: this type holds the source exactly."
                if self.limits == EXACT
                else "Store it in a wider type: dtype=float32.",
            )


@torch.inference_mode()
def answer(model: EncoderModel) -> Answers:
    """What the encoder makes of the fixed prompts, each by itself. Turns its weights to fp32 on the way."""
    model.net.float()
    ids = model.encode_batch(PROMPTS) if model.has_tokenizer else _stand_ins(model)
    hidden = tuple(model.hidden(torch.tensor([row], device=model.device))[0].cpu() for row in ids)
    vectors = torch.cat([model.pooled(states[None]) for states in hidden])
    return Answers(tuple(map(tuple, ids)), hidden, vectors)


def _stand_ins(model: EncoderModel) -> list[list[int]]:
    """Tokens for the prompts where there is no tokenizer: their bytes, wrapped around the vocabulary."""
    return [[byte % model.config.vocab_size for byte in text.encode()][: model.max_length] for text in PROMPTS if text]


def certify_encoder(
    source: EncoderModel, reload: Callable[[], EncoderModel], *, stored: str, what: str
) -> EncoderCertificate:
    """Compare an encoder with what `reload` reads back of it. Raises WeightsError, naming `what`, beyond the limits.

    The source has lost its weights afterwards.
    """
    own = {name: parameter.dtype for name, parameter in source.net.named_parameters()}
    before = answer(source)
    before.check(what)
    for name, parameter in source.net.named_parameters():
        parameter.data = parameter.data.to(own[name])  # loses nothing: it came from there
    result = reload()
    worst = _compare_tensors(source, result, own, stored=stored, what=what)
    after = answer(result)
    same_tokens = before.tokens == after.tokens
    errors = [
        (a - b).abs().max().item() if a.shape == b.shape else float("nan")
        for a, b in zip(before.hidden, after.hidden, strict=True)
    ]
    exact = all(rounding_of(dtype, stored) == rounding.EXACT for dtype in own.values())
    cosine = torch.cosine_similarity(before.vectors.double(), after.vectors.double(), dim=-1)
    certificate = EncoderCertificate(
        prompts=len(PROMPTS),
        positions=sum(map(len, before.tokens)),
        greatest_hidden_error=max(errors),
        greatest_cosine_distance=max(0.0, (1 - cosine).max().item()),
        same_tokens=same_tokens,
        stored=stored,
        limits=EXACT if exact else LIMITS[stored],
        greatest_tensor_error=worst.relative,
        worst_tensor=worst.name,
    )
    certificate.check(what)
    return certificate


def _compare_tensors(
    source: EncoderModel, result: EncoderModel, own: Mapping[str, torch.dtype], *, stored: str, what: str
) -> TensorError:
    """Every tensor, the carried ones too; the one that is furthest off."""
    if source.carried.keys() != result.carried.keys():
        odd = ", ".join(sorted(source.carried.keys() ^ result.carried.keys()))
        raise WeightsError(f"{what}: the result hasn't the tensors of its source: {odd}", "Please report it.")
    worst = compare_tensors(source, result, own, stored=stored, what=what)
    for name, a in source.carried.items():
        relative = compare_tensor(name, a, result.carried[name], a.dtype, stored=stored, what=what)
        if relative > worst.relative:
            worst = TensorError(name, relative)
    return worst
