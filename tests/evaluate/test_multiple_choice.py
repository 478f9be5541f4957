"""Choices scored by log-likelihood: by hand, through the KV-less batch, and with the rules of lm-eval."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bedplate.console import Console
from bedplate.errors import InputError, TokenizerError
from bedplate.evaluate.multiple_choice import Answered, answer, encode_pair, summarise
from bedplate.evaluate.short import evaluate_model
from bedplate.families.model import Model
from bedplate.tasks.item import MultipleChoice, Task

ITEMS = [
    MultipleChoice("a", "Question: What?\nAnswer:", ("yes", "no, never"), 0),
    MultipleChoice("b", "Which letter?\nAnswer:", ("A", "B", "C", "D"), 2, group="letters"),
]


@pytest.fixture(scope="module")
def model(make_model):
    return make_model()


def by_hand(model, context, continuation):
    before, after = list(model.tokenizer.encode(context)), list(model.tokenizer.encode(continuation))
    with torch.no_grad():
        log_p = model(torch.tensor([before + after])).log_softmax(-1)[0]
    return sum(float(log_p[len(before) - 1 + i, token]) for i, token in enumerate(after))


def test_log_likelihoods_by_hand(model):
    for answered, item in zip(answer(model, ITEMS), ITEMS, strict=True):
        expected = [by_hand(model, item.context, " " + choice) for choice in item.choices]
        np.testing.assert_allclose(answered.log_likelihoods, expected, rtol=1e-4)
        assert answered.cut == 0


def test_normalising_counts_characters_of_the_choice_alone():
    item = MultipleChoice("x", "Q", ("ab", "éééé"), 1)
    answered = Answered(item, (-2.0, -3.0), 0)
    assert (answered.picked, answered.picked_norm) == (0, 1)  # -1.0 against -0.75: four characters, not eight bytes
    assert Answered(item, (-2.0, -2.0), 0).picked == 0


def test_spaces_at_the_contexts_end_belong_to_the_continuation(byte_tokenizer):
    before, after = encode_pair(byte_tokenizer, "Answer:  ", "yes")
    assert byte_tokenizer.decode(before) == "Answer:"
    assert byte_tokenizer.decode(after) == "  yes"


def test_a_prompt_too_long_loses_its_start_and_says_so(make_model):
    model = make_model(context=16)
    item = MultipleChoice("long", "x" * 30 + "Answer:", ("yes", "n"), 0)
    (answered,) = answer(model, [item])
    assert answered.cut == 37 + 4 - 17  # the longer choice; its last token is never an input
    inputs = ("x" * 30 + "Answer: yes")[-17:]
    assert answered.log_likelihoods[0] == pytest.approx(by_hand(model, inputs[:-4], " yes"), rel=1e-4)


def test_an_empty_prompt_starts_with_bos(model):
    (answered,) = answer(model, [MultipleChoice("e", "", ("a",), 0)])
    with torch.no_grad():
        log_p = model(torch.tensor([[model.tokenizer.bos_id, *model.tokenizer.encode(" a")]])).log_softmax(-1)[0]
    ids = model.tokenizer.encode(" a")
    assert answered.log_likelihoods[0] == pytest.approx(float(log_p[0, ids[0]] + log_p[1, ids[1]]), rel=1e-4)


def test_summary_has_standard_errors_and_groups():
    task = Task("t", ITEMS, 10, 0, "somewhere")
    answered = [Answered(ITEMS[0], (-1.0, -2.0), 0), Answered(ITEMS[1], (-1.0, -2.0, -3.0, -4.0), 3)]
    summary = summarise(task, answered)
    assert (summary["acc"], summary["items"], summary["available"], summary["cut_items"]) == (0.5, 2, 10, 1)
    assert summary["acc_stderr"] == pytest.approx(math.sqrt(0.5 / 1) / math.sqrt(2))
    assert summary["groups"]["letters"] == {
        "items": 1, "acc": 0.0, "acc_stderr": None, "acc_norm": 0.0, "acc_norm_stderr": None,
    }  # fmt: skip
    assert summary["chance"] == pytest.approx((1 / 2 + 1 / 4) / 2)


def test_a_model_without_tokenizer_is_an_error(model):
    with pytest.raises(TokenizerError, match="no tokenizer"):
        answer(Model(model.config, model.net), ITEMS)


def test_the_short_form_prints_a_table(model, tmp_path, shared_data, capsys):
    model.save(tmp_path / "model")
    results = evaluate_model(tmp_path / "model", ["arc_easy", "piqa"], 6, shared_data, Console.plain())
    assert [r["items"] for r in results] == [6, 6]
    shown = capsys.readouterr().err
    assert "arc_easy" in shown
    assert "±" in shown
    with pytest.raises(InputError):
        evaluate_model(tmp_path / "absent", ["piqa"], 6, shared_data, Console.quiet())
