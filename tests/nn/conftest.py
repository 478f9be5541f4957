"""What the tests of the core share: a meter of the tensors that are made, and small decoders of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bedplate.families import llama
from bedplate.families.llama_config import LlamaConfig, RopeScalingConfig
from bedplate.nn.decoder import Decoder
from bedplate.nn.initialise import initialise


class LargestTensor(TorchDispatchMode):
    """`numbers`: how many the largest tensor holds that any operation returned, backward passes included."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.numbers = max([self.numbers, *(x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor))])
        return out


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny products only lose by sharing the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


Meter = Callable[[], AbstractContextManager[LargestTensor]]


@pytest.fixture
def largest_tensor() -> Meter:
    @contextmanager
    def meter() -> Iterator[LargestTensor]:
        with LargestTensor() as mode:
            yield mode

    return meter


_SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 97,
    "max_position_embeddings": 512,
}
_YARN = RopeScalingConfig(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)
_LLAMA3 = RopeScalingConfig(rope_type="llama3", factor=8.0, original_max_position_embeddings=16)
VARIANTS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama-biases-tied": {"qkv_bias": True, "out_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    "llama-odd-heads": {"head_dim": 10, "num_key_value_heads": 4},
    "llama-linear": {"rope_scaling": RopeScalingConfig(rope_type="linear", factor=2.0)},
    "llama-llama3": {"rope_scaling": _LLAMA3},
    "llama-yarn": {"rope_scaling": _YARN},
    "mistral": {"model_type": "mistral", "windows": (5, 5, 5), "num_key_value_heads": 1},
    "qwen2": {"model_type": "qwen2", "qkv_bias": True},
    "qwen2-mixed-windows": {"model_type": "qwen2", "qkv_bias": True, "windows": (None, 3, None)},
    "qwen3": {"model_type": "qwen3", "qk_norm": True, "head_dim": 14, "windows": (None, 4, 4)},
    "qwen3-biases": {"model_type": "qwen3", "qk_norm": True, "qkv_bias": True, "out_bias": True},
}


@pytest.fixture(params=VARIANTS)
def config(request: pytest.FixtureRequest) -> LlamaConfig:
    """The configuration of every variant of the Llama family in turn."""
    return LlamaConfig(**{**_SHAPE, **VARIANTS[request.param]})


@pytest.fixture
def decoder(config: LlamaConfig) -> Decoder:
    """A decoder of each variant with all its parameters random, gains and biases too."""
    return random_decoder(config)


def random_decoder(config: LlamaConfig) -> Decoder:
    net = llama.build(config)
    initialise(net, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            # Large enough for attention to be far from uniform.
            parameter += torch.randn(parameter.shape, generator=generator) * 0.2
    return net
