"""Balancing: the loss beside transformers', its parts under any cut of a batch, and biases that even out the load."""

from __future__ import annotations

import pytest
import torch
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from bedplate.errors import InternalError
from bedplate.nn.decoder import Decoder
from bedplate.nn.experts import Experts
from bedplate.nn.feedforward import SwiGLU
from bedplate.nn.initialise import initialise
from bedplate.nn.mask import Mask
from bedplate.nn.norm import RMSNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.router import GroupLimited, TopK
from bedplate.objectives.hooks import ActsAfterStep, Reports
from bedplate.objectives.load_balance import Balanced, load_balance, router_z
from bedplate.objectives.next_token import NextToken

VOCABULARY, WIDTH = 37, 16


def alone(value):
    return value


def net_of(sublayer, layers=3, vocabulary=VOCABULARY):
    norm = RMSNorm()
    net = Decoder(WIDTH, vocabulary, [Block(Residual(sublayer, pre_norm=norm))] * layers, norm, tied=True)
    initialise(net, 0)
    return net.train()


def batch_of(rows=6, length=20, seed=0, vocabulary=VOCABULARY):
    tokens = torch.randint(0, vocabulary, (rows, length + 1), generator=torch.Generator().manual_seed(seed))
    return {
        "tokens": tokens[:, :-1],
        "targets": tokens[:, 1:],
        "segments": torch.zeros(rows, length, dtype=torch.int64),
        "positions": torch.arange(length).repeat(rows, 1),
        "keep": torch.ones(rows, length, dtype=torch.bool),
    }


@pytest.mark.parametrize(("experts", "active"), [(8, 2), (5, 3), (4, 1)])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_transformers(experts, active, masked):
    """Over several layers at once, as transformers takes it, and of each layer alone, as we do."""
    generator = torch.Generator().manual_seed(0)
    logits = [(torch.randn(4 * 11, experts, generator=generator) * 2).requires_grad_() for _ in range(3)]
    counted = torch.rand(4, 11, generator=generator) < 0.7 if masked else torch.ones(4, 11, dtype=torch.bool)
    mask = counted.long() if masked else None

    def ours(layers):
        probabilities = torch.cat(layers).softmax(-1)
        return load_balance(probabilities, probabilities.topk(active).indices, counted.flatten().repeat(len(layers)))

    for layers in (logits, logits[:1]):
        expected = load_balancing_loss_func(tuple(layers), experts, active, mask)
        assert ours(layers).item() == pytest.approx(expected.item(), rel=1e-6)
        wanted, found = torch.autograd.grad(expected, layers), torch.autograd.grad(ours(layers), layers)
        assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-8) for a, b in zip(found, wanted, strict=True))


def test_even_load_costs_k():
    chosen = torch.tensor([[0, 1], [2, 3]])
    assert load_balance(torch.full((2, 4), 0.25), chosen, torch.ones(2, dtype=torch.bool)) == 2.0


def test_router_z_by_definition():
    logits = torch.randn(2, 5, 4)
    counted = torch.rand(2, 5) < 0.5
    expected = sum(row.exp().sum().log() ** 2 for row in logits[counted])
    assert torch.isclose(router_z(logits, counted), torch.as_tensor(expected))


def total(objective, net, parts, whole):
    weights = objective.weights(whole)
    terms = [objective(net, part) for part in parts]
    return {name: sum(t[name].coefficient * t[name].sum for t in terms) / weights[name] for name in terms[0]}


def test_terms_stand_beside_the_loss():
    net, batch = net_of(Experts(TopK(4, 2), 24)), batch_of()
    objective = Balanced(NextToken(), load=0.01, z=0.001)
    found = total(objective, net, [batch], batch)
    assert found.keys() == {"next_token", "load_balance", "router_z"}
    assert torch.equal(found["next_token"], total(NextToken(), net, [batch], batch)["next_token"])
    routing: list = []
    net(batch["tokens"], routing=routing)
    layers = [load_balancing_loss_func((r.logits.flatten(0, 1),), 4, 2) for r in routing]
    assert found["load_balance"].item() == pytest.approx(0.01 * sum(layers).item() / 3, rel=1e-6)
    squares = torch.stack([r.logits.logsumexp(-1).square().mean() for r in routing]).mean()
    assert found["router_z"].item() == pytest.approx(0.001 * squares.item(), rel=1e-6)


def test_not_while_it_is_evaluated():
    net, batch = net_of(Experts(TopK(4, 2), 24)).eval(), batch_of()
    assert Balanced(NextToken(), load=0.01)(net, batch).keys() == {"next_token"}


def test_by_row_any_cut_of_a_batch_is_the_same():
    net, batch = net_of(Experts(TopK(4, 2), 24)), batch_of()
    objective = Balanced(NextToken(), load=0.01, z=0.001, per="row")
    cuts = [{name: value[a:b] for name, value in batch.items()} for a, b in ((0, 1), (1, 4), (4, 6))]
    whole, parts = total(objective, net, [batch], batch), total(objective, net, cuts, batch)
    for name, value in whole.items():
        assert torch.isclose(value, parts[name], rtol=1e-6), name


def test_padding_does_not_count():
    net, batch = net_of(Experts(TopK(4, 2), 24)), batch_of()
    objective = Balanced(NextToken(), load=0.01, z=0.001)
    valid = torch.arange(20) < 13
    padded = batch | {"valid": valid.expand(6, 20)}
    cut = {name: value[:, :13] for name, value in batch.items()}
    a, b = total(objective, net, [padded], padded), total(objective, net, [cut], cut)
    for name in ("load_balance", "router_z"):
        assert torch.isclose(a[name], b[name], rtol=1e-5), name


def test_gradients_reach_routers_alone():
    net, batch = net_of(Experts(TopK(4, 2), 24)), batch_of()
    term = Balanced(NextToken(), load=1.0)(net, batch)["load_balance"]
    (last,) = torch.autograd.grad(term.sum, [net.blocks[-1][0].sublayer.router.weight], retain_graph=True)
    assert last.norm() > 0
    (down,) = torch.autograd.grad(term.sum, [net.blocks[-1][0].sublayer.expert_down.weight], allow_unused=True)
    assert down is None


def test_biases_even_out_the_load():
    """From biases that favour two of eight experts; nothing but the biases moves."""
    net, batch = net_of(Experts(GroupLimited(8, 2), 24), layers=2, vocabulary=997), batch_of(rows=64, vocabulary=997)
    for block in net.blocks:
        block[0].sublayer.router.bias.data[:2] = 0.2
    objective = Balanced(NextToken(), bias_rate=0.003)
    assert isinstance(objective, ActsAfterStep)
    assert isinstance(objective, Reports)
    seen = []
    for _ in range(120):
        objective(net, batch)
        with torch.no_grad():
            objective.after_step(net, alone)
        seen.append(objective.report())
    assert seen[0]["expert_load_most"] > 2.0
    assert seen[-1]["expert_load_most"] < 1.1
    assert seen[-1]["expert_load_least"] > 0.9
    assert all(0 < s["router_entropy"] < 2.08 and s["tokens_dropped"] == 0.0 for s in seen)


def test_biases_move_by_the_load_of_all_ranks_and_parts():
    net = net_of(Experts(GroupLimited(5, 2), 24), layers=1)
    objective = Balanced(NextToken(), bias_rate=0.5)
    parts = [batch_of(rows=2, seed=s) for s in range(3)]
    routing: list = []
    for part in parts:
        objective(net, part)
        net(part["tokens"], routing=routing)
    load = torch.cat([r.chosen.flatten() for r in routing]).bincount(minlength=5).float()
    load[3] += 1000.0  # another rank's

    def sum_over_data(value):
        value[3] += 1000.0
        return value

    with torch.no_grad():
        objective.after_step(net, sum_over_data)
    bias = net.blocks[0][0].sublayer.router.bias
    assert torch.equal(bias, 0.5 * (load.mean() - load).sign())
    figures = objective.report()
    assert figures["expert_load_most"] == pytest.approx((load / load.mean()).max().item())
    assert objective.report() == {}
    with torch.no_grad():
        objective.after_step(net, alone)
    assert torch.equal(bias, 0.5 * (load.mean() - load).sign())  # nothing was seen since


def test_a_net_without_experts_is_refused():
    with pytest.raises(InternalError, match="no routing"):
        Balanced(NextToken(), load=0.01)(net_of(SwiGLU(24)), batch_of())


def test_by_row_it_is_deepseeks_complementary_loss():
    """arXiv 2412.19437, equations 17 to 20, written out for each sequence; an even load costs 1."""
    experts, k, T = 4, 2, 20
    net, batch = net_of(Experts(GroupLimited(experts, k), 24), layers=1), batch_of(rows=3, length=T)
    routing: list = []
    net(batch["tokens"], positions=batch["positions"], mask=Mask(segments=batch["segments"]), routing=routing)
    scores = routing[0].logits.sigmoid()
    expected = torch.zeros(())
    for row in range(3):
        for expert in range(experts):
            f = (routing[0].chosen[row] == expert).sum() * experts / (k * T)
            P = sum(scores[row, t, expert] / scores[row, t].sum() for t in range(T)) / T
            expected = expected + f * P
    objective = Balanced(NextToken(), load=1.0, per="row")
    found = objective(net, batch)["load_balance"].sum / objective.weights(batch)["load_balance"]
    torch.testing.assert_close(found, expected / 3)


def test_rows_filled_up_after_the_gap_count_what_exists():
    """Fill-in-the-middle rows say it by `valid`, and the filler's routing changes nothing."""
    net, batch = net_of(Experts(TopK(4, 2), 24)), batch_of()
    there = torch.arange(20).expand(6, 20) < 15
    batch |= {"segments": (~there).long(), "keep": there, "valid": there}
    objective = Balanced(NextToken(), load=0.01, per="row")
    other = batch | {"tokens": batch["tokens"].where(there, 3)}
    assert int(objective.weights(batch)["load_balance"]) == 6 * 15
    a, b = (total(objective, net, [x], x)["load_balance"] for x in (batch, other))
    assert torch.equal(a, b)
