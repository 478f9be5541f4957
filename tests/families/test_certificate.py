"""A certificate is zero for the same weights, small for rounded ones, and fails for wrong ones."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from bedplate.errors import WeightsError
from bedplate.families.certificate import EXACT, LIMITS, answer, certify, compare, limits_for, prompt_tokens
from bedplate.families.model import Model
from bedplate.families.rounding import ROUNDING


def test_the_same_weights_give_zero(hf_folder, tmp_path):
    folder = hf_folder()
    found = certify(Model.load(folder), lambda: Model.load(folder), stored="float32", what="x")
    assert (found.greatest_logit_error, found.mean_kl, found.greatest_kl, found.same_argmax) == (0, 0, 0, 1)
    assert found.same_tokens
    assert found.limits == EXACT
    assert (found.greatest_tensor_error, found.worst_tensor) == (0, "model.embed_tokens.weight")
    found.save(tmp_path)
    assert json.loads((tmp_path / "certificate.json").read_text()) == found.facts()


def test_rounding_is_measured(hf_folder, tmp_path):
    model = Model.load(hf_folder())
    model.save(tmp_path / "half", dtype=torch.bfloat16)
    found = certify(model, lambda: Model.load(tmp_path / "half"), stored="bfloat16", what="x")
    assert 0 < found.greatest_logit_error < 1
    assert 0 < found.mean_kl <= found.greatest_kl < 1e-3
    assert 0 < found.greatest_tensor_error < 2**-8


def q_rows_flipped(net):
    q = net.get_parameter("blocks.0.0.sublayer.q.weight")
    q.copy_(q.flip(0))
    return "q_proj"


def k_heads_swapped(net):
    k = net.get_parameter("blocks.1.0.sublayer.k.weight")
    k.copy_(torch.cat((k[8:], k[:8])))
    return "k_proj"


def rows_of_down_flipped(net):
    down = net.get_parameter("blocks.1.1.sublayer.down.weight")
    down.copy_(down.flip(0))
    return "down_proj"


def norm_shuffled(net):
    norm = net.get_parameter("norm.weight")
    norm.copy_(norm.roll(1))
    return "model.norm"


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16", "q8_0"])
@pytest.mark.parametrize("mistake", [q_rows_flipped, k_heads_swapped, rows_of_down_flipped, norm_shuffled])
def test_a_wrong_tensor_fails_by_name(hf_folder, stored, mistake):
    folder = hf_folder()
    model, wrong = Model.load(folder), Model.load(folder)
    with torch.no_grad():
        name = mistake(wrong.net)
    with pytest.raises(WeightsError, match=rf"the import of y: \S*{name}\S* isn't its source stored as {stored}"):
        certify(model, lambda: wrong, stored=stored, what="the import of y")


def test_a_wrong_configuration_fails_by_its_answers(hf_folder):
    folder = hf_folder()
    model, wrong = Model.load(folder), Model.load(folder, dtype="float32")
    wrong.net._ropes[:] = [replace(rope, theta=500.0) for rope in wrong.net._ropes]
    with pytest.raises(WeightsError, match=r"the import of y: stored as float32 .* greatest logit error"):
        certify(model, lambda: wrong, stored="float32", what="the import of y")


def test_each_tensor_is_judged_by_its_own_type(hf_folder, tmp_path):
    """Norms in fp32 beside matrices in bf16 are rounded when all is stored in bf16; the matrices must stay exact."""
    model = Model.load(hf_folder(dtype=torch.bfloat16))
    norm = model.net.get_parameter("norm.weight")
    norm.data = norm.data.float() * 1.001
    model.save(tmp_path / "half", dtype=torch.bfloat16)
    found = certify(model, lambda: Model.load(tmp_path / "half"), stored="bfloat16", what="x")
    assert 0 < found.greatest_tensor_error < 2**-8
    assert found.worst_tensor == "model.norm.weight"


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("stored", ["float16", "bfloat16", "q8_0"])
def test_what_the_formats_round_is_within_their_bounds(stored, scale):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(64, 96, generator=generator) * torch.rand(64, 1, generator=generator) ** 4 * scale
    if stored == "q8_0":
        kind = GGMLQuantizationType.Q8_0
        again = torch.from_numpy(dequantize(quantize(values.numpy(), kind), kind))
    else:
        again = values.to(getattr(torch, stored)).float()
    bound, error = ROUNDING[stored], (again - values).double().norm()
    assert 0 < error <= bound.relative * values.double().norm() + bound.absolute * math.sqrt(values.numel())


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
