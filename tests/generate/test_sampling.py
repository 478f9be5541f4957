"""Filters against transformers' logits processors; draws against the distribution itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import generation as hf

from bedplate.generate import sampling
from bedplate.generate.params import SamplingParams

VOCABULARY = 300
seeds = st.integers(0, 2**31)
examples = settings(deadline=None, max_examples=50)  # a busy machine is no failure


def some_logits(seed: int, rows: int = 3, vocabulary: int = VOCABULARY) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, vocabulary, generator=generator) * 4


def column(*values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype)[:, None]


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@examples
@given(seeds, st.floats(0.05, 5.0))
def test_temperature_is_theirs(seed, value):
    logits = some_logits(seed)
    same(
        sampling.apply_temperature(logits, column(value, value, value)), hf.TemperatureLogitsWarper(value)(None, logits)
    )


@examples
@given(seeds, st.lists(st.integers(0, VOCABULARY + 5), min_size=3, max_size=3))
def test_top_k_is_theirs_row_by_row(seed, ks):
    logits = some_logits(seed).round()  # ties
    ours = sampling.keep_top_k(logits, column(*ks, dtype=torch.int64))
    for row, k in enumerate(ks):
        one = logits[row : row + 1]
        same(ours[row : row + 1], hf.TopKLogitsWarper(k)(None, one) if k else one)


@examples
@given(seeds, st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3))
def test_top_p_is_theirs_row_by_row(seed, ps):
    logits = some_logits(seed)
    ours = sampling.keep_top_p(logits, column(*ps))
    for row, p in enumerate(ps):
        one = logits[row : row + 1]
        theirs = hf.TopPLogitsWarper(p)(None, one) if p < 1 else one
        # The two add up in opposite directions: where a token's edge lies within fp32's error of p, either is right.
        probabilities = one.double().softmax(-1)
        before = torch.stack([probabilities[one > x].sum() for x in one[0]])[None]
        sure = (before - p).abs() > 2e-6
        same(ours[row : row + 1][sure], theirs[sure])


@pytest.mark.parametrize("spread", [0.001, 1.0, 30.0])
def test_top_p_of_a_large_vocabulary_is_theirs(spread):
    """Flat, ordinary and sharp: the look among the likeliest has to widen in the first two."""
    logits = some_logits(1, rows=2, vocabulary=6000) * spread
    same(sampling.keep_top_p(logits, column(0.9, 0.5))[:1], hf.TopPLogitsWarper(0.9)(None, logits[:1]))


@examples
@given(seeds, st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3))
def test_min_p_is_theirs_row_by_row(seed, shares):
    logits = some_logits(seed)
    ours = sampling.keep_min_p(logits, column(*shares))
    for row, share in enumerate(shares):
        one = logits[row : row + 1]
        same(ours[row : row + 1], hf.MinPLogitsWarper(share)(None, one) if share else one)


@examples
@given(seeds, st.floats(0.2, 5.0), st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=40))
def test_repetition_penalty_is_theirs(seed, penalty, history):
    logits = some_logits(seed, rows=1)
    seen = torch.zeros(1, VOCABULARY, dtype=torch.bool)
    seen[0, history] = True
    theirs = hf.RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([history]), logits.clone())
    same(sampling.penalise_repetition(logits, seen, column(penalty)), theirs)


@examples
@given(seeds, st.floats(0.3, 2.0), st.integers(1, 50), st.floats(0.3, 1.0), st.floats(0.0, 0.3))
def test_filters_in_a_row_are_theirs(seed, temperature, k, p, share):
    """The order: penalty, temperature, top-k, top-p, min-p."""
    logits, history = some_logits(seed, rows=1), [3, 3, 5]
    processors = hf.LogitsProcessorList(
        [
            hf.RepetitionPenaltyLogitsProcessor(1.3),
            hf.TemperatureLogitsWarper(temperature),
            hf.TopKLogitsWarper(k),
            hf.TopPLogitsWarper(p),
            hf.MinPLogitsWarper(share),
        ]
    )
    allowed = set(torch.nonzero(processors(torch.tensor([history]), logits.clone())[0].isfinite()).flatten().tolist())
    params = SamplingParams(temperature=temperature, top_k=k, top_p=p, min_p=share, repetition_penalty=1.3)
    drawn = {int(sampling.Sampler([params], [s], [history], VOCABULARY, logits.device)(logits, [0])) for s in range(60)}
    assert drawn <= allowed
    if len(allowed) == 1:
        assert drawn == allowed


@examples
@given(seeds)
def test_draws_follow_the_distribution(seed):
    """Points spread evenly over [0, 1) hit each token in proportion, to within one point; fp32 sums cost another."""
    logits = some_logits(seed, rows=1, vocabulary=20)
    logits[0, 3] = float("-inf")
    points = torch.arange(4000) / 4000
    counts = torch.bincount(sampling.draw(logits.expand(4000, -1), points), minlength=20)
    assert counts[3] == 0
    assert (counts - 4000 * logits.softmax(-1)[0]).abs().max() <= 2


@pytest.mark.parametrize("point", [0.0, 0.5, 1 - 2**-24])
def test_a_forbidden_token_is_never_drawn(point):
    logits = torch.full((50, 1000), float("-inf"))
    allowed = torch.randint(0, 1000, (50,), generator=torch.Generator().manual_seed(0))
    logits[torch.arange(50), allowed] = torch.linspace(-50, 50, 50)
    assert sampling.draw(logits, torch.full((50,), point)).tolist() == allowed.tolist()


def test_uniforms_are_even_and_depend_on_seed_and_step_alone():
    numbers = torch.tensor([sampling.uniform(seed, step) for seed in range(100) for step in range(100)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # Standard error of a mean of 10,000: 0.29 / 100.
    assert abs(numbers.mean() - 0.5) < 0.012
    assert len(set(numbers.tolist())) > 9990
    assert sampling.uniform(7, 3) == sampling.uniform(7, 3)


def test_rows_of_a_batch_keep_their_own_parameters():
    logits = some_logits(5, rows=4)
    params = [
        SamplingParams(),
        SamplingParams(temperature=0.7, top_k=5),
        SamplingParams(temperature=1.2, top_p=0.6, repetition_penalty=1.5),
        SamplingParams(temperature=3.0, min_p=0.05),
    ]
    histories = [[1], [2], [3, int(logits[2].argmax())], [4]]
    for trial in range(30):
        row_seeds = [trial * 10 + r for r in range(4)]
        steps = [0, 5, 2, 9]
        together = sampling.Sampler(params, row_seeds, histories, VOCABULARY, logits.device)(logits, steps)
        for r in range(4):
            alone = sampling.Sampler([params[r]], [row_seeds[r]], [histories[r]], VOCABULARY, logits.device)
            assert int(alone(logits[r : r + 1], [steps[r]])) == int(together[r])


def test_the_penalty_counts_what_was_drawn():
    """A penalty so strong that no token comes twice while there are others."""
    logits = some_logits(6, rows=1).abs() + 1
    params = SamplingParams(repetition_penalty=1e6)
    sampler = sampling.Sampler([params], [0], [[0]], VOCABULARY, logits.device)
    tokens = [int(sampler(logits, [step])) for step in range(VOCABULARY - 1)]
    assert sorted(tokens) == list(range(1, VOCABULARY))


def test_a_temperature_near_zero_is_greedy_and_finite():
    logits = some_logits(7) * 100
    sampler = sampling.Sampler([SamplingParams(temperature=1e-30)] * 3, [1, 2, 3], [[0]] * 3, VOCABULARY, logits.device)
    assert sampler(logits, [0, 0, 0]).tolist() == logits.argmax(-1).tolist()
