"""A tiny real model with a real byte-level tokenizer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from bedplate.codecs.text import TextTokenizer
from bedplate.families.llama import build
from bedplate.families.llama_config import LlamaConfig
from bedplate.families.model import Model

END = "<|endoftext|>"


@pytest.fixture(scope="session")
def byte_tokenizer() -> TextTokenizer:
    """256 bytes, then the document boundary."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([END])
    return TextTokenizer(backend.to_str(), {"bos_token": END, "eos_token": END})


@pytest.fixture(scope="session")
def make_model(byte_tokenizer: TextTokenizer) -> Callable[..., Model]:
    """make_model(context=64, seed=0): two layers of width 32, random weights large enough for sharp distributions."""
    torch.set_num_threads(1)

    def make(*, context: int = 64, seed: int = 0, tokenizer: TextTokenizer = byte_tokenizer) -> Model:
        config = LlamaConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=context,
            tie_word_embeddings=True,
            vocab_size=tokenizer.vocab_size,
            bos_token_id=tokenizer.bos_id,
            eos_token_id=tokenizer.eos_id,
        )
        net = build(config)
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in net.named_parameters():
            if name.endswith("norm.weight"):
                torch.nn.init.ones_(parameter)
            else:
                torch.nn.init.normal_(parameter, std=0.3, generator=generator)
        return Model(config, net.eval(), tokenizer)

    return make
