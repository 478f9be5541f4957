"""The encoder-decoder's loss beside that of transformers' T5, on the same weights."""

from __future__ import annotations

import os
import shutil

import pytest
import torch

from bedplate.families.model import load_net, read_json
from bedplate.families.registry import seq2seq_family_of
from bedplate.nn.encoder_decoder import EncoderDecoder
from bedplate.objectives.seq2seq import Seq2Seq

VOCABULARY = 53
COMPILER = shutil.which(os.environ.get("CXX", "g++"))


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def models(request, tmp_path_factory):
    """transformers' and ours."""
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    config = T5Config(
        vocab_size=VOCABULARY, d_model=24, d_kv=5, d_ff=32, num_layers=2, num_heads=4, dropout_rate=0.0,
        tie_word_embeddings=request.param, decoder_start_token_id=0,
    )  # fmt: skip
    theirs = T5ForConditionalGeneration(config).eval()
    folder = tmp_path_factory.mktemp("t5")
    theirs.save_pretrained(folder)
    family = seq2seq_family_of("t5", str(folder))
    config = family.read_config(read_json(folder / "config.json"), str(folder))
    net, _ = load_net(folder, family, config, device="cpu")
    assert isinstance(net, EncoderDecoder)
    return theirs, net


@pytest.fixture
def batch():
    """Three sources of 12, 7 and 9 tokens with targets of 6, 8 and 3."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(2, VOCABULARY, (3, 8), generator=generator)
    return {
        "tokens": torch.randint(2, VOCABULARY, (3, 12), generator=generator),
        "valid": torch.arange(12) < torch.tensor([12, 7, 9])[:, None],
        "decoder_tokens": torch.cat([torch.zeros(3, 1, dtype=torch.int64), targets[:, :-1]], dim=1),
        "targets": targets,
        "keep": torch.arange(8) < torch.tensor([6, 8, 3])[:, None],
    }


@pytest.mark.parametrize("compiled", [False, True] if COMPILER else [False])
def test_it_is_the_loss_of_transformers_t5(models, batch, compiled):
    theirs, net = models
    expected = theirs(
        batch["tokens"],
        attention_mask=batch["valid"].long(),
        decoder_input_ids=batch["decoder_tokens"],
        labels=batch["targets"].where(batch["keep"], -100),
    ).loss
    objective = Seq2Seq(compiled=compiled)
    found = objective(net, batch)["seq2seq"].sum / objective.weights(batch)["seq2seq"]
    assert int(objective.weights(batch)["seq2seq"]) == 17
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_z_loss_counts_only_while_the_net_trains(models, batch):
    _, net = models
    logits = net.readout.logits(net(batch["tokens"], batch["decoder_tokens"], valid=batch["valid"]))
    extra = 0.1 * logits.logsumexp(-1).square()[batch["keep"]].sum()
    plain = Seq2Seq()(net, batch)["seq2seq"].sum
    objective = Seq2Seq(z_loss=0.1)
    assert torch.equal(objective(net, batch)["seq2seq"].sum, plain)
    net.train()
    torch.testing.assert_close(objective(net, batch)["seq2seq"].sum, plain + extra, rtol=1e-6, atol=0)
    net.eval()


def test_parts_and_nothing(models, batch, parts_sum_to_the_whole, counts_for_nothing):
    net = models[1]
    parts_sum_to_the_whole(Seq2Seq(), net, batch)
    counts_for_nothing(Seq2Seq(), net, {**batch, "keep": torch.zeros_like(batch["keep"])})
