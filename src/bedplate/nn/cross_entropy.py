"""Cross-entropy of tokens from hidden states and the readout, in chunks of positions: see `chunked_loss`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from bedplate.nn.chunked_loss import chunk_rows, chunked_loss, kept_rows
from bedplate.nn.head import Readout, capped

Softmax = Callable[[Tensor, Tensor, float | None, float], tuple[Tensor, Tensor]]
"""(logits [n, V], targets [n, 1], softcap, z) -> (log p_t [n, 1] fp32, s [n, V] in the logits' dtype), where p is the
softmax of the capped logits and s the derivative of logsumexp + z logsumexp^2 by the logits: p, where there is neither
cap nor z."""


def softmax(logits: Tensor, targets: Tensor, softcap: float | None = None, z: float = 0.0) -> tuple[Tensor, Tensor]:
    """`Softmax` in as few passes over the logits as separate operations allow."""
    bent = capped(logits, softcap)
    log_p = F.log_softmax(bent, dim=-1, dtype=torch.float32)
    of_target = log_p.gather(1, targets)
    if softcap is None and not z:
        return of_target, torch.exp(log_p, out=torch.empty_like(log_p, dtype=logits.dtype))
    slope = log_p.exp_()
    if z:
        slope *= 1 + 2 * z * (bent.gather(1, targets) - of_target)
    if softcap is not None:
        slope *= 1 - (bent / softcap).square_()
    return of_target, slope.to(logits.dtype)


def _fusible_softmax(
    logits: Tensor, targets: Tensor, softcap: float | None = None, z: float = 0.0
) -> tuple[Tensor, Tensor]:
    wide = capped(logits, softcap).float()
    largest = wide.amax(-1, keepdim=True)
    powers = (wide - largest).exp()
    total = powers.sum(-1, keepdim=True)
    each = 1 / total
    if z:
        each = each * (1 + 2 * z * (largest + total.log()))
    slope = powers * each
    if softcap is not None:
        slope = slope * (1 - (wide / softcap).square())
    return wide.gather(1, targets) - largest - total.log(), slope.to(logits.dtype)


@cache
def compiled_softmax() -> Softmax:
    """The same, compiled into two passes: less than half the time on CPU."""
    compiled: Softmax = torch.compile(_fusible_softmax, dynamic=False)
    return compiled


def chunked_cross_entropy(
    hidden: Tensor,
    readout: Readout,
    targets: Tensor,
    keep: Tensor,
    softmax: Softmax = softmax,
    *,
    z_loss: float = 0.0,
) -> Tensor:
    """Sum over kept positions of -log softmax(logits)[target] + z_loss * logsumexp(logits)^2, in nats, fp32 scalar.

    hidden [..., D] in the compute dtype, as the readout takes it; targets [...] int64; keep [...] bool; softmax: how a
    chunk is computed. z_loss: PaLM's auxiliary loss (arXiv 2204.02311, section 5, 1e-4 there), which draws the log of
    the softmax's normaliser to 0; of the logits as they are after the cap, counted at each kept position and part of
    the sum. Gradients flow to hidden and to the readout's weight and bias, each where it wants one.
    """
    hidden, targets, keep = hidden.flatten(0, -2), targets.flatten(), keep.flatten()
    # Elsewhere, looking which positions are kept would wait for the device.
    if hidden.device.type == "cpu" and (picked := kept_rows(keep, readout.weight.shape[0])) is not None:
        rows, keep = picked
        hidden, targets = hidden.index_select(0, rows), targets.index_select(0, rows)
    return chunked_loss(hidden, readout, keep, _TokenRule(readout, targets, softmax, z_loss))


@dataclass(frozen=True)
class _TokenRule:
    """targets [N]."""

    readout: Readout
    targets: Tensor
    softmax: Softmax
    z: float

    def __call__(self, logits: Tensor, at: slice, sloped: bool) -> tuple[Tensor, Tensor | None]:
        t, slope = self.targets[at, None], None
        if sloped:
            log_p, slope = self.softmax(logits, t, self.readout.softcap, self.z)
        else:
            log_p = F.log_softmax(self.readout.capped(logits), dim=-1, dtype=torch.float32).gather(1, t)
        losses = -log_p
        chosen = normaliser = log_p
        if self.z or self.readout.softcap is not None:
            chosen = self.readout.capped(logits.gather(1, t)).float()
            normaliser = chosen - log_p
            losses = losses + self.z * normaliser.square()
        if slope is not None:
            # p_t - 1 comes from fp32: in bf16 any p_t above 0.998 is 1, and a token that is nearly learnt would get no
            # gradient. index_put_, since scatter_add_ in bf16 takes longer than the softmax on CPU.
            of_target = log_p.expm1()
            if self.z:
                of_target += 2 * self.z * normaliser * log_p.exp()
            if self.readout.softcap is not None:
                of_target *= 1 - (chosen / self.readout.softcap).square()
            one_each = torch.arange(len(t), device=t.device)
            slope.index_put_((one_each, t[:, 0]), of_target[:, 0].to(slope.dtype))
        return losses, slope


@torch.no_grad()
def token_cross_entropy(hidden: Tensor, readout: Readout, targets: Tensor) -> Tensor:
    """-log softmax(logits)[target] of each position in nats, [...] fp32, without gradients.

    hidden [..., D] as the readout takes it; targets [...] int64.
    """
    flat, wanted, readout = hidden.flatten(0, -2), targets.flatten(), readout.to(hidden.dtype)
    out = torch.empty(len(flat), dtype=torch.float32, device=hidden.device)
    rows = chunk_rows(readout.weight.shape[0])
    for a in range(0, len(flat), rows):
        logits = readout.logits(flat[a : a + rows])
        out[a : a + rows] = F.cross_entropy(logits, wanted[a : a + rows], reduction="none")
    return out.view(targets.shape)
