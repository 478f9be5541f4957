"""Experts beside the dense computation of every expert for every token, forward and backward."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bedplate.nn.context import Context
from bedplate.nn.decoder import Decoder
from bedplate.nn.experts import Experts, ExpertsLayer
from bedplate.nn.feedforward import SwiGLU
from bedplate.nn.grouped import Groups, gathered, grouped_kernel, grouped_linear, spread
from bedplate.nn.initialise import initialise
from bedplate.nn.norm import RMSNorm
from bedplate.nn.parameters import parameter_table
from bedplate.nn.residual import Block, Residual
from bedplate.nn.router import GroupLimited, Routing, RoutingNotes, TopK
from bedplate.scaling.flops import matrix_parameters

WIDTH = 16
ROUTERS = {
    "8 top 2": TopK(8, 2),
    "5 top 3, not normalised": TopK(5, 3, normalised=False),
    "7 top 1, not normalised": TopK(7, 1, normalised=False),
    "one": TopK(1, 1),
    "all": TopK(4, 4),
    "groups": GroupLimited(12, 3, groups=4, active_groups=2, scale=2.5),
    "no groups, not normalised": GroupLimited(5, 2, normalised=False),
}


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(5))


def made(record: Experts, seed: int = 0) -> ExpertsLayer:
    layer = record.build(WIDTH)
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.4
    return layer


def dense(layer: ExpertsLayer, x: Tensor) -> Tensor:
    """Every expert for every token, weighted by what the router says, 0 where it didn't choose."""
    chosen, weights, _ = layer.router(x)
    whole = torch.zeros(*x.shape[:-1], layer.router.experts).scatter(-1, chosen, weights)
    gate, up, down = (m.weight.to(x.dtype) for m in (layer.expert_gate, layer.expert_up, layer.expert_down))
    inner = F.silu(torch.einsum("btd,ehd->bteh", x, gate)) * torch.einsum("btd,ehd->bteh", x, up)
    out = (torch.einsum("bteh,edh->bted", inner, down) * whole[..., None]).sum(2).to(x.dtype)
    return out if layer.shared is None else out + layer.shared(x, Context())


def compare(layer: ExpertsLayer, x: Tensor, tolerance: float) -> None:
    x = x.requires_grad_()
    ours, reference = layer(x, Context()), dense(layer, x)
    assert ours.dtype == x.dtype
    assert off(ours, reference) < tolerance
    learnt = {"x": x} | {n: p for n, p in layer.named_parameters() if p.requires_grad}
    towards = torch.randn(ours.shape, generator=torch.Generator().manual_seed(9)).to(ours.dtype)
    mine = torch.autograd.grad(ours, list(learnt.values()), towards)
    theirs = torch.autograd.grad(reference, list(learnt.values()), towards)
    for name, a, b in zip(learnt, mine, theirs, strict=True):
        assert a.dtype == b.dtype
        assert off(a, b) < tolerance, name


def off(ours: Tensor, reference: Tensor) -> float:
    return ((ours - reference).norm() / reference.norm().clamp(min=1e-3)).item()


@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
@pytest.mark.parametrize("tokens", [(2, 19), (1, 1), (1, 3)])
def test_equals_every_expert(router, tokens):
    """With few tokens most experts get none, and the counts are never even."""
    layer = made(Experts(router, 24, shared=SwiGLU(10)))
    # fp32, the same sums in another order; a router's gradient is the small difference of large ones.
    compare(layer, random(*tokens), 1e-5)


def test_experts_without_tokens_have_no_gradient():
    layer = made(Experts(TopK(8, 2), 24))
    layer(random(1, 2), Context()).sum().backward()
    hit = layer.expert_down.weight.grad.flatten(1).any(1)
    assert 2 <= hit.sum() <= 4
    assert torch.equal(layer.expert_up.weight.grad.flatten(1).any(1), hit)


def test_all_tokens_to_one_expert():
    layer = made(Experts(TopK(6, 1), 24))
    layer.router.weight.data[:] = 0.0
    layer.router.weight.data[4, 0] = 1.0
    x = random(2, 9)
    x[..., 0] = x[..., 0].abs() + 1.0
    routing: list[Routing] = []
    layer(x, Context(routing=RoutingNotes(routing)))
    assert (routing[0].chosen == 4).all()
    compare(layer, x, 1e-5)


@pytest.mark.parametrize("router", [ROUTERS["8 top 2"], ROUTERS["groups"]], ids=["8 top 2", "groups"])
def test_bf16_activations_and_fp32_weights(router):
    layer = made(Experts(router, 24))
    # Each side rounds every step to 8 bits of mantissa.
    compare(layer, random(2, 19).bfloat16(), 2e-2)


def test_gradients_by_finite_differences():
    generator = torch.Generator().manual_seed(0)
    chosen = torch.tensor([[0, 3], [3, 1], [1, 0], [3, 0], [0, 1]])  # expert 2 gets nothing
    groups = Groups.of(chosen, 4)
    x, weight, weights = (
        torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((5, 3), (4, 2, 3), (5, 2))
    )
    assert torch.autograd.gradcheck(lambda a: spread(a, groups).double(), (x,), atol=1e-6, rtol=1e-6, eps=1e-3)
    rows = x.detach()[groups.tokens].requires_grad_()
    assert torch.autograd.gradcheck(lambda a, w: grouped_linear(a, w, groups.counts), (rows, weight))
    # Summed in fp32, in which the products are linear: large steps lose nothing.
    y = rows.detach().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, w: gathered(a, w, groups), (y, weights), eps=0.5, atol=1e-5, rtol=1e-5, check_undefined_grad=False
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_for_gpus_does_the_same(dtype):
    """Where it is taken on a CPU, which has it too."""
    chosen = torch.randint(0, 4, (50, 1), generator=torch.Generator().manual_seed(0))
    counts = Groups.of(chosen, 5).counts
    x, weight = random(50).to(dtype).requires_grad_(), torch.randn(5, 24, WIDTH, requires_grad=True)
    a, b = grouped_linear(x, weight, counts), grouped_kernel(x, weight, counts)
    towards = torch.randn_like(a)
    tolerance = 1e-6 if dtype == torch.float32 else 5e-3
    assert off(b, a) < tolerance
    ours, theirs = (torch.autograd.grad(y, (x, weight), towards) for y in (a, b))
    assert all(off(t, o) < tolerance for t, o in zip(theirs, ours, strict=True))


def test_every_run_gives_the_same_bits():
    layer = made(Experts(TopK(8, 3), 24))
    x = random(4, 50)
    results = []
    for _ in range(2):
        leaf = x.clone().requires_grad_()
        y = layer(leaf, Context())
        y.square().sum().backward()
        results.append((y.detach(), leaf.grad))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_batch_equals_its_rows_alone():
    layer = made(Experts(TopK(5, 2), 24))
    x = random(3, 11)
    together = layer(x, Context())
    for row in range(3):
        assert off(layer(x[row : row + 1], Context())[0], together[row]) < 1e-6


def test_groups_limit_the_choice():
    router = GroupLimited(12, 4, groups=4, active_groups=2).build(WIDTH)
    torch.nn.init.normal_(router.weight, generator=torch.Generator().manual_seed(0))
    chosen, weights, routing = router(random(3, 40))
    assert ((chosen // 3).sort(-1).values.diff(dim=-1) != 0).sum(-1).max() == 1  # two groups at most
    assert torch.allclose(weights.sum(-1), torch.ones(3, 40))
    assert torch.allclose(routing.probabilities.sum(-1), torch.ones(3, 40))


def test_the_bias_chooses_and_does_not_weigh():
    router = GroupLimited(6, 2, normalised=False).build(WIDTH)
    torch.nn.init.normal_(router.weight, generator=torch.Generator().manual_seed(0))
    x = random(2, 7)
    router.bias.data[5] = 10.0
    chosen, weights, routing = router(x)
    assert (chosen == 5).any(-1).all()
    assert torch.equal(weights, routing.logits.sigmoid().gather(-1, chosen))


def test_routers_refuse_what_cannot_be():
    for bad in ({"groups": 5}, {"groups": 12}, {"groups": 4, "active_groups": 5}, {"groups": 4, "active_groups": 1}):
        with pytest.raises(ValueError, match="group"):
            GroupLimited(12, 4, **bad)
    with pytest.raises(ValueError, match="3 of 2 experts"):
        TopK(2, 3).build(WIDTH)


def decoder(layers: int = 2) -> Decoder:
    norm = RMSNorm()
    record = Experts(GroupLimited(4, 2), 24)
    return Decoder(WIDTH, 31, [Block(Residual(record, pre_norm=norm))] * layers, norm, tied=True)


def test_the_net_notes_what_its_routers_did():
    net = decoder()
    initialise(net, 0)
    assert net.has_experts
    routing: list = []
    net(torch.randint(0, 31, (2, 5)), routing=routing)
    assert [r.router for r in routing] == [b[0].sublayer.router for b in net.blocks]
    assert routing[0].chosen.shape == (2, 5, 2)
    dense_net = Decoder(WIDTH, 31, [Block(Residual(SwiGLU(24)))], None, tied=True)
    assert not dense_net.has_experts


def test_the_table_knows_experts():
    net = decoder()
    table = parameter_table(net)
    assert table["blocks.0.0.sublayer.router.bias"].role == "state"
    assert not net.get_parameter("blocks.0.0.sublayer.router.bias").requires_grad
    assert table["blocks.0.0.sublayer.expert_up.weight"].active == 0.5
    initialise(net, 0)
    assert not net.get_parameter("blocks.0.0.sublayer.router.bias").any()
    # 1 / sqrt(fan_in), and what writes into the stream of two blocks by sqrt(2 * 2) less.
    up, down = (net.get_parameter(f"blocks.0.0.sublayer.expert_{n}.weight") for n in ("up", "down"))
    assert up.std().item() == pytest.approx(WIDTH**-0.5, rel=0.1)
    assert down.std().item() == pytest.approx(24**-0.5 / 2, rel=0.1)
    # A token is multiplied by the router, by two of four experts, and by the head.
    assert matrix_parameters(net) == 2 * (4 * WIDTH + 2 * 3 * 24 * WIDTH) + 31 * WIDTH
