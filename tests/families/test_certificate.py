"""A certificate is zero for the same weights, small for rounded ones, and fails for wrong ones."""

from __future__ import annotations

import json
import math

import pytest
import torch

from bedplate.errors import WeightsError
from bedplate.families.certificate import EXACT, LIMITS, answer, certify, compare, limits_for, prompt_tokens
from bedplate.families.model import Model


def test_the_same_weights_give_zero(hf_folder, tmp_path):
    folder = hf_folder()
    found = certify(Model.load(folder), lambda: Model.load(folder), stored="float32", what="x")
    assert (found.greatest_logit_error, found.mean_kl, found.greatest_kl, found.same_argmax) == (0, 0, 0, 1)
    assert found.same_tokens
    assert found.limits == EXACT
    found.save(tmp_path)
    assert json.loads((tmp_path / "certificate.json").read_text()) == found.facts()


def test_rounding_is_measured(hf_folder, tmp_path):
    model = Model.load(hf_folder())
    model.save(tmp_path / "half", dtype=torch.bfloat16)
    found = certify(model, lambda: Model.load(tmp_path / "half"), stored="bfloat16", what="x")
    assert 0 < found.greatest_logit_error < 1
    assert 0 < found.mean_kl <= found.greatest_kl < 1e-3


def test_swapped_heads_fail_by_name(hf_folder, tmp_path):
    model, wrong = Model.load(hf_folder()), Model.load(hf_folder())
    with torch.no_grad():
        q = wrong.net.get_parameter("blocks.0.0.sublayer.q.weight")
        q.copy_(q.flip(0))
    with pytest.raises(WeightsError, match=r"the import of y: stored as float32 .* greatest logit error"):
        certify(model, lambda: wrong, stored="float32", what="the import of y")


def test_weights_that_are_not_numbers_fail(hf_folder):
    model, wrong = Model.load(hf_folder()), Model.load(hf_folder())
    with torch.no_grad():
        wrong.net.get_parameter("norm.weight")[0] = math.nan
    with pytest.raises(WeightsError, match="nan"):
        certify(model, lambda: wrong, stored="bfloat16", what="y")


def test_a_source_whose_answers_are_no_numbers_is_named(hf_folder):
    broken = Model.load(hf_folder())
    with torch.no_grad():
        broken.net.get_parameter("norm.weight")[0] = math.inf
    with pytest.raises(WeightsError, match="the import of y: the source's own answers aren't finite numbers"):
        certify(broken, lambda: broken, stored="float32", what="the import of y")


def test_another_tokenizer_fails(hf_folder):
    model, wrong = Model.load(hf_folder()), Model.load(hf_folder())
    wrong.tokenizer = None
    with pytest.raises(WeightsError, match="tokenizer"):
        certify(model, lambda: wrong, stored="float32", what="y")


def test_kl_equals_torchs(hf_folder):
    a, b = Model.load(hf_folder(seed=1)), Model.load(hf_folder(seed=2))
    source = answer(a)
    result = answer(b, source.tokens)
    found = compare(source, result, stored="float32", limits=EXACT)
    p, q = (torch.cat(x.logits).double().log_softmax(-1) for x in (source, result))
    expected = torch.nn.functional.kl_div(q, p, log_target=True, reduction="batchmean")
    assert math.isclose(found.mean_kl, expected.item(), rel_tol=1e-9)


def test_without_a_tokenizer_the_prompts_are_fixed_ids(hf_folder):
    model = Model.load(hf_folder(tokenizer=False, max_position_embeddings=16))
    prompts = prompt_tokens(model)
    assert all(len(ids) == 16 and int(ids.max()) < 400 for ids in prompts)
    assert all(torch.equal(a, b) for a, b in zip(prompts, prompt_tokens(model), strict=True))


def test_limits_are_exact_where_the_type_holds_the_source():
    assert limits_for(torch.bfloat16, "bfloat16") == limits_for(torch.bfloat16, "float32") == EXACT
    assert limits_for(torch.float32, "bfloat16") == limits_for(torch.float16, "bfloat16") == LIMITS["bfloat16"]
    assert limits_for(torch.float32, "q8_0") == LIMITS["q8_0"]
