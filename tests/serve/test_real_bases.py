"""SmolLM2 and MiniLM, served: the real things through the official client."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from bedplate.families.encoder_model import EncoderModel
from bedplate.generate.model import load_text

pytestmark = pytest.mark.slow

QUESTIONS = (
    "What is the capital of France?",
    "Name three colours.",
    "What is two plus two?",
    "Who wrote Hamlet?",
)


@pytest.fixture(scope="module")
def server(serving, smollm2, minilm):
    with serving(f"smollm2={smollm2}", f"minilm={minilm}") as running:
        yield running


def test_four_questions_at_once_are_answered_as_each_alone(server, smollm2):
    model = load_text(smollm2, dtype="float32")
    wanted = [model.chat([{"role": "user", "content": q}], max_tokens=24).text for q in QUESTIONS]
    assert "Paris" in wanted[0]
    found = [""] * len(QUESTIONS)

    def ask(i):
        message = {"role": "user", "content": QUESTIONS[i]}
        options = {"model": "smollm2", "messages": [message], "temperature": 0, "max_tokens": 24}
        for chunk in server.client().chat.completions.create(**options, stream=True):
            found[i] += chunk.choices[0].delta.content or ""

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(QUESTIONS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == wanted


def test_vectors_are_those_of_the_encoder(server, minilm):
    texts = ["The cat sits on the mat.", "A cat is sitting on a mat.", "The exchange rate fell on Monday."]
    wanted = EncoderModel.load(minilm).embed(texts)
    found = np.array([d.embedding for d in server.client().embeddings.create(model="minilm", input=texts).data])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert found[0] @ found[1] > 0.8 > 0.3 > found[0] @ found[2]
