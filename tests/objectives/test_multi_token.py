"""Multi-token prediction beside the plain definition: each document alone, every depth written out, dense logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bedplate.errors import InternalError
from bedplate.nn.attention import Attention
from bedplate.nn.decoder import Decoder
from bedplate.nn.experts import Experts
from bedplate.nn.feedforward import SwiGLU
from bedplate.nn.initialise import initialise
from bedplate.nn.multi_token import Ahead, MultiTokenDecoder
from bedplate.nn.norm import RMSNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.rope import Rope
from bedplate.nn.router import GroupLimited, Routing
from bedplate.objectives.load_balance import Balanced
from bedplate.objectives.multi_token import MultiToken
from bedplate.objectives.next_token import NextToken
from bedplate.train.step import mean

VOCABULARY, DEPTHS = 53, 2
LENGTHS = [[5, 3, 7, 1], [16]]


def _net(tied: bool, depths: int = DEPTHS, feed_forward: Any = None) -> MultiTokenDecoder:
    norm = RMSNorm()
    attention = Attention(heads=4, kv_heads=2, head_dim=6, position=Rope(6))
    block = Block(Residual(attention, pre_norm=norm), Residual(feed_forward or SwiGLU(32), pre_norm=norm))
    made = MultiTokenDecoder(24, VOCABULARY, [block] * 2, norm, tied=tied, ahead=[Ahead(block, norm)] * depths)
    initialise(made, 0)
    with torch.no_grad():
        for name, p in made.named_parameters():
            generator = torch.Generator().manual_seed(len(name))
            p += torch.randn(p.shape, generator=generator) * 0.2
    return made


@pytest.fixture(params=[False, True], ids=["untied", "tied"])
def net(request: pytest.FixtureRequest) -> MultiTokenDecoder:
    return _net(request.param)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Two rows of documents, the last token of each document's targets its end."""
    generator = torch.Generator().manual_seed(0)
    rows: dict[str, list[Tensor]] = {"tokens": [], "targets": [], "segments": [], "positions": []}
    for lengths in LENGTHS:
        documents = [torch.randint(1, VOCABULARY, (n - 1,), generator=generator) for n in lengths]
        end = torch.zeros(1, dtype=torch.long)
        rows["tokens"].append(torch.cat([torch.cat((end, d)) for d in documents]))
        rows["targets"].append(torch.cat([torch.cat((d, end)) for d in documents]))
        rows["segments"].append(torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)))
        rows["positions"].append(torch.cat([torch.arange(n) for n in lengths]))
    made = {name: torch.stack(parts) for name, parts in rows.items()}
    return made | {"keep": torch.rand((2, 16), generator=generator) < 0.6}


def plainly(net: MultiTokenDecoder, batch: dict[str, Tensor], depths: int = DEPTHS) -> list[Tensor]:
    """The sums of the next token and of each depth, by the equations: each document in a row of its own, which gets
    shorter by one place with each depth."""
    totals = [torch.zeros(()) for _ in range(depths + 1)]
    for row in range(2):
        for segment in batch["segments"][row].unique():
            here = batch["segments"][row] == segment
            tokens, targets, keep = (batch[name][row, here] for name in ("tokens", "targets", "keep"))
            n = len(tokens)
            hidden = net(tokens[None])
            for k in range(min(depths + 1, n)):
                if k:
                    layer = net.ahead[k - 1]
                    context = net._context(torch.arange(n - k)[None], *_causal(n - k), hidden, None)
                    embedded = F.embedding(tokens[k:], net.embed.weight)[None]
                    hidden = layer(hidden[:, : n - k], embedded, context)
                logits = hidden[0] @ net.head_weight.t()
                losses = F.cross_entropy(logits, targets[k:], reduction="none")
                totals[k] = totals[k] + (losses * keep[k:]).sum()
    return totals


def _causal(length: int) -> tuple[Any, int, int]:
    from bedplate.nn.mask import Mask

    return Mask(), 0, length


def test_equals_the_equations(net: MultiTokenDecoder, batch: dict[str, Tensor]) -> None:
    expected = plainly(net, batch)
    total = expected[0] + 0.15 * (expected[1] + expected[2])
    total.backward()
    gradients = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    assert gradients.keys() == dict(net.named_parameters()).keys()
    net.zero_grad()
    objective = MultiToken(DEPTHS, 0.3)
    terms = objective(net, batch)
    assert list(terms) == list(objective.weights(batch)) == ["next_token", "multi_token_1", "multi_token_2"]
    assert [term.coefficient for term in terms.values()] == [1.0, 0.15, 0.15]
    for term, wanted in zip(terms.values(), expected, strict=True):
        torch.testing.assert_close(term.sum, wanted, rtol=1e-6, atol=0)
    loss = torch.stack([term.sum * term.coefficient for term in terms.values()]).sum()
    loss.backward()
    for name, p in net.named_parameters():
        assert p.grad is not None
        assert (p.grad - gradients[name]).norm() <= 1e-5 * gradients[name].norm(), name


def test_every_depth_is_divided_by_the_kept_places(batch: dict[str, Tensor]) -> None:
    weights = MultiToken(DEPTHS).weights(batch)
    assert [int(w) for w in weights.values()] == [int(batch["keep"].sum())] * (DEPTHS + 1)
    nothing = batch | {"keep": torch.zeros_like(batch["keep"])}
    assert not any(int(w) for w in MultiToken(DEPTHS).weights(nothing).values())


def test_what_another_document_says_changes_nothing(net: MultiTokenDecoder, batch: dict[str, Tensor]) -> None:
    """Losses of the first documents, whatever comes after them in their row."""
    first = batch["keep"] & (batch["segments"] == 0)
    first[1] = False
    sums = []
    for change in (0, 1):
        tokens = torch.where(batch["segments"] == 0, batch["tokens"], (batch["tokens"] + change) % VOCABULARY)
        sums.append([t.sum for t in MultiToken(DEPTHS)(net, batch | {"tokens": tokens, "keep": first}).values()])
    assert all(torch.equal(a, b) for a, b in zip(*sums, strict=True))


def test_in_evaluation_it_is_the_next_token_alone(net: MultiTokenDecoder, batch: dict[str, Tensor]) -> None:
    net.eval()
    terms = MultiToken(DEPTHS)(net, batch)
    assert list(terms) == ["next_token"]
    assert torch.equal(terms["next_token"].sum, NextToken()(net, batch)["next_token"].sum)


def test_rows_shorter_than_the_depths(batch: dict[str, Tensor]) -> None:
    net = _net(True, depths=3)
    short = {name: t[:, :2] for name, t in batch.items()}
    terms = MultiToken(3)(net, short)
    assert not any(terms[f"multi_token_{k}"].sum.item() for k in (2, 3))


def test_a_batch_of_documents_too_short_for_a_depth_is_a_batch_without_it(batch: dict[str, Tensor]) -> None:
    """The run goes on, its loss and gradients those of the depths that there are."""
    places = torch.arange(16).expand(2, 16)
    short = batch | {"segments": places // 2, "positions": places % 2}  # no target is two places ahead
    net = _net(True)
    objective = MultiToken(DEPTHS, 0.3)
    terms, weights = objective(net, short), objective.weights(short)
    assert all(w > 0 for w in weights.values())
    assert terms["multi_token_1"].sum > 0
    loss = mean(terms, weights)
    first = {name: terms[name] for name in ("next_token", "multi_token_1")}
    torch.testing.assert_close(loss, mean(first, weights), rtol=0, atol=0)
    loss.backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in net.parameters())


def test_routers_of_every_depth_are_noted_and_balanced(batch: dict[str, Tensor]) -> None:
    net = _net(False, feed_forward=Experts(GroupLimited(4, 2, 2, 1), 10))
    routing: list[Routing] = []
    MultiToken(DEPTHS)(net, batch, routing)
    assert len(routing) == 2 + DEPTHS
    assert set(Balanced(MultiToken(DEPTHS), load=0.01)(net, batch)) > {"load_balance", "multi_token_2"}


def test_a_net_without_these_depths_is_refused(batch: dict[str, Tensor]) -> None:
    norm = RMSNorm()
    plain = Decoder(24, VOCABULARY, [Block(Residual(SwiGLU(8), pre_norm=norm))], norm, tied=True)
    for net, found in ((_net(True, depths=1), 1), (plain, 0)):
        with pytest.raises(InternalError, match=f"2 depths and the net has {found}"):
            MultiToken(2)(net, batch)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="next token"):
        MultiToken(0)


@torch.no_grad()
def test_it_writes_as_a_plain_decoder_does(net: MultiTokenDecoder, batch: dict[str, Tensor]) -> None:
    tokens = batch["tokens"]
    whole = net(tokens)
    cache = net.new_cache(16)
    out = torch.cat([net(piece, cache=cache) for piece in tokens.split(4, dim=1)], dim=1)
    torch.testing.assert_close(out, whole, rtol=1e-5, atol=1e-5)
    assert net.cache_width == 2 * 2 * 2 * 6
