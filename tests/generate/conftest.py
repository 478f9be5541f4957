"""Tiny models with a tokenizer trained on the spot, and a real chat model where its file has been fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bedplate.codecs.text import TextTokenizer
from bedplate.families.llama import build
from bedplate.families.llama_config import LlamaConfig
from bedplate.generate.model import TextModel

MakeModel = Callable[..., TextModel]

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny products only lose by threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    """Byte-level BPE of 400 tokens, three of them special, trained on this folder's sources, with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([Path(__file__).read_text()], trainer)
    settings = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    return TextTokenizer(backend.to_str(), settings, chat_template=TEMPLATE)


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """`make_model(tokenizer, num_hidden_layers=1)`: a random model whose distributions are neither flat nor certain."""
    return _random_model


def _random_model(tokenizer: TextTokenizer | None, *, seed: int = 0, **changes: Any) -> TextModel:
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape |= {"num_key_value_heads": 2, "vocab_size": 400, "max_position_embeddings": 128}
    shape |= {"bos_token_id": 0, "eos_token_id": 2}
    config = LlamaConfig.model_validate(shape | changes)
    net = build(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (1.0 if parameter.dim() == 1 else 0.35))
    return TextModel(config, net, tokenizer)


@pytest.fixture(scope="session")
def model(tokenizer: TextTokenizer) -> TextModel:
    return _random_model(tokenizer)


@pytest.fixture(scope="session")
def windowed(tokenizer: TextTokenizer) -> TextModel:
    """Every layer sees 5 positions."""
    return _random_model(tokenizer, model_type="mistral", windows=(5, 5), num_key_value_heads=1)
