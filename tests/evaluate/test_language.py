"""Bits per byte: the window rule, and equality with transformers' own loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bedplate.errors import InputError, UserError
from bedplate.evaluate.language import score_documents, text_perplexity, windows_of
from bedplate.evaluate.scoring import Window, score


@given(length=st.integers(1, 200), context=st.integers(1, 40), data=st.data())
def test_every_token_is_scored_once_with_enough_context(length, context, data):
    stride = data.draw(st.integers(1, context))
    document = np.arange(1000, 1000 + length + 1)  # BOS is 1000, END the last
    windows = windows_of(document, context, stride)
    assert np.concatenate([w.targets for w in windows]).tolist() == document[1:].tolist()
    for number, window in enumerate(windows):
        assert len(window.inputs) <= context
        assert window.inputs[-1] + 1 == window.targets[-1]  # the last target follows the last input
        first = len(window.inputs) - len(window.targets)  # inputs that nothing is scored after
        assert first == 0 if number == 0 else first >= context - stride
    assert windows[0].inputs[0] == 1000


@pytest.fixture(scope="module")
def model(make_model):
    return make_model()


def direct_nats(model, inputs, targets):
    """One window, no batching, from the logits."""
    with torch.no_grad():
        log_p = model(torch.tensor([list(inputs)])).log_softmax(-1)[0]
    at = range(len(inputs) - len(targets), len(inputs))
    return [-float(log_p[i, t]) for i, t in zip(at, targets, strict=True)]


def test_batching_changes_nothing(model):
    rng = np.random.default_rng(0)
    inputs = [rng.integers(0, 257, n) for n in (1, 30, 7, 7, 12, 30, 2)]
    windows = [Window(i, rng.integers(0, 257, max(1, len(i) // 2))) for i in inputs]
    windows.append(Window(inputs[1], rng.integers(0, 257, 3)))  # shares its forward pass
    for batch_tokens in (1, 40, 4096):
        for window, nats in zip(windows, score(model, windows, batch_tokens=batch_tokens), strict=True):
            np.testing.assert_allclose(nats, direct_nats(model, window.inputs, window.targets), rtol=1e-4, atol=1e-5)


def test_a_capped_head_is_scored_as_the_model_bends_it(make_model):
    model = make_model()
    model.net.softcap = 1.5
    inputs, targets = np.arange(20), np.arange(100, 112)
    (nats,) = score(model, [Window(inputs, targets)])
    np.testing.assert_allclose(nats, direct_nats(model, inputs, targets), rtol=1e-4, atol=1e-5)


def test_equals_transformers(model, tmp_path):
    transformers = pytest.importorskip("transformers")
    model.save(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    document = np.array([256, *b"def f(x):\n    return x\n", 256])
    spread = score_documents(model, [document], context=64)
    with torch.no_grad():
        ids = torch.tensor(document)[None]
        loss = theirs(ids, labels=ids).loss.item()
    assert spread.nats[0] / spread.tokens[0] == pytest.approx(loss, rel=1e-5)
    assert spread.tokens[0] == len(document) - 1
    assert spread.perplexity == pytest.approx(np.exp(loss), rel=1e-4)


def test_long_documents_equal_their_windows_by_hand(model):
    document = np.array([256, *range(60), 256])
    spread = score_documents(model, [document, document[:9]], context=16, stride=5)
    by_hand, covered = [], 0
    for start in range(0, 61, 5):
        end = min(start + 16, 61)
        if covered < end:
            by_hand += direct_nats(model, document[start:end], document[covered + 1 : end + 1])
            covered = end
    assert len(by_hand) == 61
    assert spread.nats[0] == pytest.approx(sum(by_hand), rel=1e-5)
    assert spread.nats[1] == pytest.approx(sum(direct_nats(model, document[:8], document[1:9])), rel=1e-5)


def test_plain_text_is_scored_from_its_second_token(model):
    text = "import os\n"
    ids = list(model.tokenizer.encode(text))
    expected = np.exp(np.mean(direct_nats(model, ids[:-1], ids[1:])))
    assert text_perplexity(model, text) == pytest.approx(expected, rel=1e-5)
    assert text_perplexity(model, text * 9, tokens=len(ids)) == pytest.approx(expected, rel=1e-5)


def test_nothing_to_score_and_bad_strides_are_errors(model):
    with pytest.raises(InputError, match="no held-out documents"):
        score_documents(model, [], context=8)
    with pytest.raises(UserError, match="stride 9 with context 8"):
        score_documents(model, [np.array([256, 256])], context=8, stride=9)
    with pytest.raises(InputError, match="the text has 1 tokens"):
        text_perplexity(model, "a")
