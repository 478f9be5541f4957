"""`Session`: a model at work on many requests at once, which come, go and are called off at any time.

    session = Session(model)
    handle = session.submit(prompt_ids, SamplingParams(max_tokens=50))
    while session.busy:
        for event in session.step():
            print(event.piece, end="")

A step is short: it either reads some of the prompts that wait or decodes one token of every sequence, in turns while
there is both to do. So neither keeps the other waiting for long, and whoever drives the session can look about between
steps. It isn't safe for several threads: one drives it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bedplate.errors import BedplateError, InternalError, WeightsError
from bedplate.families.model import Model
from bedplate.families.seq2seq_model import Seq2SeqModel
from bedplate.generate.batch import PREFILL_TOKENS, Batch, Reading
from bedplate.generate.generation import Generation
from bedplate.generate.params import SamplingParams
from bedplate.generate.request import Request, new_request
from bedplate.generate.sampling import Sampler

SLOTS = 32
"""Most sequences decoded at once."""
ROOM = 256
"""Cache positions made ready ahead of what is generated; beyond them the cache grows by doubling."""
PATIENCE = 8
"""Tokens that a full batch decodes before it takes in a single newcomer: joining copies the cache, and so is cheaper
for several together."""

Handle = Request
"""What `submit` gives and `cancel` takes."""


@dataclass(frozen=True)
class Token:
    """A token of an answer, its log-probability in nats, and the likeliest tokens' where asked for."""

    id: int
    logprob: float
    top: dict[int, float] | None = None


@dataclass(frozen=True)
class Event:
    """One more token of a request. piece: the text that it makes certain, which may be none yet. generation: the
    whole, with the last token. error: why there will be no more, without a token; no other event of this request
    follows."""

    handle: Handle
    piece: str
    token: Token | None = None
    generation: Generation | None = None
    error: BedplateError | None = None


class Session:
    """Continuous batching on one model.

    slots: most sequences at once. prefill: most prompt tokens read in one step; a longer prompt is read in parts.
    cache_tokens: bounds the memory of keys and values, as sequences times the longest one's length (the cache may
    have grown to twice that): newcomers wait until there is room, and where sequences outgrow it the newest are set
    back and read again later. One sequence alone may always use the model's whole context. None: unbounded but for
    the slots.

    What a request gets doesn't depend on the others but for rounding. One that fails (its logits are NaN, or the
    memory isn't enough even for it alone) ends with an event that says so, and the others go on.
    """

    def __init__(
        self,
        model: Model,
        slots: int = SLOTS,
        *,
        prefill: int = PREFILL_TOKENS,
        cache_tokens: int | None = None,
    ) -> None:
        # Dynamic scaling turns by the longest sequence of a batch, so there a row alone is the only right batch, and a
        # prompt has to be read in one piece.
        dynamic = model.net.positions_depend_on_length
        self.slots = 1 if dynamic else slots
        self._prefill = max(prefill, model.config.max_position_embeddings) if dynamic else prefill
        self._model, self._cache_tokens = model, cache_tokens
        self._waiting: deque[Request] = deque()
        self._half: tuple[Request, Reading] | None = None
        self._batch, self._active = Batch(model), list[Request]()
        self._tokens = _no_tokens(model)
        self._sampler: Sampler | None = None
        self._most = self.slots
        self._since_reading = 0
        self._half_last = False

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        return bool(self._active or self._waiting or self._half)

    @property
    def active(self) -> int:
        """Sequences in a slot."""
        return len(self._active) + (self._half is not None)

    @property
    def waiting(self) -> int:
        """Requests that have no slot yet."""
        return len(self._waiting)

    def submit(self, prompt: Sequence[int], params: SamplingParams | None = None, *, seed: int | None = None) -> Handle:
        """Take on a prompt of token ids. Costs nothing yet. Raises the errors of `new_request`."""
        request = new_request(self._model, prompt, params or SamplingParams(), seed=seed)
        self.enqueue(request)
        return request

    def enqueue(self, request: Request) -> None:
        """Take on a request that has been made for this session's model."""
        self._waiting.append(request)

    def cancel(self, handle: Handle) -> None:
        """Stop a request, whatever it is at; its slot and its memory are free at once, and no event of it follows."""
        if self._half is not None and self._half[0] is handle:
            self._half = None
        elif any(request is handle for request in self._waiting):
            self._waiting = deque(request for request in self._waiting if request is not handle)
        else:
            self._leave([row for row, request in enumerate(self._active) if request is not handle])

    def step(self) -> list[Event]:
        """One turn of work; what came of it, at most one event a request."""
        joining = self._joining() if self._since_reading or not self._active else []
        if joining or (self._half is not None and (self._since_reading or not self._active)):
            self._since_reading = 0
            return self._read(joining)
        self._since_reading += 1
        return self._decode() if self._active else []

    # -- reading prompts ---------------------------------------------------------------------------------------------

    def _joining(self) -> list[Request]:
        """The next to be read together, in the order they came; they have left the queue. A prompt for which one step
        isn't enough comes alone, and only while no other such is under way."""
        free = self._most - self.active
        enough = free >= max(1, self._most // 4) or self._since_reading >= PATIENCE or not self._active
        if not self._waiting or free < 1 or not enough or (self._half is not None and not self._half_last):
            return []
        taken: list[Request] = []
        passed: list[Request] = []
        left = self._prefill
        while self._waiting and len(taken) < free:
            request = self._waiting.popleft()
            length = len(request.history)
            long = length > self._prefill
            if long and self._half is not None:
                passed.append(request)
                continue
            if (taken and (long or length > left)) or not self._fits([*taken, request]):
                self._waiting.appendleft(request)
                break
            taken.append(request)
            left -= length
            if long:
                break
        self._waiting.extendleft(reversed(passed))
        return taken

    def _fits(self, joining: Sequence[Request]) -> bool:
        rows = self.active + len(joining)
        if self._cache_tokens is None or rows == 1:
            return True
        lengths = [len(r.history) + min(ROOM, _left(r)) for r in joining]
        half = 0 if self._half is None else len(self._half[0].history)
        return rows * max(*lengths, half, self._batch.length) <= self._cache_tokens

    def _read(self, joining: list[Request]) -> list[Event]:
        if len(joining) == 1 and len(joining[0].history) > self._prefill:
            request = joining[0]
            self._half = request, Reading(self._model, request.history, min(ROOM, _left(request)))
            joining = []
        self._half_last = not joining
        return self._read_whole(joining) if joining else self._read_part()

    def _read_whole(self, joining: list[Request]) -> list[Event]:
        joining.sort(key=lambda r: len(r.history), reverse=True)  # neighbours alike in length: little padding
        before = len(self._batch)
        try:
            logits = self._batch.add([r.history for r in joining], self._room(joining))
            return self._joined(joining, logits)
        except (RuntimeError, MemoryError) as error:
            self._drop_from(before)
            if len(joining) == 1:
                return [Event(joining[0], "", error=_failed(error))]
            return [event for request in joining for event in self._read_whole([request])]

    def _read_part(self) -> list[Event]:
        assert self._half is not None
        before = len(self._batch)
        request, reading = self._half
        try:
            logits = reading.read(self._prefill)
            if logits is None:
                return []
            self._half = None
            self._batch.adopt(reading, self._room([request]))
            return self._joined([request], logits)
        except (RuntimeError, MemoryError) as error:
            self._half = None
            self._drop_from(before)
            return [Event(request, "", error=_failed(error))]

    def _room(self, joining: Sequence[Request]) -> int:
        return min(ROOM, max(_left(r) for r in (*self._active, *joining)))

    def _joined(self, joining: list[Request], logits: Tensor) -> list[Event]:
        """The first tokens of the batch's new last rows."""
        tokens, chosen = choose(sampler_of(self._model, joining), logits, joining)
        self._tokens = torch.cat((self._tokens, tokens))
        self._active, self._sampler = self._active + joining, None
        return self._accepted(chosen, joining)

    # -- decoding ----------------------------------------------------------------------------------------------------

    def _decode(self) -> list[Event]:
        self._set_back_beyond_memory()
        if not self._active:
            return []
        try:
            self._sampler = self._sampler or sampler_of(self._model, self._active)
            logits = self._batch.step(self._tokens)
            self._tokens, chosen = choose(self._sampler, logits, self._active)
        except (RuntimeError, MemoryError) as error:
            return self._recover(error)
        return self._accepted(chosen, self._active)

    def _accepted(self, chosen: Sequence[Token], requests: Sequence[Request]) -> list[Event]:
        """The events of the requests' next tokens, in order. Nothing fails from here on: a token that was accepted
        is told of. Requests that have ended leave the batch."""
        events = []
        for request, token in zip(requests, chosen, strict=True):
            if math.isnan(token.logprob):
                events.append(Event(request, "", error=not_a_number()))
                continue
            piece = request.accept(token.id, token.logprob, token.top)
            ended = request.finish_reason is not None
            events.append(Event(request, piece, token, request.generation() if ended else None))
        self._leave_ended(events)
        return events

    def _leave_ended(self, events: Sequence[Event]) -> None:
        ended = {id(e.handle) for e in events if e.generation is not None or e.error is not None}
        if ended:
            self._most = min(self.slots, self._most + len(ended))
            self._leave([row for row, request in enumerate(self._active) if id(request) not in ended])

    def _leave(self, staying: list[int]) -> None:
        """All rows but these go. Where the memory isn't enough for that, those that stay are read again."""
        if len(staying) == len(self._active):
            return
        active = [self._active[row] for row in staying]
        try:
            self._batch.keep(staying)
            self._active, self._tokens, self._sampler = active, self._tokens[staying], None
        except (RuntimeError, MemoryError):
            self._set_back(active)

    def _drop_from(self, row: int) -> None:
        """The batch's rows from this one on go, which belong to no active request yet."""
        try:
            self._batch.keep(list(range(row)))
        except (RuntimeError, MemoryError):
            self._set_back(self._active)

    def _set_back(self, requests: Sequence[Request]) -> None:
        """The batch is given up, and these are read again before all others."""
        self._waiting.extendleft(reversed(requests))
        self._batch, self._active = Batch(self._model), []
        self._tokens, self._sampler = _no_tokens(self._model), None

    def _set_back_beyond_memory(self) -> None:
        if self._cache_tokens is None:
            return
        while len(self._active) > 1 and len(self._active) * (self._batch.length + 1) > self._cache_tokens:
            newest = len(self._active) - 1
            self._waiting.appendleft(self._active[newest])
            self._leave(list(range(newest)))

    def _recover(self, error: Exception) -> list[Event]:
        """The step failed, for want of memory or by the doing of one row that nobody can tell. All are set back, and
        half as many are tried together; one that fails alone has failed."""
        failed = self._active
        self._set_back(failed if len(failed) > 1 else ())
        if len(failed) == 1:
            return [Event(failed[0], "", error=_failed(error))]
        self._most = max(1, len(failed) // 2)
        return []


@torch.inference_mode()
def choose(sampler: Sampler, logits: Tensor, requests: Sequence[Request]) -> tuple[Tensor, list[Token]]:
    """The next tokens of the rows of logits [B, V]: [B] int64, and with their log-probabilities."""
    tokens = sampler(logits, [len(r.tokens) for r in requests])
    logprobs = logits.log_softmax(-1)
    chosen = logprobs.gather(-1, tokens[:, None]).squeeze(-1).tolist()
    most = min(max(r.params.top_logprobs for r in requests), logits.shape[-1])
    tops: list[dict[int, float] | None] = [None] * len(requests)
    if most:
        values, ids = (x.tolist() for x in logprobs.topk(most))
        for row, request in enumerate(requests):
            n = request.params.top_logprobs
            tops[row] = dict(zip(ids[row][:n], values[row][:n], strict=True)) if n else None
    return tokens, [Token(*row) for row in zip(tokens.tolist(), chosen, tops, strict=True)]


def sampler_of(model: Model | Seq2SeqModel, requests: Sequence[Request]) -> Sampler:
    """What chooses the next tokens of these rows."""
    return Sampler(
        [r.params for r in requests],
        [r.seed for r in requests],
        [r.history for r in requests],
        model.config.vocab_size,
        model.device,
    )


def _no_tokens(model: Model) -> Tensor:
    return torch.zeros(0, dtype=torch.int64, device=model.device)


def _left(request: Request) -> int:
    """Tokens that it may still get."""
    return request.room - len(request.tokens)


def not_a_number() -> WeightsError:
    """The error of a row whose logits are no numbers."""
    return WeightsError(
        "the model's logits are NaN", "Its weights are broken, or float16 is too narrow for it: try dtype=bfloat16."
    )


def _failed(error: Exception) -> InternalError:
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    failure = InternalError(f"generating failed: {said}", "If memory ran out: a shorter prompt or fewer tokens.")
    failure.__cause__ = error
    return failure
