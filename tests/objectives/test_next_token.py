"""The next-token loss beside the plain definition: packed documents, masked targets, tied and untied heads."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bedplate.families import llama
from bedplate.families.llama_config import LlamaConfig
from bedplate.nn.initialise import initialise
from bedplate.nn.mask import Mask
from bedplate.objectives.next_token import NextToken

VOCABULARY = 53


@pytest.fixture(params=[False, True], ids=["untied", "tied"])
def net(request):
    config = LlamaConfig(
        hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=VOCABULARY, tie_word_embeddings=request.param,
    )  # fmt: skip
    made = llama.build(config)
    initialise(made, 0)
    return made


@pytest.fixture
def batch():
    """Two rows of documents of 5, 3, 8 and of 16 tokens."""
    generator = torch.Generator().manual_seed(0)
    lengths = [[5, 3, 8], [16]]
    tokens = torch.randint(0, VOCABULARY, (2, 17), generator=generator)
    return {
        "tokens": tokens[:, :-1],
        "targets": tokens[:, 1:],
        "segments": torch.stack([torch.repeat_interleave(torch.arange(len(n)), torch.tensor(n)) for n in lengths]),
        "positions": torch.stack([torch.cat([torch.arange(i) for i in n]) for n in lengths]),
        "keep": torch.rand((2, 16), generator=generator) < 0.6,
    }


def alone(net, batch):
    """Each document in a row of its own, its loss by the definition."""
    total = torch.zeros(())
    for row in range(2):
        for segment in batch["segments"][row].unique():
            here = batch["segments"][row] == segment
            logits = net(batch["tokens"][row, here][None])[0] @ net.head_weight.t()
            losses = F.cross_entropy(logits, batch["targets"][row, here], reduction="none")
            total = total + (losses * batch["keep"][row, here]).sum()
    return total


def test_packed_documents_give_the_sum_of_each_alone(net, batch):
    expected = alone(net, batch)
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad()
    terms = NextToken()(net, batch)
    assert list(terms) == list(NextToken().weights(batch)) == ["next_token"]
    assert terms["next_token"].coefficient == 1.0
    loss = terms["next_token"].sum
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    loss.backward()
    for name, p in net.named_parameters():
        assert (p.grad - gradients[name]).norm() <= 1e-5 * gradients[name].norm(), name


def test_the_weight_is_counted_from_the_data_alone(batch):
    assert int(NextToken().weights(batch)["next_token"]) == int(batch["keep"].sum())
    nothing = {**batch, "keep": torch.zeros_like(batch["keep"])}
    assert int(NextToken().weights(nothing)["next_token"]) == 0


def test_what_is_not_kept_gives_no_gradient(net, batch):
    nothing = {**batch, "keep": torch.zeros_like(batch["keep"])}
    loss = NextToken()(net, nothing)["next_token"].sum
    loss.backward()
    assert loss.item() == 0.0
    assert all(not p.grad.any() for p in net.parameters())


def test_z_loss_is_added_while_the_net_trains(net, batch):
    hidden = net(batch["tokens"], positions=batch["positions"], mask=Mask(segments=batch["segments"]))
    squares = net.readout.logits(hidden).logsumexp(-1).square()[batch["keep"]].sum()
    plain = NextToken()(net, batch)["next_token"].sum
    torch.testing.assert_close(
        NextToken(z_loss=0.1)(net, batch)["next_token"].sum, plain + 0.1 * squares, rtol=1e-6, atol=0
    )
    net.eval()
    assert torch.equal(NextToken(z_loss=0.1)(net, batch)["next_token"].sum, plain)


def test_a_prefix_is_read_from_both_sides(net, batch):
    prefix = torch.zeros(2, 16, dtype=torch.bool)
    prefix[0, :3] = prefix[0, 8:12] = prefix[1, :9] = True
    given = {**batch, "prefix": prefix, "keep": ~prefix}
    total = torch.zeros(())
    for row in range(2):
        for segment in batch["segments"][row].unique():
            here = batch["segments"][row] == segment
            hidden = net(batch["tokens"][row, here][None], mask=Mask(prefix=prefix[row, here][None]))[0]
            losses = F.cross_entropy(net.readout.logits(hidden), batch["targets"][row, here], reduction="none")
            total = total + losses[~prefix[row, here]].sum()
    found = NextToken()(net, given)["next_token"].sum
    torch.testing.assert_close(found, total, rtol=1e-5, atol=0)
    assert abs(found - NextToken()(net, {**batch, "keep": ~prefix})["next_token"].sum) > 1e-3
