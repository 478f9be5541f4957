"""Batched generation with a key-value cache, and the same for one prompt as a stream of text."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from bedplate.errors import InputError, TokenizerError, UserError, WeightsError
from bedplate.families.model import Model
from bedplate.generate.batch import Batch
from bedplate.generate.generation import Generation
from bedplate.generate.params import SamplingParams, check_seed, params_from
from bedplate.generate.request import Request
from bedplate.generate.sampling import Sampler

Prompt = str | Sequence[int]

SLOTS = 32
"""Most sequences decoded at once."""
ROOM = 256
"""Cache positions made ready ahead of what is generated; beyond them the cache grows by doubling."""


def generate(
    model: Model,
    prompts: str | Sequence[Prompt],
    params: SamplingParams | Sequence[SamplingParams] | None = None,
    *,
    seeds: Sequence[int] | None = None,
    **options: Any,
) -> list[Generation]:
    """Continue each prompt; one Generation a prompt, in order.

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
    model: Model, prompt: Prompt, params: SamplingParams | None = None, **options: Any
) -> Generator[str, None, Generation]:
    """Continue one prompt and yield its text as it becomes certain; the pieces add up to the Generation's text.

    What may be the beginning of a stop string or of a character is held back until it is decided. The generator's
    return value is the Generation. Arguments are checked at once; parameters and errors are those of `generate`.
    """
    return _stream(model, _requests(model, [prompt], params, None, options))


def _stream(model: Model, requests: list[Request]) -> Generator[str, None, Generation]:
    for _, piece in _run(model, requests):
        if piece:
            yield piece
    return requests[0].generation()


def _requests(
    model: Model,
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
    tokens = _encode(model, prompts)
    own_ends, context = end_tokens(model), model.config.max_position_embeddings
    requests = []
    for i, (prompt, p) in enumerate(zip(tokens, each, strict=True)):
        if len(prompt) >= context:
            raise InputError(
                f"prompts[{i}] has {len(prompt)} tokens and the model's context is {context}: no room for an answer",
                "Shorten the prompt.",
            )
        if p.stop and model.tokenizer is None:
            raise UserError("stop strings need a tokenizer, and this model has none", "Use stop_token_ids.")
        ends = frozenset(p.stop_token_ids) | (frozenset() if p.ignore_eos else own_ends)
        requests.append(
            Request(
                prompt,
                p,
                seed=p.seed if seeds is None else seeds[i],
                ends=ends,
                room=min(p.max_tokens, context - len(prompt)),
                tokenizer=model.tokenizer,
            )
        )
    return requests


def end_tokens(model: Model) -> frozenset[int]:
    """The model's own end tokens: what generation_config.json says, else config.json, else the tokenizer."""
    for found in (model.generation.get("eos_token_id"), model.config.eos_token_id):
        if found is not None:
            return frozenset([found] if isinstance(found, int) else found)
    eos = None if model.tokenizer is None else model.tokenizer.eos_id
    return frozenset(() if eos is None else [eos])


def _encode(model: Model, prompts: Sequence[Prompt]) -> list[list[int]]:
    texts = [p for p in prompts if isinstance(p, str)]
    encoded: Iterator[list[int]] = iter(())
    if texts:
        if model.tokenizer is None:
            raise TokenizerError("the model's folder has no tokenizer, so a prompt can't be a text", "Give token ids.")
        for i, prompt in enumerate(prompts):
            if isinstance(prompt, str) and not _unicode(prompt):
                raise InputError(f"prompts[{i}] has lone surrogates, which aren't Unicode text", "Decode it properly.")
        encoded = iter(model.tokenizer.encode_batch(texts, post_process=True))
    return [_checked(model, i, next(encoded) if isinstance(p, str) else p) for i, p in enumerate(prompts)]


def _checked(model: Model, i: int, prompt: Sequence[int]) -> list[int]:
    given = prompt.tolist() if isinstance(prompt, Tensor) else prompt
    if not isinstance(given, Iterable):
        raise InputError(f"prompts[{i}] is neither a text nor a list of token ids", "Give one or the other.")
    tokens: list[int] = []
    for t in given:
        # int() would make 1 of 1.7, of "1" and of True, and the model would answer another prompt.
        if isinstance(t, bool) or not isinstance(t, Integral):
            raise InputError(f"prompts[{i}] has {t!r} among its token ids", "Give whole numbers, or a text.")
        tokens.append(int(t))
    if not tokens:
        bos = model.config.bos_token_id if model.tokenizer is None else model.tokenizer.bos_id
        if bos is None:
            raise InputError(f"prompts[{i}] is empty and the model has no BOS token to start from", "Write something.")
        tokens = [bos]
    outside = [t for t in tokens if not 0 <= t < model.config.vocab_size]
    if outside:
        raise InputError(
            f"prompts[{i}] has token {outside[0]}, and the model's vocabulary is {model.config.vocab_size}",
            "Encode it with this model's tokenizer.",
        )
    return tokens


def _unicode(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _run(model: Model, requests: Sequence[Request]) -> Iterator[tuple[Request, str]]:
    """Decode all requests; each token's request and the text that it made certain.

    Longest prompts first: neighbours are alike in length, so little is padded. Where a quarter of the slots is free,
    waiting requests join.
    """
    waiting = sorted(requests, key=lambda r: len(r.prompt), reverse=True)
    slots = _slots(model)
    batch, active = Batch(model), list[Request]()
    logits = torch.empty(0, model.config.vocab_size, device=model.device)
    sampler: Sampler | None = None
    while waiting or active:
        if waiting and len(active) <= slots - max(1, slots // 4):
            count = slots - len(active)
            joining, waiting = waiting[:count], waiting[count:]
            active += joining
            room = min(ROOM, max(r.room - len(r.tokens) for r in active))
            logits = torch.cat((logits, batch.add([r.prompt for r in joining], room)))
            sampler = None
        sampler = sampler or _sampler(model, active)
        tokens, chosen = _choose(sampler, logits, active)
        for request, (token, logprob, top) in zip(active, chosen, strict=True):
            yield request, request.accept(token, logprob, top)
        left = [row for row, request in enumerate(active) if request.finish_reason is None]
        if len(left) < len(active):
            batch.keep(left)
            active, tokens, sampler = [active[row] for row in left], tokens[left], None
        logits = batch.step(tokens) if active else logits[:0]


def _slots(model: Model) -> int:
    # Dynamic scaling turns by the longest sequence of a batch, so there a row alone is the only right batch.
    scaling = model.config.rope_scaling
    return 1 if scaling is not None and scaling.rope_type == "dynamic" else SLOTS


def _sampler(model: Model, active: Sequence[Request]) -> Sampler:
    return Sampler(
        [r.params for r in active],
        [r.seed for r in active],
        [r.history for r in active],
        model.config.vocab_size,
        model.device,
    )


@torch.inference_mode()
def _choose(
    sampler: Sampler, logits: Tensor, active: Sequence[Request]
) -> tuple[Tensor, list[tuple[int, float, dict[int, float] | None]]]:
    """The next tokens [B], and of each row (token, its log-probability, the likeliest tokens' where asked for)."""
    tokens = sampler(logits, [len(r.tokens) for r in active])
    logprobs = logits.log_softmax(-1)
    chosen = logprobs.gather(-1, tokens[:, None]).squeeze(-1).tolist()
    if any(math.isnan(c) for c in chosen):
        raise WeightsError(
            "the model's logits are NaN", "Its weights are broken, or float16 is too narrow for it: try dtype=bfloat16."
        )
    most = min(max(r.params.top_logprobs for r in active), logits.shape[-1])
    tops: list[dict[int, float] | None] = [None] * len(active)
    if most:
        values, ids = (x.tolist() for x in logprobs.topk(most))
        for row, request in enumerate(active):
            n = request.params.top_logprobs
            tops[row] = dict(zip(ids[row][:n], values[row][:n], strict=True)) if n else None
    return tokens, list(zip(tokens.tolist(), chosen, tops, strict=True))
