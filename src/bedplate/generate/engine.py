"""Batched generation with a key-value cache, and the same for one prompt as a stream of text."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from bedplate.errors import InputError, TokenizerError, UserError
from bedplate.families.model import Model
from bedplate.families.seq2seq_model import Seq2SeqModel
from bedplate.generate.generation import Generation
from bedplate.generate.params import SamplingParams, check_seed, params_from
from bedplate.generate.request import Request, end_tokens, new_request
from bedplate.generate.seq2seq import answered
from bedplate.generate.session import Session

__all__ = ["Prompt", "end_tokens", "generate", "stream"]

Prompt = str | Sequence[int]


def generate(
    model: Model | Seq2SeqModel,
    prompts: str | Sequence[Prompt],
    params: SamplingParams | Sequence[SamplingParams] | None = None,
    *,
    seeds: Sequence[int] | None = None,
    **options: Any,
) -> list[Generation]:
    """Continue each prompt, or of an encoder-decoder answer it; one Generation a prompt, in order.

        generate(model, ["Once upon a time"], max_tokens=50, temperature=0.8, seed=7)

    prompts: texts (encoded as the tokenizer's post-processor says, with BOS where it adds one; special tokens
    written in them are plain text) or token ids, taken as they are. An empty prompt starts from BOS. A text alone is
    one prompt. params: for all, or one for each prompt; or SamplingParams' fields as keywords. seeds: one for each
    prompt, in place of the params' own.

    A prompt's continuation doesn't depend on the others: a batch gives what its rows give alone, but for rounding.
    It ends at the model's end tokens, a stop string or token, max_tokens, or where the model's context is full.

    Raises UserError for bad parameters, InputError naming the prompt that is empty, too long for the model's context
    or out of its vocabulary, TokenizerError for text without a tokenizer, WeightsError where logits are NaN.
    """
    requests = _requests(model, [prompts] if isinstance(prompts, str) else prompts, params, seeds, options)
    for _ in _run(model, requests):
        pass
    return [request.generation() for request in requests]


def stream(
    model: Model | Seq2SeqModel, prompt: Prompt, params: SamplingParams | None = None, **options: Any
) -> Generator[str, None, Generation]:
    """Continue one prompt and yield its text as it becomes certain; the pieces add up to the Generation's text.

    What may be the beginning of a stop string or of a character is held back until it is decided. The generator's
    return value is the Generation. Arguments are checked at once; parameters and errors are those of `generate`.
    """
    return _stream(model, _requests(model, [prompt], params, None, options))


def _stream(model: Model | Seq2SeqModel, requests: list[Request]) -> Generator[str, None, Generation]:
    for _, piece in _run(model, requests):
        if piece:
            yield piece
    return requests[0].generation()


def _requests(
    model: Model | Seq2SeqModel,
    prompts: Sequence[Prompt],
    params: SamplingParams | Sequence[SamplingParams] | None,
    seeds: Sequence[int] | None,
    options: dict[str, Any],
) -> list[Request]:
    if params is not None and options:
        raise UserError(f"params are given, and {', '.join(options)} beside them", "Give one or the other.")
    if params is None:
        params = params_from(options)
    each = [params] * len(prompts) if isinstance(params, SamplingParams) else list(params)
    for name, given in (("params", each), ("seeds", seeds)):
        if given is not None and len(given) != len(prompts):
            raise UserError(f"{len(given)} {name} for {len(prompts)} prompts", "Give one for each prompt.")
    for i, seed in enumerate(seeds or ()):
        check_seed(f"seeds[{i}]", seed)
    each_seed = [p.seed for p in each] if seeds is None else seeds
    return [
        new_request(model, prompt, p, seed=seed, name=f"prompts[{i}]")
        for i, (prompt, p, seed) in enumerate(zip(_encode(model, prompts), each, each_seed, strict=True))
    ]


def _encode(model: Model | Seq2SeqModel, prompts: Sequence[Prompt]) -> list[Sequence[int]]:
    texts = [p for p in prompts if isinstance(p, str)]
    encoded: Iterator[list[int]] = iter(())
    if texts:
        if model.tokenizer is None:
            raise TokenizerError("the model's folder has no tokenizer, so a prompt can't be a text", "Give token ids.")
        for i, prompt in enumerate(prompts):
            if isinstance(prompt, str) and not _unicode(prompt):
                raise InputError(f"prompts[{i}] has lone surrogates, which aren't Unicode text", "Decode it properly.")
        encoded = iter(model.tokenizer.encode_batch(texts, post_process=True))
    return [next(encoded) if isinstance(p, str) else p for p in prompts]


def _unicode(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _run(model: Model | Seq2SeqModel, requests: Sequence[Request]) -> Iterator[tuple[Request, str]]:
    """Decode all requests; each token's request and the text that it made certain.

    Longest prompts first: neighbours are alike in length, so little is padded.
    """
    if isinstance(model, Seq2SeqModel):
        yield from answered(model, requests)
        return
    session = Session(model)
    for request in sorted(requests, key=lambda r: len(r.prompt), reverse=True):
        session.enqueue(request)
    while session.busy:
        for event in session.step():
            if event.error is not None:
                raise event.error
            yield event.handle, event.piece
