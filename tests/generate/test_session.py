"""A session: requests that come, go and fail at any time, each as if it were alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.errors import InputError, InternalError, UserError, WeightsError
from bedplate.families.model import Model
from bedplate.generate.engine import generate
from bedplate.generate.params import SamplingParams
from bedplate.generate.session import Session
from bedplate.nn.cache import KVCache

PROMPTS = [[3 + (7 * i + k) % 390 for k in range(1 + (13 * i) % 60)] for i in range(24)]
PARAMS = [
    SamplingParams(max_tokens=4 + i % 9, seed=i, temperature=(i % 2) * 1.0, repetition_penalty=1 + (i % 3) / 4)
    for i in range(24)
]


@pytest.fixture(scope="module")
def alone(model):
    """What each prompt gets by itself."""
    return [generate(model, [prompt], params)[0] for prompt, params in zip(PROMPTS, PARAMS, strict=True)]


def drain(session):
    """All events until nothing is left to do, by handle."""
    events = {}
    while session.busy:
        for event in session.step():
            events.setdefault(id(event.handle), []).append(event)
    return events


def same(found, expected):
    assert (found.tokens, found.text, found.finish_reason) == (expected.tokens, expected.text, expected.finish_reason)


ACTIONS = st.lists(st.sampled_from(["submit", "submit", "step", "step", "step", "cancel"]), min_size=8, max_size=80)


@settings(max_examples=60, deadline=None)
@given(actions=ACTIONS, slots=st.sampled_from([1, 3, 8]), prefill=st.sampled_from([8, 40, 8192]),
       cache_tokens=st.sampled_from([None, 100, 300]), choices=st.randoms(use_true_random=False))  # fmt: skip
def test_whatever_the_order_each_gets_what_it_gets_alone(model, alone, actions, slots, prefill, cache_tokens, choices):
    """Submitting, stepping and calling off in any order: what isn't called off ends once, with its own text."""
    session = Session(model, slots, prefill=prefill, cache_tokens=cache_tokens)
    numbers, pieces, ended, cancelled = {}, {}, {}, set()
    next_prompt = 0

    def note(events):
        for event in events:
            assert event.error is None
            assert id(event.handle) not in cancelled
            assert id(event.handle) not in ended
            pieces.setdefault(id(event.handle), []).append(event.piece)
            if event.generation is not None:
                ended[id(event.handle)] = event.generation

    handles = []
    for action in actions:
        if action == "submit" and next_prompt < len(PROMPTS):
            handles.append(session.submit(PROMPTS[next_prompt], PARAMS[next_prompt]))
            numbers[id(handles[-1])] = next_prompt
            next_prompt += 1
        elif action == "step":
            note(session.step())
        elif action == "cancel" and handles:
            handle = choices.choice(handles)
            session.cancel(handle)
            if id(handle) not in ended:
                cancelled.add(id(handle))
        assert session.active <= slots
    while session.busy:
        note(session.step())
    assert set(ended) | cancelled == set(numbers)
    for handle, generation in ended.items():
        same(generation, alone[numbers[handle]])
        assert "".join(pieces[handle]) == generation.text
    assert (session.active, session.waiting) == (0, 0)


def test_a_long_prompt_keeps_nobody_waiting(make_model, tokenizer):
    """It is read in parts, one a step; who is decoding gets a token every other step, and who comes after it goes
    first."""
    model = make_model(tokenizer, max_position_embeddings=4096)
    session = Session(model, prefill=32)
    options = {"max_tokens": 200, "ignore_eos": True}
    first = session.submit([5, 6, 7], SamplingParams(**options))
    assert session.step()[0].handle is first
    long = session.submit([3 + i % 390 for i in range(1500)], SamplingParams(max_tokens=3, ignore_eos=True))
    late = session.submit([8, 9], SamplingParams(**options))
    silent, order = 0, []
    for _ in range(120):
        events = session.step()
        silent = 0 if any(e.handle is first for e in events) else silent + 1
        assert silent <= 1
        order += [e.handle for e in events if e.handle not in order]
        if long in order:
            break
    assert order == [first, late, long]
    together = generate(model, [long.prompt], max_tokens=3, ignore_eos=True)[0]
    while long.finish_reason is None:
        session.step()
    same(long.generation(), together)


def test_dynamic_rope_is_read_in_one_piece(make_model, tokenizer):
    """Its angles depend on how long a prompt is in all, which parts can't know."""
    model = make_model(tokenizer, rope_scaling={"rope_type": "dynamic", "factor": 2.0}, max_position_embeddings=128)
    session = Session(model, prefill=16)
    handles = [session.submit(prompt, SamplingParams(max_tokens=9)) for prompt in (list(range(3, 110)), [5, 6])]
    while session.busy:
        session.step()
    for handle in handles:
        same(handle.generation(), generate(model, [handle.prompt], max_tokens=9)[0])


def test_a_full_batch_still_takes_newcomers(model):
    session = Session(model, slots=8)
    for i in range(8):
        session.submit([5 + i], SamplingParams(max_tokens=100 if i else 2, ignore_eos=True))
    late = session.submit([99], SamplingParams(max_tokens=1))
    for _ in range(16):  # one slot is free after two tokens, and the others go on for long
        session.step()
    assert late.finish_reason is not None


def test_memory_is_bounded_and_the_answers_are_the_same(make_model, tokenizer):
    """Rows times positions stay within the bound while sequences grow past it: the newest are set back."""
    model = make_model(tokenizer)
    limit = 200
    session = Session(model, slots=8, cache_tokens=limit)
    handles = [session.submit([10 + i] * 20, SamplingParams(max_tokens=60, ignore_eos=True)) for i in range(8)]
    most = 0
    while session.busy:
        session.step()
        rows = session.active
        if rows > 1:
            most = max(most, rows * session._batch.length)
    assert 120 < most <= limit
    for handle in handles:
        same(handle.generation(), generate(model, [handle.prompt], max_tokens=60, ignore_eos=True)[0])


def test_a_long_row_that_leaves_takes_its_memory_along(model):
    session = Session(model)
    long = session.submit(list(range(3, 120)), SamplingParams(max_tokens=5, ignore_eos=True))
    short = session.submit([5, 6], SamplingParams(max_tokens=100, ignore_eos=True))
    while long.finish_reason is None:
        session.step()
    assert session._batch.length < 20
    while session.busy:
        session.step()
    same(short.generation(), generate(model, [[5, 6]], max_tokens=100, ignore_eos=True)[0])


def test_calling_off_frees_the_slot_at_once(model):
    session = Session(model, slots=2, prefill=16)
    running = session.submit([5], SamplingParams(max_tokens=100, ignore_eos=True))
    session.step()
    reading = session.submit(list(range(3, 100)), SamplingParams(max_tokens=100))
    session.step()
    session.step()
    waiting = session.submit([7], SamplingParams(max_tokens=100))
    assert (session.active, session.waiting) == (2, 1)
    for handle, counts in ((reading, (1, 1)), (waiting, (1, 0)), (running, (0, 0)), (running, (0, 0))):
        session.cancel(handle)
        assert (session.active, session.waiting) == counts
    assert not session.busy
    assert session.step() == []
    assert session._batch.length == 0


# -- what fails, fails alone -------------------------------------------------------------------------------------------


def test_nan_ends_its_own_row_alone(make_model, tokenizer):
    model = make_model(tokenizer, tie_word_embeddings=False)
    with torch.no_grad():
        model.net.embed.weight[7] = float("nan")
    session = Session(model)
    options = SamplingParams(max_tokens=8, ignore_eos=True)
    good = [session.submit([5, 6], options), session.submit([8] * 20, options)]
    bad = session.submit([5, 7], options)
    events = drain(session)
    assert [type(e.error) for e in events[id(bad)]] == [WeightsError]
    for handle in good:
        same(events[id(handle)][-1].generation, generate(model, [handle.prompt], options)[0])


class Fragile(Model):
    """A model whose forward pass fails when a token is in it, as when memory runs out."""

    fatal = 399  # in none of the prompts above
    most_rows = 100

    def hidden(self, tokens, **options):
        if (tokens == self.fatal).any() or tokens.shape[0] > self.most_rows:
            raise RuntimeError("can't allocate memory")
        return super().hidden(tokens, **options)


@pytest.mark.parametrize("prefill", [8192, 8])
def test_a_prompt_that_cannot_be_read_fails_alone(model, prefill):
    fragile = Fragile(model.config, model.net, model.tokenizer)
    session = Session(fragile, prefill=prefill)
    options = SamplingParams(max_tokens=8, ignore_eos=True)
    good = [session.submit(prompt, options) for prompt in PROMPTS[:5]]
    bad = session.submit([5, 6, Fragile.fatal] + [9] * 20, options)
    good += [session.submit(prompt, options) for prompt in PROMPTS[5:9]]
    events = drain(session)
    assert [type(e.error) for e in events[id(bad)]] == [InternalError]
    for handle in good:
        same(events[id(handle)][-1].generation, generate(model, [handle.prompt], options)[0])


def test_a_row_that_breaks_the_step_is_found_and_fails_alone(model):
    options = SamplingParams(max_tokens=12, ignore_eos=True)
    expected = {i: generate(model, [PROMPTS[i]], options)[0] for i in range(9)}
    fragile = Fragile(model.config, model.net, model.tokenizer)
    fragile.fatal = expected[4].tokens[5]
    bad = {i for i, g in expected.items() if fragile.fatal in g.tokens[:-1] or fragile.fatal in PROMPTS[i]}
    assert 0 < len(bad) < 9
    session = Session(fragile)
    handles = [session.submit(PROMPTS[i], options) for i in range(9)]
    events = drain(session)
    for i, handle in enumerate(handles):
        last = events[id(handle)][-1]
        if i in bad:
            assert isinstance(last.error, InternalError)
        else:
            same(last.generation, expected[i])


def test_where_memory_is_enough_for_fewer_rows_all_are_answered(model):
    fragile = Fragile(model.config, model.net, model.tokenizer)
    fragile.most_rows = 3
    session = Session(fragile)
    options = SamplingParams(max_tokens=6, ignore_eos=True)
    handles = [session.submit([50 + i], options) for i in range(10)]
    events = drain(session)
    for handle in handles:
        same(events[id(handle)][-1].generation, generate(model, [handle.prompt], options)[0])


@pytest.mark.parametrize("what", ["select", "joined"])
def test_where_rows_cannot_leave_for_want_of_memory_the_others_are_read_again(model, monkeypatch, what):
    """At any time in the cutting of the cache: nobody gets another's text, and no token is lost."""
    real, calls = getattr(KVCache, what), []

    def failing(*arguments):
        calls.append(what)
        if len(calls) % 2:
            raise RuntimeError("can't allocate memory")
        return real(*arguments)

    options = [SamplingParams(max_tokens=3 + 9 * i, ignore_eos=True) for i in range(6)]
    expected = [generate(model, [PROMPTS[i]], options[i])[0] for i in range(6)]
    session = Session(model)
    handles = [session.submit(PROMPTS[i], options[i]) for i in range(6)]
    off = session.submit(list(range(3, 110)), SamplingParams(max_tokens=15, ignore_eos=True))
    events = {}
    session.step()
    monkeypatch.setattr(KVCache, what, failing)
    for turn in range(500):
        if turn == 5:
            session.cancel(off)
        for event in session.step():
            events.setdefault(id(event.handle), []).append(event)
        if not session.busy:
            break
    assert calls
    for handle, wanted in zip(handles, expected, strict=True):
        same(handle.generation(), wanted)
        assert events[id(handle)][-1].generation is not None


def test_what_cannot_be_taken_on_is_refused_at_once(model):
    session = Session(model)
    with pytest.raises(InputError, match=r"the prompt has 128 tokens .* 128"):
        session.submit([5] * 128)
    with pytest.raises(InputError, match="token 400"):
        session.submit([400])
    with pytest.raises(UserError, match="stop strings"):
        Session(Model(model.config, model.net)).submit([5], SamplingParams(stop="x"))
    assert not session.busy
