"""What DeepSeek-V3 has beside what `test_parity` shows: blocks that foresee, read by transformers too, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cases_deepseek import CASES
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, DeepseekV3ForCausalLM
from transformers.modeling_layers import MtpModel

from bedplate.errors import WeightsError
from bedplate.families import deepseek_v3
from bedplate.families.checkpoint import Checkpoint
from bedplate.families.deepseek_v3_config import DeepseekV3Config
from bedplate.families.model import Model, load_net, read_config
from bedplate.families.registry import FAMILIES
from bedplate.nn.decoder import Decoder
from bedplate.nn.initialise import initialise
from bedplate.nn.mask import Mask
from bedplate.nn.multi_token import MultiTokenDecoder

LENGTH, LAYERS, DEPTHS = 21, 3, 2
FORESEEN = f"model.layers.{LAYERS}."
SHAPE = {**CASES["deepseek_v3"][1], "num_nextn_predict_layers": DEPTHS}


def _config(**changes: Any) -> DeepseekV3Config:
    return DeepseekV3Config.from_hf({"model_type": "deepseek_v3", **SHAPE, **changes})


@pytest.fixture(params=[{}, {"tie_word_embeddings": True, "first_k_dense_replace": 9}], ids=["plain", "tied, dense"])
def model(request: pytest.FixtureRequest) -> Model:
    """A model whose every number is random."""
    config = _config(**request.param)
    net = deepseek_v3.build(config)
    initialise(net, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in net.parameters():
            p += torch.randn(p.shape, generator=generator) * 0.2
    return Model(config, net.eval())


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(0, 131, (2, LENGTH), generator=torch.Generator().manual_seed(1))


def _reload(folder: Path) -> Decoder:
    family = FAMILIES["deepseek_v3"]
    config = family.held(read_config(folder), Checkpoint(folder).shapes)
    return load_net(folder, family, config, device="cpu")[0]


@torch.no_grad()
def test_blocks_that_foresee_are_those_of_transformers(
    model: Model, tokens: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It takes these blocks by the number that they have in the one model published with 61.
    monkeypatch.setattr(
        DeepseekV3ForCausalLM, "_keys_to_ignore_on_load_unexpected", [rf"model\.layers\.[{LAYERS}-9].*"]
    )
    model.save(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    foreseeing = MtpModel.from_pretrained(theirs)
    hidden, net = model.hidden(tokens), model.net
    expected = theirs.model(tokens).last_hidden_state
    torch.testing.assert_close(hidden, expected, rtol=1e-4, atol=1e-4)
    assert isinstance(net, MultiTokenDecoder)
    for k, ours in enumerate(net.look_ahead(hidden, tokens), start=1):
        n = LENGTH - k
        expected = foreseeing.forward_layer(
            k - 1, expected[:, :n], torch.arange(n)[None], None, input_ids=tokens[:, k:]
        )
        torch.testing.assert_close(ours[:, :n], expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_padded_rows_foresee_as_rows_alone(model: Model, tokens: Tensor) -> None:
    net, start = model.net, 8
    assert isinstance(net, MultiTokenDecoder)
    valid = torch.arange(LENGTH) >= torch.tensor([[0], [start]])
    positions = (torch.arange(LENGTH) - torch.tensor([[0], [start]])).clamp(min=0)
    mask = Mask(valid=valid)
    batch = net.look_ahead(net(tokens, positions=positions, mask=mask), tokens, positions=positions, mask=mask)
    alone = net.look_ahead(net(tokens[1:, start:]), tokens[1:, start:])
    for k in range(1, DEPTHS + 1):
        torch.testing.assert_close(batch[k - 1][1, start:-k], alone[k - 1][0, :-k], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_writing_with_a_cache_equals_the_whole(model: Model, tokens: Tensor) -> None:
    whole, cache = model.hidden(tokens), model.new_cache()
    pieces = [model.hidden(piece, cache=cache) for piece in tokens.split([9, 1, 1, 4, 1, 5], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-4, atol=1e-4)
    # Of each layer and position the latent and the key that is rotated, whatever the six heads are.
    assert model.net.cache_width == LAYERS * (12 + 6)


@torch.no_grad()
def test_saved_and_read_again(model: Model, tokens: Tensor, tmp_path: Path) -> None:
    model.save(tmp_path)
    again = _reload(tmp_path)
    before = dict(model.net.named_parameters())
    assert before.keys() == dict(again.named_parameters()).keys()
    assert all(torch.equal(before[name], p) for name, p in again.named_parameters())
    assert torch.equal(again(tokens), model.hidden(tokens))
    assert read_config(tmp_path) == model.config


def _rewritten(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def test_copies_of_embedding_and_head_as_published(model: Model, tmp_path: Path) -> None:
    """Every block that foresees repeats them in the published files."""
    model.save(tmp_path)

    def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        embedding = tensors["model.embed_tokens.weight"]
        head = tensors.get("lm_head.weight", embedding)
        copies = {f"{FORESEEN}embed_tokens.weight": embedding, f"{FORESEEN}shared_head.head.weight": head}
        return tensors | {name: t.clone() for name, t in copies.items()}

    _rewritten(tmp_path, copied)
    _reload(tmp_path)
    _rewritten(tmp_path, lambda tensors: tensors | {f"{FORESEEN}shared_head.head.weight": torch.zeros(131, 48)})
    with pytest.raises(WeightsError, match=r"shared_head\.head"):
        _reload(tmp_path)


@torch.no_grad()
def test_a_file_without_the_blocks_that_its_configuration_counts(model: Model, tokens: Tensor, tmp_path: Path) -> None:
    """As transformers saves it."""
    model.save(tmp_path)
    stack = tuple(f"model.layers.{i}." for i in range(LAYERS))
    rest = ("model.embed", "model.norm", "lm_head")
    _rewritten(tmp_path, lambda tensors: {n: t for n, t in tensors.items() if n.startswith(stack + rest)})
    again = _reload(tmp_path)
    assert not isinstance(again, MultiTokenDecoder)
    assert torch.equal(again(tokens), model.hidden(tokens))


def test_a_block_of_which_a_part_is_missing_is_named(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path)
    _rewritten(tmp_path, lambda tensors: {n: t for n, t in tensors.items() if n != f"{FORESEEN}eh_proj.weight"})
    with pytest.raises(WeightsError, match=r"missing: model\.layers\.3\.eh_proj\.weight"):
        _reload(tmp_path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"num_key_value_heads": 2}, "num_key_value_heads=2 beside num_attention_heads=6"),
        ({"scoring_func": "softmax"}, "scoring_func='softmax'"),
        ({"topk_method": "greedy"}, "topk_method='greedy'"),
        ({"moe_layer_freq": 2}, "moe_layer_freq=2"),
        ({"n_group": 3}, "n_routed_experts 8 aren't n_group 3 equal groups"),
        ({"n_group": 8}, "n_routed_experts 8 aren't n_group 8 equal groups of two or more"),
        ({"topk_group": 5}, "topk_group 5 of n_group 4"),
        ({"num_experts_per_tok": 5}, "num_experts_per_tok 5 is more than the 4"),
        ({"qk_rope_head_dim": 5}, "qk_rope_head_dim"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantization_config"),
        ({"index_topk": 2048}, "index_topk=2048"),
        ({"norm_topk_prob": None}, "norm_topk_prob is null"),
        ({"rope_interleave": None}, "rope_interleave is null"),
        ({"n_routed_experts": 2**40}, "n_routed_experts"),
        ({"n_routed_experts": 2**17}, "layers of 131072 experts"),
        ({"n_shared_experts": 2**52}, "n_shared_experts of moe_intermediate_size .* can be addressed"),
        ({"qk_nope_head_dim": 2**57}, "can be addressed"),
        ({"v_head_dim": 2**57}, "can be addressed"),
    ],
)
def test_what_is_not_supported_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(WeightsError, match=problem):
        _config(**changes)


def test_the_published_configuration_is_read(tmp_path: Path) -> None:
    """The keys of DeepSeek-V3's own config.json, less its quantisation."""
    published = {
        "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
        "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"}, "bos_token_id": 0, "eos_token_id": 1,
        "ep_size": 1, "first_k_dense_replace": 3, "hidden_act": "silu", "hidden_size": 7168,
        "initializer_range": 0.02, "intermediate_size": 18432, "kv_lora_rank": 512,
        "max_position_embeddings": 163840, "model_type": "deepseek_v3", "moe_intermediate_size": 2048,
        "moe_layer_freq": 1, "n_group": 8, "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": True,
        "num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128,
        "num_nextn_predict_layers": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
        "rms_norm_eps": 1e-06, "rope_theta": 10000, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
        "rope_scaling": {
            "beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 4096, "type": "yarn",
        },
        "tie_word_embeddings": False, "topk_group": 4, "topk_method": "noaux_tc", "torch_dtype": "bfloat16",
        "transformers_version": "4.33.1", "use_cache": True, "v_head_dim": 128, "vocab_size": 129280,
    }  # fmt: skip
    config = DeepseekV3Config.from_hf(published)
    with torch.device("meta"):
        net = deepseek_v3.build(config)
    assert isinstance(net, MultiTokenDecoder)
    # The paper's figure, and the 14 billion of the block that foresees less its copies of embedding and head.
    stack = sum(p.numel() for name, p in net.named_parameters() if not name.startswith("ahead."))
    assert round(stack / 1e9) == 671
    assert net.cache_width == 61 * 576
    names = deepseek_v3.weights(config).pairs(dict(net.named_parameters()), config.num_hidden_layers)
    assert names["ahead.0.join.weight"] == ("model.layers.61.eh_proj.weight",)
    again = json.loads(json.dumps(config.to_hf()))
    assert DeepseekV3Config.from_hf(again) == config
