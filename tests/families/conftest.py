"""A real GGUF, and tiny models made by transformers with tokenizers trained on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Folder = Callable[..., Path]


@pytest.fixture(scope="session")
def byte_level_json() -> str:
    """A tokenizer.json: byte-level BPE with GPT-2's cut, 400 tokens, trained on this folder's sources."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([Path(__file__).read_text()], trainer)
    return backend.to_str()


@pytest.fixture
def hf_folder(tmp_path: Path, byte_level_json: str) -> Folder:
    """`hf_folder("qwen2", head_dim=8)`: a tiny random model that transformers saved, 400 tokens, and its tokenizer."""

    def make(kind: str = "llama", *, name: str = "hf", tokenizer: bool = True, seed: int = 0, **changes: Any) -> Path:
        from transformers import AutoConfig, AutoModelForCausalLM

        shape = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 6}
        shape |= {"num_key_value_heads": 2, "vocab_size": 400, "max_position_embeddings": 256}
        shape |= {"head_dim": 8, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0}
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(shape | changes)))
        with torch.no_grad():
            for parameter in model.parameters():  # biases and norms start as constants, which would hide mistakes
                parameter.add_(torch.randn_like(parameter) * 0.05)
        folder = tmp_path / name
        model.save_pretrained(folder)
        if tokenizer:
            (folder / "tokenizer.json").write_text(byte_level_json)
            settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
            settings |= {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
            (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        return folder

    return make
