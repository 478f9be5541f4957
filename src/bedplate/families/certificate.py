"""Certificates: proof that weights written by an import, an export or a quantisation are the ones that were read.

Every tensor is compared with its source, and may differ by what its format rounds off (`families/rounding.py`). Then
both models answer the same fixed prompts on our own core, computed in fp32, so that configuration and tokenizer are
compared too. Above a limit there is no artefact.
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
from bedplate.families.model import Model
from bedplate.families.rounding import TensorError, compare_tensors
from bedplate.families.seq2seq_model import Seq2SeqModel

PROMPTS = (
    "The capital of France is Paris, and the capital of Italy is",
    "def fibonacci(n: int) -> int:\n    if n < 2:\n        return n\n    return fibonacci(n - 1) +",
    "In 1969, 12 % of the 3,500 samples weighed 0.25 kg;\n\n1. the others",
    "Der schnelle braune Fuchs springt über den faulen Hund. 素早い茶色の狐がのろまな犬を飛び越える。",
)
LONGEST = 48
"""Tokens of a prompt that are answered."""


@dataclass(frozen=True)
class Limits:
    """How far a result may be from its source: greatest absolute logit difference, mean KL divergence in nats."""

    logit_error: float
    mean_kl: float


EXACT = Limits(1e-3, 1e-6)
LIMITS: Mapping[str, Limits] = {
    "float32": EXACT,
    "float16": Limits(0.5, 1e-4),
    "bfloat16": Limits(8.0, 5e-3),
    "q8_0": Limits(8.0, 2e-2),
}
"""By what the weights are stored in, where that can't hold the source exactly. What rounding costs differs from model
to model, so these are wide: they are for what isn't in a tensor. A wrong tensor is found by comparing tensors."""


@dataclass(frozen=True)
class Answers:
    """A model's logits [T, vocabulary] in fp32, one for each prompt's tokens [T]."""

    tokens: tuple[Tensor, ...]
    logits: tuple[Tensor, ...]

    def check(self, what: str) -> None:
        """Raise WeightsError if the source itself answers with what are no numbers: nothing can be compared with it."""
        if not all(bool(logits.isfinite().all()) for logits in self.logits):
            raise WeightsError(
                f"{what}: the source's own answers aren't finite numbers, so its weights are damaged",
                "Take an undamaged copy.",
            )


@dataclass(frozen=True)
class Certificate:
    """What was found over `positions` next-token distributions; KL is from the source to the result, in nats.

    greatest_tensor_error: norm of the error over norm of the source, of `worst_tensor`; None where only answers were
    compared.
    """

    prompts: int
    positions: int
    greatest_logit_error: float
    mean_kl: float
    greatest_kl: float
    same_argmax: float
    same_tokens: bool
    stored: str
    limits: Limits
    greatest_tensor_error: float | None = None
    worst_tensor: str | None = None

    def facts(self) -> dict[str, Any]:
        """JSON-able; goes into the manifest's measures."""
        return asdict(self)

    def save(self, folder: Path) -> None:
        """Write `certificate.json`."""
        (folder / "certificate.json").write_text(json.dumps(self.facts(), indent=2) + "\n", encoding="utf-8")

    def check(self, what: str) -> None:
        """Raise WeightsError if the result is further from its source than the limits allow."""
        within = self.greatest_logit_error <= self.limits.logit_error and self.mean_kl <= self.limits.mean_kl
        if not within:  # NaN lands here too
            raise WeightsError(
                f"{what}: stored as {self.stored} it doesn't answer as its source does: greatest logit error "
                f"{self.greatest_logit_error:.3g} (limit {self.limits.logit_error:g}), mean KL {self.mean_kl:.3g} nats "
                f"(limit {self.limits.mean_kl:g})",
                "Please report it: this type holds the source exactly."
                if self.limits == EXACT
                else "Store it in a wider type: dtype=float32.",
            )
        if not self.same_tokens:
            raise WeightsError(
                f"{what}: the tokenizer that was written cuts the fixed prompts differently from its source",
                "Export to another format: this tokenizer can't be said in this one.",
            )


def prompt_tokens(model: Model | Seq2SeqModel) -> tuple[Tensor, ...]:
    """The fixed prompts in the model's own tokens; without a tokenizer, fixed ids spread over the vocabulary."""
    longest = min(LONGEST, model.config.max_position_embeddings)
    if model.tokenizer is None:
        ids = torch.arange(4 * longest).view(4, longest)
        return tuple((ids * 7919 + 1) % model.config.vocab_size)
    encoded = [model.tokenizer.encode(prompt)[:longest] for prompt in PROMPTS]
    return tuple(torch.tensor(ids) for ids in encoded if ids)


@torch.inference_mode()
def answer(model: Model | Seq2SeqModel, tokens: tuple[Tensor, ...] | None = None) -> Answers:
    """The model's answers to the prompts, or to `tokens`; an encoder-decoder reads a prompt and writes it again. Turns
    its weights to fp32 on the way."""
    tokens = prompt_tokens(model) if tokens is None else tokens
    model.net.float()
    return Answers(tokens, tuple(_logits(model, ids[None].to(model.device)).cpu() for ids in tokens))


def _logits(model: Model | Seq2SeqModel, ids: Tensor) -> Tensor:
    """[1, T] -> [T, V] fp32."""
    if isinstance(model, Seq2SeqModel):
        start = torch.full_like(ids[:, :1], model.config.start_token)
        return model(ids, torch.cat((start, ids[:, :-1]), dim=1))[0].float()
    return model(ids)[0].float()


def compare(
    source: Answers,
    result: Answers,
    *,
    stored: str,
    limits: Limits,
    same_tokens: bool = True,
    worst: TensorError | None = None,
) -> Certificate:
    """How far the result is from the source. `stored` names what the weights are stored in; worst: the tensor that is
    furthest off."""
    pairs = list(zip(source.logits, result.logits, strict=True))
    errors = torch.cat([(a - b).abs().amax(-1) for a, b in pairs])
    kl = torch.cat([_kl(a, b) for a, b in pairs])
    same = torch.cat([a.argmax(-1) == b.argmax(-1) for a, b in pairs])
    return Certificate(
        prompts=len(pairs),
        positions=len(errors),
        greatest_logit_error=errors.max().item(),
        mean_kl=kl.mean().item(),
        greatest_kl=kl.max().item(),
        same_argmax=same.double().mean().item(),
        same_tokens=same_tokens,
        stored=stored,
        limits=limits,
        greatest_tensor_error=None if worst is None else worst.relative,
        worst_tensor=None if worst is None else worst.name,
    )


def certify(
    source: Model | Seq2SeqModel, reload: Callable[[], Model | Seq2SeqModel], *, stored: str, what: str
) -> Certificate:
    """Compare a model with what `reload` reads back of it. Raises WeightsError, naming `what`, beyond the limits.

    While tensors are compared both models are in memory, each in its own type. The source has lost its weights
    afterwards.
    """
    own = {name: parameter.dtype for name, parameter in source.net.named_parameters()}
    inexact = {limits_for(dtype, stored) for dtype in own.values()} - {EXACT}
    before = answer(source)
    before.check(what)
    for name, parameter in source.net.named_parameters():
        parameter.data = parameter.data.to(own[name])  # loses nothing: it came from there
    result = reload()
    worst = compare_tensors(source, result, own, stored=stored, what=what)
    after = answer(result, before.tokens)
    certificate = compare(
        before,
        after,
        stored=stored,
        limits=inexact.pop() if inexact else EXACT,
        same_tokens=same_cuts(source, result),
        worst=worst,
    )
    certificate.check(what)
    return certificate


def limits_for(source: torch.dtype, stored: str) -> Limits:
    """Exact where `stored` holds every value of `source`, else what rounding to it may cost."""
    own = str(source).removeprefix("torch.")
    return EXACT if stored in (own, "float32") else LIMITS[stored]


def same_cuts(source: Model | Seq2SeqModel, result: Model | Seq2SeqModel) -> bool:
    """Whether both tokenizers cut the fixed prompts alike, with and without what they put around a text."""
    if source.tokenizer is None or result.tokenizer is None:
        return source.tokenizer is None and result.tokenizer is None
    return all(
        source.tokenizer.encode(prompt, post_process=around, specials=around)
        == result.tokenizer.encode(prompt, post_process=around, specials=around)
        for prompt in PROMPTS
        for around in (False, True)
    )


def _kl(source: Tensor, result: Tensor) -> Tensor:
    """[T, V] x 2 -> [T]: KL divergence in nats, in fp64 so that equal distributions give zero."""
    p, q = source.double().log_softmax(-1), result.double().log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).clamp(min=0)
