"""Operation counts of shared blocks, heads, encoder-decoders and recurrent layers beside what torch counts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bedplate.data.span_corruption import Spans
from bedplate.families import albert, bert, deepseek_v3, mixer, t5
from bedplate.families.albert_config import AlbertConfig
from bedplate.families.bert_config import BertConfig
from bedplate.families.deepseek_v3_config import DeepseekV3Config
from bedplate.families.mixer_config import MixerConfig
from bedplate.families.t5_config import T5Config
from bedplate.nn.initialise import initialise
from bedplate.scaling.flops import (
    forward_flops_per_pair,
    forward_flops_per_token,
    matrix_parameters,
    training_flops_per_pair,
)
from bedplate.train import objective_config as told
from bedplate.train.cost import flops_per_token

LENGTH = 64
SMALL: dict[str, Any] = {
    "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 128,
}  # fmt: skip


def _linear_flops(x: Any, weight: Any, *_: Any, out_shape: Any, **__: Any) -> int:
    return int(2 * math.prod(x) * weight[0])


def counted(run: Any) -> int:
    """Forward operations, by torch."""
    known = {torch.ops.mkldnn._linear_pointwise: _linear_flops}
    with FlopCounterMode(display=False, custom_mapping=known) as counter:
        run()
    return counter.get_total_flops()


def tokens(length: int = LENGTH) -> torch.Tensor:
    return torch.randint(3, 100, (1, length))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_shared_block_counts_each_time(groups: int) -> None:
    config = AlbertConfig(**SMALL, embedding_size=16, num_hidden_groups=groups, head="masked")
    net = albert.build(config)
    initialise(net, 0)
    assert counted(lambda: net(tokens())) == LENGTH * forward_flops_per_token(net, LENGTH)
    # Blocks that are run four times write into the residual stream four times.
    down = net.blocks[0].get_parameter("1.sublayer.down.weight")
    assert down.std().item() == pytest.approx(1 / math.sqrt(80 * 8), rel=0.05)


@pytest.mark.parametrize("tied", [True, False])
def test_a_masked_head_is_asked_at_a_share_of_the_places(tied: bool) -> None:
    net = bert.build(BertConfig(**SMALL, head="masked", tie_word_embeddings=tied))
    initialise(net, 0)
    asked = counted(lambda: net.readout.logits(net.head_states(net(tokens())[:, :16])))
    assert asked == LENGTH * forward_flops_per_token(net, LENGTH, predicted=0.25)
    alone = bert.build(BertConfig(**SMALL))
    assert matrix_parameters(net) == matrix_parameters(alone)
    told_so = flops_per_token(net, told.Masked(rate=0.25), LENGTH)
    assert told_so == 3 * forward_flops_per_token(net, LENGTH, predicted=0.25)


@pytest.mark.parametrize("tied", [True, False])
def test_an_encoder_decoder_reads_and_writes_rows_of_unlike_length(tied: bool) -> None:
    net = t5.build(T5Config(**SMALL, head_dim=12, num_decoder_layers=3, tie_word_embeddings=tied, pad_token_id=0))
    initialise(net, 0)
    source, target = 48, 16

    def run() -> None:
        net.readout.logits(net(tokens(source), tokens(target)))

    assert counted(run) == forward_flops_per_pair(net, source, target)
    assert training_flops_per_pair(net, source, target) == 3 * forward_flops_per_pair(net, source, target)
    said = told.SpanCorruption()
    pair = Spans().lengths(Spans().tokens_for(LENGTH))
    assert flops_per_token(net, said, LENGTH) * LENGTH == training_flops_per_pair(net, *pair)


def test_recurrent_layers() -> None:
    """Of gated linear attention the recurrent form is counted, which the chunks of ours exceed within a chunk."""
    shape = {
        "intermediate_size": 80,
        "num_attention_heads": 4,
        "vocab_size": 128,
        "hidden_size": 48,
        "num_hidden_layers": 2,
    }
    lstm = mixer.build(MixerConfig(**shape, mixers=("lstm", "attention"), lstm_size=40))
    initialise(lstm, 0)
    asked = counted(lambda: lstm.readout.logits(lstm(tokens())))
    assert asked == LENGTH * forward_flops_per_token(lstm, LENGTH)
    linear = mixer.build(MixerConfig(**shape | {"num_hidden_layers": 1}, mixers=("gated_linear",)))
    matrices = matrix_parameters(linear)
    state = 4 * 4 * 6 * 12  # heads, numbers of a key and of a value
    assert forward_flops_per_token(linear, 64) == forward_flops_per_token(linear, 1024) == 2 * matrices + state


def test_latent_attention_and_depths_ahead() -> None:
    net = deepseek_v3.build(
        DeepseekV3Config(
            **SMALL, n_routed_experts=4, num_experts_per_tok=2, n_group=1, topk_group=1, moe_intermediate_size=24,
            first_k_dense_replace=4, kv_lora_rank=16, q_lora_rank=16, qk_nope_head_dim=16, qk_rope_head_dim=8,
            v_head_dim=20, num_nextn_predict_layers=1, n_shared_experts=1,
        )
    )  # fmt: skip
    initialise(net, 0)
    asked = counted(lambda: net.readout.logits(net(tokens())))
    assert asked == LENGTH * forward_flops_per_token(net, LENGTH)
    without, ahead = (flops_per_token(net, told.NextToken(multi_token=w), LENGTH) for w in (0.0, 0.3))
    assert without == 3 * forward_flops_per_token(net, LENGTH)
    join, head = 2 * 48 * 48, 48 * 128
    assert ahead > without + 6 * (join + head)
