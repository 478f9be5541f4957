"""Attention by blocks against its definition, against torch's SDPA and against finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bedplate.nn import attend as module
from bedplate.nn.attend import QUERY_BLOCK, attend, reference_attention
from bedplate.nn.mask import Mask

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def _segments(B: int, T: int) -> Tensor:
    """Documents of unequal lengths, cut elsewhere in each row."""
    cuts = torch.rand(B, T, generator=torch.Generator().manual_seed(T)) < 0.1
    return cuts.long().cumsum(-1)


def _left_padded(B: int, S: int) -> Tensor:
    """Row b begins with some padding; the last row has none."""
    starts = torch.tensor([(B - 1 - b) * max(S // 4, 1) % S for b in range(B)])
    return torch.arange(S) >= starts[:, None]


def _holes(B: int, S: int) -> Tensor:
    valid = torch.rand(B, S, generator=torch.Generator().manual_seed(S)) < 0.7
    valid[:, 0] = True
    return valid


def _prefix(B: int, S: int) -> Tensor:
    """Row b begins with some keys that all see; those of the last row are scattered."""
    prefix = torch.arange(S) < torch.tensor([(b + 1) * max(S // 5, 1) for b in range(B)])[:, None]
    prefix[-1] = torch.rand(S, generator=torch.Generator().manual_seed(S)) < 0.2
    return prefix


MASKS: dict[str, Callable[[int, int, int], Mask]] = {
    "causal": lambda B, T, S: Mask(),
    "full": lambda B, T, S: Mask(causal=False),
    "window of one": lambda B, T, S: Mask(window=1),
    "window shorter": lambda B, T, S: Mask(window=max(S // 3, 1)),
    "window longer": lambda B, T, S: Mask(window=S + 5),
    "segments": lambda B, T, S: Mask(segments=_segments(B, T)),
    "segments, full": lambda B, T, S: Mask(causal=False, segments=_segments(B, T)),
    "segments and window": lambda B, T, S: Mask(window=4, segments=_segments(B, T)),
    "left padding": lambda B, T, S: Mask(valid=_left_padded(B, S)),
    "padding, full": lambda B, T, S: Mask(causal=False, valid=_holes(B, S)),
    "left padding and window": lambda B, T, S: Mask(window=7, valid=_left_padded(B, S)),
    "two-sided window": lambda B, T, S: Mask(causal=False, window=max(S // 4, 1)),
    "two-sided window of one": lambda B, T, S: Mask(causal=False, window=1),
    "two-sided window and segments": lambda B, T, S: Mask(causal=False, window=4, segments=_segments(B, T)),
    "left padding and two-sided window": lambda B, T, S: Mask(causal=False, window=7, valid=_left_padded(B, S)),
    "prefix": lambda B, T, S: Mask(prefix=_prefix(B, S)),
    "prefix and window": lambda B, T, S: Mask(window=5, prefix=_prefix(B, S)),
    "prefix and segments": lambda B, T, S: Mask(segments=_segments(B, T), prefix=_prefix(B, S)),
    "left padding and prefix": lambda B, T, S: Mask(valid=_left_padded(B, S), prefix=_prefix(B, S)),
    "padding, segments and window": lambda B, T, S: Mask(window=9, segments=_segments(B, T), valid=_holes(B, S)),
}
# B, heads, key heads, queries, keys, head size. Groups of 1, 2 and 4; sizes that are odd multiples of 2 and 7; rows
# shorter than a block, of several blocks and a rest, of exactly one block; more keys than queries, as with a cache.
SHAPES = [
    (2, 4, 4, 5, 5, 6),
    (2, 4, 2, QUERY_BLOCK + 7, QUERY_BLOCK + 7, 10),
    (1, 8, 2, 2 * QUERY_BLOCK + 44, 2 * QUERY_BLOCK + 44, 14),
    (2, 4, 1, QUERY_BLOCK, QUERY_BLOCK, 7),
    (2, 4, 2, 1, 33, 6),
    (2, 4, 2, 150, 211, 22),
]


def _inputs(shape: tuple[int, ...], dtype: torch.dtype, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v and the gradient of the output."""
    B, H, G, T, S, D = shape
    g = torch.Generator().manual_seed(0)
    sizes = ((B, H, T, D), (B, G, S, D), (B, G, S, D), (B, H, T, D))
    q, k, v, grad = (torch.randn(size, generator=g, dtype=torch.float64) for size in sizes)
    # Score spread of about 3: attention neither uniform nor all on one key.
    q, k, v, grad = ((x * c).to(device, dtype) for x, c in zip((q, k, v, grad), (3, 1, 1, 1), strict=True))
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), grad


def _on(mask: Mask, device: str) -> Mask:
    to = lambda x: None if x is None else x.to(device)  # noqa: E731
    return Mask(mask.causal, mask.window, to(mask.segments), to(mask.valid), to(mask.prefix))


def _attended(mask: Mask, T: int, S: int, device: str = "cpu") -> Tensor:
    """[1 or B, 1, T, 1] bool: queries that see something at all; what the others give is nobody's business."""
    return mask.dense(T, S, torch.device(device)).any(-1, keepdim=True)


def _with_gradients(f: Callable[[], Tensor], inputs: tuple[Tensor, ...], grad: Tensor) -> list[Tensor]:
    out = f()
    return [out.detach(), *torch.autograd.grad(out, inputs, grad.to(out.dtype))]


# Segments describe whole rows.
CASES = [(n, shape) for n in MASKS for shape in SHAPES if not ("segments" in n and shape[3] != shape[4])]
SCORES = {"plain": (None, False), "softcap": (2.0, False), "bias": (None, True), "softcap and bias": (2.0, True)}
"""A softcap that bends most scores, and whether there is a learned bias."""


def _bias(shape: tuple[int, ...], dtype: torch.dtype, device: str = "cpu") -> Tensor:
    """As `nn.relative` makes it: no contiguous tensor."""
    _, H, _, T, S, _ = shape
    drawn = torch.randn(T, S, H, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return drawn.to(device, dtype).permute(2, 0, 1)[None].requires_grad_()


def _reference(
    q: Tensor, k: Tensor, v: Tensor, mask: Mask, scale: float, softcap: float | None, bias: Tensor | None
) -> Tensor:
    """The definition, where a query that sees nothing (0 / 0 by the definition) gives nothing."""
    seen = _attended(mask, q.shape[2], k.shape[2], q.device.type)
    if bool(seen.all()):
        return reference_attention(q, k, v, mask, scale, softcap=softcap, bias=bias)
    # Such queries see a key of value zero beside all others.
    more = [torch.cat((x, x.new_zeros(*x.shape[:2], 1, x.shape[3])), 2) for x in (k, v)]
    wide = None if bias is None else torch.cat((bias, bias.new_zeros(*bias.shape[:3], 1)), 3)
    allowed = mask.dense(q.shape[2], k.shape[2], q.device)
    allowed = torch.cat((allowed, ~allowed.any(-1, keepdim=True)), -1)
    return reference_attention(q, *more, _Given(allowed), scale, softcap=softcap, bias=wide)


class _Given(Mask):
    """A mask that is said key by key."""

    def __init__(self, allowed: Tensor) -> None:
        super().__init__()
        object.__setattr__(self, "allowed", allowed)

    def dense(self, queries: int, keys: int, device: torch.device) -> Tensor:
        return self.allowed


def _compare(ours: Callable[..., Tensor], mask: Mask, shape: tuple[int, ...], scores: str, device: str) -> None:
    """Outputs and the gradients of queries, keys, values and the bias against the definition's."""
    _, _, _, T, S, D = shape
    q, k, v, grad = _inputs(shape, torch.float32, device)
    softcap, learned = SCORES[scores]
    bias = _bias(shape, torch.float32, device) if learned else None
    seen, scale = _attended(mask, T, S, device), 1 / math.sqrt(D)
    wanted = (q, k, v) if bias is None else (q, k, v, bias)
    # What a query that sees nothing gives is nobody's business, and so has no gradient.
    results = [
        _with_gradients(lambda f=f: f(q, k, v, softcap, bias, scale).where(seen, 0.0), wanted, grad)
        for f in (ours, lambda q, k, v, softcap, bias, scale: _reference(q, k, v, mask, scale, softcap, bias))
    ]
    for a, b in zip(*results, strict=True):
        # fp32 rounding (6e-8) times the root of the 300 terms of a sum, times values of up to about 10.
        torch.testing.assert_close(a, b, rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_equals_the_definition_forward_and_backward(
    name: str, shape: tuple[int, ...], scores: str, device: str
) -> None:
    B, _, _, T, S, _ = shape
    mask = _on(MASKS[name](B, T, S), device)
    lowered = mask.lower(T, S, torch.device(device), torch.float32)
    _compare(
        lambda q, k, v, softcap, bias, scale: attend(q, k, v, lowered, scale, softcap=softcap, bias=bias),
        mask, shape, scores, device,
    )  # fmt: skip


@pytest.mark.parametrize("scores", ["plain", "bias"])
@pytest.mark.parametrize(("name", "shape"), [c for c in CASES if c[1][3] < 40 or c[1][3] != c[1][4]])
def test_torchs_kernels_equal_the_definition(name: str, shape: tuple[int, ...], scores: str) -> None:
    """The way of other devices, taken here, with the mask as it is lowered for them."""
    B, _, _, T, S, _ = shape
    mask = MASKS[name](B, T, S)
    lowered = mask.lower(T, S, torch.device("cpu"), torch.float32)
    if name == "causal" and T == S:
        lowered = mask.lower(T, S, torch.device("meta"), torch.float32)
        assert lowered.bias is None
        assert lowered.causal
    _compare(
        lambda q, k, v, softcap, bias, scale: module._by_sdpa(q, k, v, lowered, scale, bias),
        mask, shape, scores, "cpu",
    )  # fmt: skip


@pytest.mark.parametrize("part", [1, module.PART_SCORES])
@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("name", MASKS)
def test_without_gradients_all_is_the_same(name: str, scores: str, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts of the batch, of one row each and of all that fit, or by the kernel that is the faster one then."""
    monkeypatch.setattr(module, "PART_SCORES", part)
    shape = (3, 4, 2, 45, 45, 6)
    mask = MASKS[name](3, 45, 45)
    q, k, v, _ = _inputs(shape, torch.float32)
    softcap, learned = SCORES[scores]
    bias = _bias(shape, torch.float32) if learned else None
    with torch.no_grad():
        out = attend(q, k, v, mask.lower(45, 45, q.device, q.dtype), 0.4, softcap=softcap, bias=bias)
        expected = _reference(q, k, v, mask, 0.4, softcap, bias)
    seen = _attended(mask, 45, 45)
    torch.testing.assert_close(out.where(seen, 0.0), expected.where(seen, 0.0), rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_equals_sdpa_in_float64_for_any_shape_and_block(data: st.DataObject) -> None:
    B, G, R = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 2, 4]))
    T, past, D = data.draw(st.integers(1, 13)), data.draw(st.integers(0, 9)), data.draw(st.integers(1, 9))
    name = data.draw(st.sampled_from([n for n in MASKS if past == 0 or "segments" not in n]))
    block = data.draw(st.integers(1, 14))
    S, shape = T + past, (B, G * R, G, T, T + past, D)
    mask = MASKS[name](B, T, S)
    q, k, v, grad = _inputs(shape, torch.float64)
    grad = grad * _attended(mask, T, S)
    lowered = mask.lower(T, S, q.device, q.dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "QUERY_BLOCK", block)
        ours = _with_gradients(lambda: attend(q, k, v, lowered, 0.4), (q, k, v), grad)
    bias = torch.zeros((), dtype=q.dtype).where(mask.dense(T, S, q.device) | ~_attended(mask, T, S), float("-inf"))
    theirs = _with_gradients(
        lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=0.4, enable_gqa=True), (q, k, v), grad
    )
    seen = _attended(mask, T, S)
    torch.testing.assert_close(ours[0] * seen, theirs[0] * seen, rtol=1e-11, atol=1e-11)
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("name", ["causal", "window shorter", "segments, full", "padding, full", "prefix"])
def test_gradients_are_those_of_finite_differences(
    name: str, softcap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUERY_BLOCK", 2)
    shape = (2, 2, 1, 5, 5, 2)
    q, k, v, _ = _inputs(shape, torch.float64)
    lowered = MASKS[name](2, 5, 5).lower(5, 5, q.device, q.dtype)
    inputs = (q, k, v, _bias(shape, torch.float64))
    assert torch.autograd.gradcheck(lambda *x: attend(*x[:3], lowered, 0.5, softcap=softcap, bias=x[3]), inputs)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["causal", "window shorter", "segments", "left padding"])
def test_bf16_is_as_exact_as_bf16_allows(name: str, device: str) -> None:
    shape = (2, 4, 2, 300, 300, 32)
    B, _, _, T, S, D = shape
    mask, scale = _on(MASKS[name](B, T, S), device), 1 / math.sqrt(D)
    q, k, v, grad = _inputs(shape, torch.bfloat16, device)
    seen = _attended(mask, T, S, device)
    grad = grad * seen
    lowered = mask.lower(T, S, q.device, q.dtype)
    ours = _with_gradients(lambda: attend(q, k, v, lowered, scale), (q, k, v), grad)
    wide = tuple(x.detach().double().requires_grad_() for x in (q, k, v))
    exact = mask.lower(T, S, q.device, torch.float64)
    theirs = _with_gradients(
        lambda: F.scaled_dot_product_attention(*wide, attn_mask=exact.bias, scale=scale, enable_gqa=True), wide, grad
    )
    for a, b in zip((ours[0] * seen, *ours[1:]), (theirs[0] * seen, *theirs[1:]), strict=True):
        assert a.dtype == torch.bfloat16
        # bf16 keeps 8 bits: each of q*scale, scores, probabilities, products and sums of blocks rounds by 2^-9 of its
        # size; scores of up to 10 make that 2% of a probability.
        assert (a.double() - b).norm() / b.norm() < 0.02


@pytest.mark.parametrize("name", MASKS)
def test_what_sdpa_gets_on_other_devices_means_the_same(name: str) -> None:
    """The bias as lowered for SDPA, which other devices use, run through SDPA here."""
    shape = (2, 4, 2, 37, 37, 6)
    mask = MASKS[name](2, 37, 37)
    q, k, v, _ = _inputs(shape, torch.float32)
    lowered = mask.lower(37, 37, q.device, q.dtype)
    seen = _attended(mask, 37, 37)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=lowered.bias, scale=0.4, enable_gqa=True)
    expected = reference_attention(q, k, v, mask, 0.4)
    torch.testing.assert_close(out.where(seen, 0.0), expected.where(seen, 0.0), rtol=1e-5, atol=1e-5)


def test_lowering_makes_no_bias_where_none_is_needed() -> None:
    device, dtype = torch.device("meta"), torch.bfloat16
    assert Mask().lower(8, 8, device, dtype).bias is None
    assert Mask().lower(8, 8, device, dtype).causal
    assert Mask(window=8).lower(8, 8, device, dtype).bias is None
    assert Mask(window=7).lower(8, 8, device, dtype).bias is not None
    assert Mask(causal=False).lower(8, 8, device, dtype) == Mask().lower(1, 8, device, dtype)
    # SDPA's own causal flag means the first keys where there are more keys than queries.
    assert Mask().lower(4, 8, device, dtype).bias is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_query_that_sees_nothing_harms_nobody(dtype: torch.dtype) -> None:
    q, k, v, grad = _inputs((1, 2, 1, 6, 6, 4), dtype)
    mask = Mask(valid=torch.tensor([[False, False, True, True, True, True]]))
    out = attend(q, k, v, mask.lower(6, 6, q.device, dtype), 0.5)
    assert out.isfinite().all()
    alone = attend(q[:, :, 2:], k[:, :, 2:], v[:, :, 2:], Mask().lower(4, 4, q.device, dtype), 0.5)
    torch.testing.assert_close(out[:, :, 2:], alone, rtol=2e-3, atol=2e-3)
    grad[:, :, :2] = 0
    for x in torch.autograd.grad(out, (q, k, v), grad):
        assert x.isfinite().all()
        assert (x[:, :, :2] == 0).all()


def test_all_scores_never_exist_at_once(largest_tensor) -> None:
    B, H, T = 2, 8, 1024
    q, k, v, grad = _inputs((B, H, 2, T, T, 16), torch.float32)
    with largest_tensor() as made:
        lowered = Mask().lower(T, T, q.device, q.dtype)
        torch.autograd.grad(attend(q, k, v, lowered, 0.25), (q, k, v), grad)
    assert made.numbers == B * H * QUERY_BLOCK * T
    with largest_tensor() as made:
        reference_attention(q, k, v, Mask(), 0.25)
    assert made.numbers == B * H * T * T


@pytest.mark.parametrize(
    ("mask", "queries", "keys"),
    [
        (Mask(segments=torch.zeros(1, 4, dtype=torch.long)), 2, 4),
        (Mask(segments=torch.zeros(1, 1, dtype=torch.long)), 4, 4),
        (Mask(valid=torch.ones(1, 1, dtype=torch.bool)), 4, 4),
        (Mask(valid=torch.ones(1, 3, dtype=torch.bool)), 1, 4),
    ],
)
def test_a_mask_of_other_sizes_is_an_error(mask: Mask, queries: int, keys: int) -> None:
    with pytest.raises(ValueError, match=r"segments|valid"):
        mask.dense(queries, keys, torch.device("cpu"))


def test_narrowed_takes_the_narrower_window() -> None:
    assert Mask(window=3).narrowed(5).window == 3
    assert Mask(window=5).narrowed(3).window == 3
    assert Mask().narrowed(3).window == 3
    assert Mask(window=5).narrowed(None).window == 5
