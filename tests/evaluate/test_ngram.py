"""The n-gram baseline: probabilities sum to one, and agree with a direct reading of the Kneser-Ney formulas."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.errors import InputError
from bedplate.evaluate.ngram import FALLBACK_DISCOUNTS, NgramModel, Stream

BOS = 0


def wrap(bodies, cut_last=False):
    documents = [np.array([BOS, *body, BOS]) for body in bodies]
    if cut_last:
        documents[-1] = documents[-1][:-1]
    return documents


def distribution(model, context, vocabulary):
    return np.array(
        [model.probabilities(Stream.of([np.array([BOS, *context, token])]))[-1] for token in range(vocabulary)]
    )


class DirectKneserNey:
    """The textbook recursion over dictionaries, token by token: slow, and shares nothing with the model."""

    def __init__(self, documents, vocabulary, order):
        grams = [Counter() for _ in range(order + 1)]
        for document in documents:
            body = [("s" if i == 0 else int(token)) for i, token in enumerate(document)]
            for end in range(1, len(body)):
                for n in range(1, order + 1):
                    if end + 1 >= n:
                        grams[n][tuple(body[end + 1 - n : end + 1])] += 1
        self.counts = [Counter() for _ in range(order + 1)]
        for n in range(1, order + 1):
            for gram, count in grams[n].items():
                if n == order or gram[0] == "s":
                    self.counts[n][gram] = count
                else:
                    self.counts[n][gram] = sum(1 for longer in grams[n + 1] if longer[1:] == gram)
        self.vocabulary, self.order = vocabulary, order
        self.discounts = [self.discount(n) for n in range(order + 1)]

    def discount(self, n):
        ones = [sum(1 for c in self.counts[n].values() if c == k) for k in range(5)]
        if 0 in ones[1:]:
            return FALLBACK_DISCOUNTS
        y = ones[1] / (ones[1] + 2 * ones[2])
        raw = [k - (k + 1) * y * ones[k + 1] / ones[k] for k in (1, 2, 3)]
        return [d if 0 <= d <= k else FALLBACK_DISCOUNTS[k - 1] for k, d in enumerate(raw, 1)]

    def probability(self, context, token):
        p = 1 / self.vocabulary
        for n in range(1, self.order + 1):
            if n - 1 > len(context):
                break
            h = tuple(context[len(context) - (n - 1) :])
            after = {gram[-1]: c for gram, c in self.counts[n].items() if gram[:-1] == h}
            total = sum(after.values())
            if total == 0:
                continue
            d = self.discounts[n]
            freed = sum(d[min(c, 3) - 1] for c in after.values())
            c = after.get(token, 0)
            p = (c - (d[min(c, 3) - 1] if c else 0)) / total + freed / total * p
        return p


bodies = st.lists(st.lists(st.integers(1, 6), max_size=25), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(bodies=bodies, context=st.lists(st.integers(1, 6), max_size=7), order=st.integers(1, 5), cut=st.booleans())
def test_probabilities_sum_to_one_after_any_context(bodies, context, order, cut):
    if cut and not bodies[-1]:
        bodies = [*bodies, [1]]
    model = NgramModel.train(wrap(bodies, cut), vocabulary=8, order=order)
    probabilities = distribution(model, context, 8)
    assert (probabilities > 0).all()
    assert probabilities.sum() == pytest.approx(1, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(bodies=bodies, context=st.lists(st.integers(1, 6), max_size=6), order=st.integers(1, 5))
def test_equals_the_textbook_recursion(bodies, context, order):
    documents = wrap(bodies)
    model = NgramModel.train(documents, vocabulary=8, order=order)
    direct = DirectKneserNey(documents, 8, order)
    expected = [direct.probability(["s", *context], token) for token in range(8)]
    np.testing.assert_allclose(distribution(model, context, 8), expected, rtol=1e-12)


def test_equals_the_textbook_recursion_with_estimated_discounts():
    rng = np.random.default_rng(0)
    documents = wrap([rng.zipf(1.6, 60).clip(1, 19) for _ in range(12)])
    model, direct = NgramModel.train(documents, 20, order=3), DirectKneserNey(documents, 20, 3)
    assert any(tuple(d) != FALLBACK_DISCOUNTS for d in direct.discounts[1:])
    for document in documents[:2]:
        body = [int(t) for t in document[1:]]
        bits = sum(-np.log2(direct.probability(["s", *body[:i]], token)) for i, token in enumerate(body))
        assert model.bits([document])[0] == pytest.approx(bits, rel=1e-12)


def test_documents_are_scored_independently_of_each_other():
    rng = np.random.default_rng(1)
    documents = wrap([rng.integers(1, 9, n) for n in (0, 5, 40, 1)])
    model = NgramModel.train(documents[:3], vocabulary=10)
    together = model.bits(documents)
    alone = [model.bits([document])[0] for document in documents]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_repeated_text_costs_almost_nothing():
    documents = wrap([list(range(1, 200))] * 50)
    model = NgramModel.train(documents, vocabulary=256)
    assert model.bits(documents[:1])[0] / 200 < 0.1
    assert model.trained_on == 50 * 200


def test_no_training_tokens_is_an_error():
    with pytest.raises(InputError, match="no training tokens"):
        NgramModel.train([], vocabulary=8)
