"""Mixtral's and Qwen3-MoE's config.json: read as transformers reads it, both spellings, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from cases_moe import CASES
from safetensors.torch import load_file, save_file

from bedplate.errors import WeightsError
from bedplate.families.mixtral_config import MixtralConfig
from bedplate.families.model import load
from bedplate.families.qwen3_moe_config import Qwen3MoeConfig

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "vocab_size": 100,
}
READERS = {"mixtral": MixtralConfig, "qwen3_moe": Qwen3MoeConfig}


@pytest.mark.parametrize("model_type", READERS)
def test_what_a_file_leaves_out_is_what_transformers_assumes(model_type: str) -> None:
    ours = READERS[model_type].from_hf(SIZES | {"model_type": model_type})
    theirs: Any = transformers.AutoConfig.for_model(model_type, **SIZES)
    for ours_has, value in {
        "kv_heads": theirs.num_key_value_heads,
        "head_size": getattr(theirs, "head_dim", None) or 8,
        "rope_theta": theirs.rope_parameters["rope_theta"],
        "rms_norm_eps": theirs.rms_norm_eps,
        "max_position_embeddings": theirs.max_position_embeddings,
        "tie_word_embeddings": theirs.tie_word_embeddings,
        "sliding_window": theirs.sliding_window,
        "num_experts": theirs.num_experts,
        "num_experts_per_tok": theirs.num_experts_per_tok,
        "expert_size": getattr(theirs, "moe_intermediate_size", theirs.intermediate_size),
        "bos_token_id": theirs.bos_token_id,
        "eos_token_id": theirs.eos_token_id,
    }.items():
        assert getattr(ours, ours_has) == value, ours_has
    if isinstance(ours, Qwen3MoeConfig):
        assert ours.norm_topk_prob == theirs.norm_topk_prob
        assert ours.decoder_sparse_step == theirs.decoder_sparse_step


def test_the_number_of_experts_in_either_spelling() -> None:
    found = SIZES | {"model_type": "qwen3_moe"}
    older, newer = ({**found, key: 24} for key in ("num_experts", "num_local_experts"))
    assert Qwen3MoeConfig.from_hf(older) == Qwen3MoeConfig.from_hf(newer)
    written = Qwen3MoeConfig.from_hf(newer).to_hf()
    assert written["num_experts"] == written["num_local_experts"] == 24
    with pytest.raises(WeightsError, match=r"num_experts and num_local_experts: \[24, 32\]"):
        Qwen3MoeConfig.from_hf(older | {"num_local_experts": 32})


def test_real_configs_are_read() -> None:
    """As Mixtral-8x7B-v0.1 and Qwen3-30B-A3B have them on the hub, keys of older releases included."""
    mixtral = MixtralConfig.from_hf({
        "architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2,
        "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
        "max_position_embeddings": 32768, "model_type": "mixtral", "num_attention_heads": 32, "num_experts_per_tok": 2,
        "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8, "output_router_logits": False,
        "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02, "sliding_window": None,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16", "transformers_version": "4.36.0.dev0",
        "use_cache": True, "vocab_size": 32000,
    })  # fmt: skip
    assert (mixtral.num_experts, mixtral.head_size, mixtral.rope_theta) == (8, 128, 1e6)
    qwen = Qwen3MoeConfig.from_hf({
        "architectures": ["Qwen3MoeForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": 151643, "decoder_sparse_step": 1, "eos_token_id": 151645, "head_dim": 128,
        "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 6144,
        "max_position_embeddings": 40960, "max_window_layers": 48, "mlp_only_layers": [], "model_type": "qwen3_moe",
        "moe_intermediate_size": 768, "norm_topk_prob": True, "num_attention_heads": 32, "num_experts": 128,
        "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4, "output_router_logits": False,
        "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001,
        "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "transformers_version": "4.51.0", "use_cache": True, "use_sliding_window": False, "vocab_size": 151936,
    })  # fmt: skip
    assert (qwen.num_experts, qwen.num_experts_per_tok, qwen.expert_size, qwen.norm_topk_prob) == (128, 8, 768, True)


@pytest.mark.parametrize("model_type", READERS)
@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"num_local_experts": 4, "num_experts_per_tok": 5}, "num_experts_per_tok 5, and there are 4 experts"),
        ({"num_local_experts": 0}, "num_experts"),
        ({"num_local_experts": 10**9}, "num_experts"),
        ({"num_local_experts": 2**18, "num_hidden_layers": 2}, "2 layers of 262144 experts"),
        ({"is_causal": False}, "is_causal=False"),
        ({"intermediate_size": 2**54}, "can be addressed"),
        ({"hidden_act": "tanh"}, "hidden_act"),
        ({"expert_capacity": 4}, "expert_capacity"),
        ({"shared_expert_intermediate_size": 96}, "shared_expert_intermediate_size"),
        ({"num_key_value_heads": 3}, "num_key_value_heads 3"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(model_type: str, keys: dict[str, Any], named: str) -> None:
    found = SIZES | {"model_type": model_type, "num_key_value_heads": 4} | keys
    with pytest.raises(WeightsError, match=named):
        READERS[model_type].from_hf(found)


def test_experts_too_many_to_address_together_are_refused() -> None:
    with pytest.raises(WeightsError, match="128 experts of 4503599627370496"):
        Qwen3MoeConfig.from_hf(SIZES | {"num_key_value_heads": 4, "moe_intermediate_size": 2**52})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = transformers.MixtralConfig(**SIZES, num_key_value_heads=4, num_local_experts=3)
    made = tmp_path_factory.mktemp("theirs")
    transformers.MixtralForCausalLM(config).save_pretrained(made)
    return made


@pytest.mark.parametrize("problem", ["missing", "unknown", "misshapen"])
def test_an_expert_that_does_not_fit_is_named(folder: Path, tmp_path: Path, problem: str) -> None:
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.1.block_sparse_moe.experts.2.w2.weight"
    if problem == "missing":
        del weights[name]
    elif problem == "misshapen":
        weights[name] = torch.zeros(64, 95)
    else:
        name = name.replace("experts.2", "experts.3")
        weights[name] = torch.zeros(64, 96)
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text())))
    with pytest.raises(WeightsError, match=f"{problem}.*{name}"):
        load(tmp_path)


@pytest.mark.parametrize(
    "case", ["mixtral 5 experts top 3, window, odd heads, tied", "qwen3_moe some layers dense, window"]
)
@torch.no_grad()
def test_decoding_from_a_cache_equals_the_whole_pass(case: str, tmp_path: Path) -> None:
    """One token at a time, so that at each step a few experts get one token and the others none."""
    kind, keys = CASES[case]
    torch.manual_seed(0)
    getattr(transformers, f"{kind}ForCausalLM")(getattr(transformers, f"{kind}Config")(**keys)).save_pretrained(
        tmp_path
    )
    model = load(tmp_path)
    tokens = torch.randint(0, 131, (2, 20))
    cache = model.new_cache()
    steps = [model(tokens[:, :9], cache=cache), *(model(tokens[:, i : i + 1], cache=cache) for i in range(9, 20))]
    whole = model(tokens)
    assert (torch.cat(steps, 1) - whole).norm() < 1e-5 * whole.norm()
