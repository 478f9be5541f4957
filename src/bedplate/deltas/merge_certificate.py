"""Certificates of merges: the merged model, read back, against its base with the adapter beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bedplate.deltas.lora import LoraDelta
from bedplate.deltas.subset import SubsetDelta
from bedplate.families import certificate as writers
from bedplate.families import encoder_certificate as encoders
from bedplate.families.certificate import same_cuts
from bedplate.families.encoder_model import EncoderModel
from bedplate.families.model import Model
from bedplate.families.opening import load_any
from bedplate.families.rounding import TensorError, compare_tensors
from bedplate.families.seq2seq_model import Seq2SeqModel

MERGED = writers.Limits(1e-4, 1e-6)
"""A merge stored in float32: only the order of sums differs. Narrower types as imports and exports have them."""

SHARE_OF_LOGIT = 1e-5
"""A model with logits of 40 answers in fp32 with errors of 1e-4 itself, against fp64: greatest logit error allowed as
a share of the greatest logit, where that is more."""


@dataclass(frozen=True)
class MergeCertificate:
    """How far the merged model is from base and adapter. change: what the adapter does to the base's answers;
    change_lost: what storing the merged weights does to them. Both are mean KL in nats, or mean cosine distance of an
    encoder's vectors."""

    certificate: writers.Certificate | encoders.EncoderCertificate
    change: float
    change_lost: float

    def facts(self) -> dict[str, Any]:
        """JSON-able; goes into the manifest's measures."""
        return self.certificate.facts() | {"change_by_adapter": self.change, "change_by_storing": self.change_lost}

    def save(self, folder: Path) -> None:
        """Write `certificate.json`."""
        (folder / "certificate.json").write_text(json.dumps(self.facts(), indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Before:
    """What base and adapter answer together, and the base alone, in fp32."""

    together: writers.Answers | encoders.Answers
    alone: writers.Answers | encoders.Answers

    @classmethod
    def of(cls, model: Model | Seq2SeqModel | EncoderModel, delta: LoraDelta | SubsetDelta, what: str) -> Before:
        """Ask them. Turns the weights to fp32 on the way. Raises WeightsError if the answers aren't finite."""
        together = _answer(model)
        together.check(what)
        with delta.disabled():
            return cls(together, _answer(model))


def _answer(model: Model | Seq2SeqModel | EncoderModel) -> writers.Answers | encoders.Answers:
    return encoders.answer(model) if isinstance(model, EncoderModel) else writers.answer(model)


def certify_merge(
    before: Before, merged: Model | Seq2SeqModel | EncoderModel, folder: Path, *, stored: str, what: str
) -> MergeCertificate:
    """Compare what `folder` holds with the merged model tensor by tensor, and its answers with those before.

    Raises WeightsError, naming `what`, beyond the limits. `merged` has lost its weights afterwards.
    """
    own = {name: parameter.dtype for name, parameter in merged.net.named_parameters()}
    result = load_any(folder, device="cpu")
    worst = compare_tensors(merged, result, own, stored=stored, what=what)
    after = _answer(result)
    same_tokens = isinstance(merged, EncoderModel) or isinstance(result, EncoderModel) or same_cuts(merged, result)
    found = _compare(before.together, after, worst, stored, same_tokens)
    found.check(what)
    return MergeCertificate(found, _distance(before.alone, before.together), _distance(before.together, after))


def _compare(
    before: writers.Answers | encoders.Answers,
    after: writers.Answers | encoders.Answers,
    worst: TensorError,
    stored: str,
    same_tokens: bool,
) -> writers.Certificate | encoders.EncoderCertificate:
    if isinstance(before, writers.Answers):
        assert isinstance(after, writers.Answers)
        limits = _merged_limits(before) if stored == "float32" else writers.LIMITS[stored]
        return writers.compare(before, after, stored=stored, limits=limits, same_tokens=same_tokens, worst=worst)
    assert isinstance(after, encoders.Answers)
    cosine = torch.cosine_similarity(before.vectors.double(), after.vectors.double(), dim=-1)
    return encoders.EncoderCertificate(
        prompts=len(before.tokens),
        positions=sum(map(len, before.tokens)),
        greatest_hidden_error=max((a - b).abs().max().item() for a, b in zip(before.hidden, after.hidden, strict=True)),
        greatest_cosine_distance=max(0.0, (1 - cosine).max().item()),
        same_tokens=before.tokens == after.tokens,
        stored=stored,
        limits=encoders.EXACT if stored == "float32" else encoders.LIMITS[stored],
        greatest_tensor_error=worst.relative,
        worst_tensor=worst.name,
    )


def _merged_limits(before: writers.Answers) -> writers.Limits:
    greatest = max(logits.abs().max().item() for logits in before.logits)
    return replace(MERGED, logit_error=max(MERGED.logit_error, SHARE_OF_LOGIT * greatest))


def _distance(a: writers.Answers | encoders.Answers, b: writers.Answers | encoders.Answers) -> float:
    if isinstance(a, encoders.Answers) or isinstance(b, encoders.Answers):
        assert isinstance(a, encoders.Answers)
        assert isinstance(b, encoders.Answers)
        cosine = torch.cosine_similarity(a.vectors.double(), b.vectors.double(), dim=-1)
        return max(0.0, (1 - cosine).mean().item())
    return writers.compare(b, a, stored="", limits=writers.EXACT).mean_kl
