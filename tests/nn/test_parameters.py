"""The parameter table knows every parameter of every variant, once, and says what its shape says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bedplate.errors import InternalError
from bedplate.families.llama_config import LlamaConfig
from bedplate.nn.context import Context
from bedplate.nn.decoder import Decoder
from bedplate.nn.parameters import parameter_table
from bedplate.nn.residual import Block, Residual


def test_every_parameter_stands_in_the_table_once(decoder: Decoder, config: LlamaConfig) -> None:
    table = parameter_table(decoder)
    parameters = dict(decoder.named_parameters())
    assert list(table) == list(parameters)
    assert ("head.weight" in table) is not config.tie_word_embeddings
    for name, info in table.items():
        shape = tuple(parameters[name].shape)
        expected = {
            "embedding": (info.fan_in, info.fan_out),
            "hidden": (info.fan_out, info.fan_in),
            "head": (info.fan_out, info.fan_in),
            "norm": (info.fan_out,),
            "bias": (info.fan_out,),
        }[info.role]
        assert shape == expected, name
        role = {1: ("norm", "bias"), 2: ("embedding", "hidden", "head")}[len(shape)]
        assert info.role in role, name
        assert (info.role == "bias") is name.endswith(".bias"), name
        assert ("norm" in name) is (info.role == "norm"), name
        assert info.shard is None or (info.role in ("hidden", "bias") and info.shard < len(shape)), name
        assert info.partial_gradient is any(part in name for part in ("q_norm", "k_norm")), name


def test_maps_into_the_residual_stream_are_cut_by_their_inputs(decoder: Decoder) -> None:
    table = parameter_table(decoder)
    for name, info in table.items():
        if info.role == "hidden":
            assert info.shard == (1 if name.endswith(("o.weight", "down.weight")) else 0), name
        if info.role == "bias":
            assert info.shard == (None if name.endswith(("o.bias", "down.bias")) else 0), name


def test_as_many_numbers_as_transformers(decoder: Decoder, config: LlamaConfig) -> None:
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    found = config.to_hf()
    with torch.device("meta"):
        theirs = AutoModelForCausalLM.from_config(CONFIG_MAPPING[found["model_type"]](**found))
    theirs.tie_weights()
    assert sum(p.numel() for p in decoder.parameters()) == sum(p.numel() for p in theirs.parameters())


class _Undescribed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return x * self.gate


class _Record:
    def build(self, width: int) -> nn.Module:
        return _Undescribed(width)


class _HalfDescribed(_Undescribed):
    def parameter_info(self) -> dict[str, object]:
        return {}


@pytest.mark.parametrize("kind", [_Undescribed, _HalfDescribed])
def test_a_parameter_that_nobody_describes_is_an_error_that_names_it(kind: type[_Undescribed]) -> None:
    net = Decoder(8, 5, [Block(Residual(_Record()))], None, tied=True)
    net.blocks[0][0].sublayer = kind(8)
    with pytest.raises(InternalError, match=rf"blocks\.0\.0\.sublayer\.gate \({kind.__name__}\)"):
        parameter_table(net)


def test_equal_records_make_modules_of_their_own(decoder: Decoder) -> None:
    assert len({id(m) for m in decoder.modules()}) == len(list(decoder.modules()))
    pointers = [p.data_ptr() for p in decoder.parameters()]
    assert len(set(pointers)) == len(pointers)
