"""Initial values from the parameter table and named generators: they depend on a parameter's name and the seed."""

from __future__ import annotations

import math

import torch

from bedplate.config.randomness import fold_in
from bedplate.nn.decoder import Decoder
from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_decoder import EncoderDecoder
from bedplate.nn.parameters import ParameterInfo, parameter_table

EMBEDDING_STD = 0.02


def initialise(net: Decoder | Encoder | EncoderDecoder, seed: int) -> None:
    """Set every parameter of `net`, which must be on CPU in fp32.

    Matrices are normal with standard deviation 1 / sqrt(fan_in); those that write into the residual stream are divided
    by sqrt(2 * blocks) besides (GPT-2, Radford 2019), blocks that are run again counted again, so that its size doesn't
    grow with depth. Embeddings 0.02, norms 1, biases and states 0. An encoder-decoder's embedding that is a head too,
    whose input is scaled (T5), is as much larger: logits begin of the same size as other models', and it learns as
    fast.
    """
    table, depth = parameter_table(net), _depth(net)
    for name, parameter in net.named_parameters():
        info = table[name]
        with torch.no_grad():
            if info.role == "norm":
                parameter.fill_(1.0)
            elif info.role in ("bias", "state"):
                parameter.zero_()
            else:
                generator = torch.Generator().manual_seed(fold_in(seed, "initialise", name))
                scale = _head_scale(net) if parameter is net.embed.weight else 1.0
                parameter.normal_(0.0, _std(info, depth) / scale, generator=generator)


def _depth(net: Decoder | Encoder | EncoderDecoder) -> int:
    """How many blocks are run: one that is shared counts each time."""
    stacks = (net.encoder, net.decoder) if isinstance(net, EncoderDecoder) else (net,)
    return sum(len(stack.order) for stack in stacks)


def _std(info: ParameterInfo, blocks: int) -> float:
    if info.role in ("embedding", "head"):
        return EMBEDDING_STD
    residual = math.sqrt(2 * blocks) if info.residual or info.shard == 1 else 1.0
    return 1 / math.sqrt(info.fan_in) / residual


def _head_scale(net: Decoder | Encoder | EncoderDecoder) -> float:
    """What the hidden states are multiplied by before an encoder-decoder's embedding makes logits of them; else 1."""
    return net.decoder.head_scale if isinstance(net, EncoderDecoder) and net.decoder.head is None else 1.0
