"""Operation counts of partly trained nets beside what torch counts while they run."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bedplate.deltas.lora import LoraConfig, add_lora
from bedplate.deltas.subset import choose_subset
from bedplate.families import bert, llama
from bedplate.families.bert_config import BertConfig
from bedplate.families.llama_config import LlamaConfig
from bedplate.nn.initialise import initialise
from bedplate.nn.linear import Linear
from bedplate.nn.mask import Mask
from bedplate.objectives.next_token import NextToken
from bedplate.scaling.flops import attention_width, training_flops_per_token
from bedplate.scaling.tuning_flops import net_flops

SHAPE = {
    "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 128,
}  # fmt: skip
ROWS, LENGTH = 2, 64


def decoder(**changes):
    made = llama.build(LlamaConfig(**(SHAPE | changes)))
    initialise(made, 0)
    return made


def chosen(net, delta):
    if delta == "lora":
        add_lora(net, LoraConfig(rank=4), torch.Generator().manual_seed(0))
    elif delta != "full":
        choose_subset(net, delta)
    return net


def counted(made, backward):
    tokens = torch.randint(0, 100, (ROWS, LENGTH))
    batch = {
        "tokens": tokens,
        "targets": tokens.roll(-1, 1),
        "segments": torch.zeros_like(tokens),
        "positions": torch.arange(LENGTH).repeat(ROWS, 1),
        "keep": torch.ones_like(tokens, dtype=torch.bool),
    }
    with counting() as counter:
        hidden = made(batch["tokens"], positions=batch["positions"], mask=Mask(segments=batch["segments"]))
        if not backward:
            hidden @ made.head_weight.t()
            return counter.get_total_flops()
    with counting() as counter:
        NextToken()(made, batch)["next_token"].sum.backward()
    return counter.get_total_flops()


def counting():
    """torch's counter, taught the products that LoRA adds in place to the base's, and oneDNN's."""

    def added(total, a, b, **_):
        return 2 * a[0] * a[1] * b[1]

    def linear(x, weight, *_, **__):
        return 2 * math.prod(x) * weight[0]

    mapping = {torch.ops.aten.addmm_: added, torch.ops.mkldnn._linear_pointwise: linear}
    return FlopCounterMode(display=False, custom_mapping=mapping)


@pytest.mark.parametrize("tied", [False, True])
def test_with_everything_trained_it_is_the_rule_of_training(tied):
    made = decoder(tie_word_embeddings=tied)
    assert net_flops(made, "place").training.of(ROWS, LENGTH) == ROWS * LENGTH * training_flops_per_token(made, LENGTH)


@pytest.mark.parametrize("delta", ["lora", "last-layer", "bitfit", "full"])
def test_beside_torch(delta):
    """Forward exactly. With the backward pass, the scores that are computed again come on top; and the first maps side
    by side, which the rule takes one after another, may cost less."""
    made = chosen(decoder(tie_word_embeddings=True), delta)
    flops = net_flops(made, "place")
    assert counted(made, False) == flops.forward.of(ROWS, LENGTH)
    layers = 1 if delta == "last-layer" else 3
    again = 2 * ROWS * LENGTH * LENGTH * attention_width(made) * layers / 3
    found, expected = counted(made, True), flops.training.of(ROWS, LENGTH) + again
    first_maps = 2 * ROWS * LENGTH * (48 * 48 + 2 * 48 * 24)
    assert expected - first_maps <= found <= expected
    if delta == "full":
        assert found == expected


class Pooled(nn.Module):
    """An encoder with a head on its mean state."""

    def __init__(self, body):
        super().__init__()
        self.body = body
        self.head = Linear(48, 7, role="head")
        nn.init.normal_(self.head.weight)

    @property
    def head_weight(self):
        return self.head.weight


@pytest.mark.parametrize("delta", ["lora", "last-layer", "bitfit"])
def test_a_head_that_is_applied_once_a_row(delta):
    shape = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4}
    body = bert.build(BertConfig(**shape, vocab_size=128, max_position_embeddings=64))
    for p in body.parameters():
        nn.init.normal_(p, std=0.1)
    made = Pooled(chosen(body, delta))
    flops = net_flops(made, "row")
    tokens = torch.randint(0, 100, (ROWS, LENGTH))
    with counting() as counter:
        loss = made.head(made.body(tokens).mean(1)).sum()
    assert counter.get_total_flops() == flops.forward.of(ROWS, LENGTH)
    with counting() as counter:
        loss.backward()
    layers = 1 if delta == "last-layer" else 3
    again = 2 * ROWS * LENGTH * LENGTH * 48 * layers
    expected = flops.training.of(ROWS, LENGTH) - flops.forward.of(ROWS, LENGTH) + again
    first_maps = 2 * ROWS * LENGTH * 3 * 48 * 48
    assert expected - first_maps <= counter.get_total_flops() <= expected


def test_what_is_trained_decides_what_comes_back():
    costs = {delta: net_flops(chosen(decoder(), delta), "place") for delta in ("lora", "last-layer", "bitfit", "full")}
    training = {delta: cost.training.of(ROWS, LENGTH) for delta, cost in costs.items()}
    assert training["last-layer"] < training["bitfit"] < training["lora"] < training["full"]
