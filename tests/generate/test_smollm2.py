"""A real chat model: the same tokens as transformers, and Paris."""

from __future__ import annotations

import pytest
import torch

import bedplate
from bedplate.evaluate.language import text_perplexity

pytestmark = pytest.mark.slow

PROMPTS = [
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n",
    "The three laws of thermodynamics are",
]


def test_64_greedy_tokens_are_those_of_transformers(smollm2):
    """Also in one batch of unequal prompts."""
    from transformers import AutoModelForCausalLM

    ours = bedplate.load(smollm2)
    theirs = AutoModelForCausalLM.from_pretrained(smollm2)
    prompts = [ours.tokenizer.encode(p) for p in PROMPTS]
    batch = ours.generate(prompts, max_tokens=64)
    assert ours.generate(prompts[:1], max_tokens=64)[0].tokens == batch[0].tokens
    for prompt, found in zip(prompts, batch, strict=True):
        expected = theirs.generate(torch.tensor([prompt]), max_new_tokens=64, do_sample=False)
        assert list(found.tokens) == expected[0, len(prompt) :].tolist()


def test_perplexity_of_wikitext_is_that_of_transformers(smollm2, shared_data):
    """The first 1,024 tokens of WikiText-2's test file, in float32 on both sides."""
    from transformers import AutoModelForCausalLM

    text = (shared_data / "wikitext2/word_language_model/data/wikitext-2/test.txt").read_text(encoding="utf-8")
    ours = bedplate.load(smollm2, dtype="float32")
    found = text_perplexity(ours, text, tokens=1024)
    ids = torch.tensor([ours.tokenizer.encode(text)[:1024]])
    theirs = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    with torch.no_grad():
        expected = theirs(ids, labels=ids).loss.exp().item()
    assert found == pytest.approx(expected, rel=0.01)
    assert found == pytest.approx(10.96, rel=0.01)


def test_chat_says_paris(cli, smollm2):
    done = cli("chat", smollm2, "--prompt", "What is the capital of France?", "--temperature", "0")
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
