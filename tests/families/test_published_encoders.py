"""Configurations of encoders as their authors published them: read, written back, and of the published size."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bedplate.families.registry import encoder_family_of

_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
_BASE |= {"attention_probs_dropout_prob": 0.1, "hidden_dropout_prob": 0.1, "initializer_range": 0.02}
PUBLISHED: dict[str, dict[str, Any]] = {
    "roberta-base": {
        **_BASE, "architectures": ["RobertaForMaskedLM"], "bos_token_id": 0, "eos_token_id": 2, "hidden_act": "gelu",
        "layer_norm_eps": 1e-05, "max_position_embeddings": 514, "model_type": "roberta", "pad_token_id": 1,
        "type_vocab_size": 1, "vocab_size": 50265,
    },
    "xlm-roberta-base": {
        **_BASE, "architectures": ["XLMRobertaForMaskedLM"], "bos_token_id": 0, "eos_token_id": 2, "output_past": True,
        "layer_norm_eps": 1e-05, "max_position_embeddings": 514, "model_type": "xlm-roberta", "pad_token_id": 1,
        "position_embedding_type": "absolute", "type_vocab_size": 1, "use_cache": True, "vocab_size": 250002,
        "transformers_version": "4.17.0.dev0", "hidden_act": "gelu",
    },
    "albert-base-v2": {
        **_BASE, "architectures": ["AlbertForMaskedLM"], "attention_probs_dropout_prob": 0, "bos_token_id": 2,
        "classifier_dropout_prob": 0.1, "down_scale_factor": 1, "embedding_size": 128, "eos_token_id": 3, "gap_size": 0,
        "hidden_act": "gelu_new", "hidden_dropout_prob": 0, "inner_group_num": 1, "layer_norm_eps": 1e-12,
        "max_position_embeddings": 512, "model_type": "albert", "net_structure_type": 0, "num_hidden_groups": 1,
        "num_memory_blocks": 0, "pad_token_id": 0, "type_vocab_size": 2, "vocab_size": 30000,
    },
    "ModernBERT-base": {
        "architectures": ["ModernBertForMaskedLM"], "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": 50281, "classifier_activation": "gelu", "classifier_bias": False, "classifier_dropout": 0.0,
        "classifier_pooling": "mean", "cls_token_id": 50281, "decoder_bias": True, "deterministic_flash_attn": False,
        "embedding_dropout": 0.0, "eos_token_id": 50282, "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0,
        "gradient_checkpointing": False, "hidden_activation": "gelu", "hidden_size": 768,
        "initializer_cutoff_factor": 2.0, "initializer_range": 0.02, "intermediate_size": 1152, "layer_norm_eps": 1e-05,
        "local_attention": 128, "local_rope_theta": 10000.0, "max_position_embeddings": 8192, "mlp_bias": False,
        "mlp_dropout": 0.0, "model_type": "modernbert", "norm_bias": False, "norm_eps": 1e-05,
        "num_attention_heads": 12, "num_hidden_layers": 22, "pad_token_id": 50283,
        "position_embedding_type": "absolute", "sep_token_id": 50282, "tie_word_embeddings": True,
        "torch_dtype": "float32", "transformers_version": "4.47.0.dev0", "vocab_size": 50368,
    },
    "esm2_t6_8M_UR50D": {
        "architectures": ["EsmForMaskedLM"], "attention_probs_dropout_prob": 0.0, "classifier_dropout": None,
        "emb_layer_norm_before": False, "esmfold_config": None, "hidden_act": "gelu", "hidden_dropout_prob": 0.0,
        "hidden_size": 320, "initializer_range": 0.02, "intermediate_size": 1280, "is_folding_model": False,
        "layer_norm_eps": 1e-05, "mask_token_id": 32, "max_position_embeddings": 1026, "model_type": "esm",
        "num_attention_heads": 20, "num_hidden_layers": 6, "pad_token_id": 1, "position_embedding_type": "rotary",
        "token_dropout": True, "torch_dtype": "float32", "transformers_version": "4.25.0.dev0", "use_cache": True,
        "vocab_list": None, "vocab_size": 33,
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "positions", "millions"), [
    ("roberta-base", 512, 124.7), ("xlm-roberta-base", 512, 278.3), ("albert-base-v2", 512, 11.2),
    ("ModernBERT-base", 8192, 149.7), ("esm2_t6_8M_UR50D", 1026, 7.5),
])  # fmt: skip
def test_configurations_as_they_are_published_are_read(name: str, positions: int, millions: float) -> None:
    found = PUBLISHED[name]
    family = encoder_family_of(found["model_type"], name)
    config = family.read_config(found, name)
    assert (config.head, config.positions) == ("masked", positions)
    assert config.to_hf()["architectures"] == found["architectures"]
    assert family.read_config(config.to_hf(), name) == config
    with torch.device("meta"):
        net = family.build(config)
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 1) == millions
