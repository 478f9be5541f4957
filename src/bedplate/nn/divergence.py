"""Divergence of a student's token distribution from a teacher's, in chunks of positions: see `chunked_loss`."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from bedplate.errors import InputError
from bedplate.nn.chunked_loss import chunked_loss, kept_rows
from bedplate.nn.head import Readout


def chunked_divergence(
    hidden: Tensor,
    readout: Readout,
    teacher_hidden: Tensor,
    teacher_readout: Readout,
    targets: Tensor,
    keep: Tensor,
    *,
    temperature: float = 1.0,
    hard: float = 0.0,
) -> Tensor:
    """Sum over kept positions of (1 - hard) T^2 KL(teacher || student) + hard * -log p[target], nats, fp32 scalar.

    KL(teacher || student) = sum_v q_v (log q_v - log p_v), both softmaxes at temperature T; T^2 keeps the size of the
    gradient (Hinton et al. 2015, arXiv 1503.02531, section 2). p without temperature in the hard part.

    hidden [..., D] and teacher_hidden [..., D'] in their compute dtypes, as the readouts take them; targets [...]
    int64; keep [...] bool. Gradients flow to hidden and to the student's readout alone. Raises InputError where the two
    have vocabularies of different sizes.
    """
    ours, theirs = readout.weight.shape[0], teacher_readout.weight.shape[0]
    if ours != theirs:
        raise InputError(
            f"the student tells {ours} tokens apart and its teacher {theirs}",
            "Take a teacher that was trained with the student's tokenizer.",
        )
    hidden, teacher_hidden = hidden.flatten(0, -2), teacher_hidden.detach().flatten(0, -2)
    targets, keep = targets.flatten(), keep.flatten()
    if hidden.device.type == "cpu" and (picked := kept_rows(keep, ours)) is not None:
        rows, keep = picked
        hidden, teacher_hidden = hidden.index_select(0, rows), teacher_hidden.index_select(0, rows)
        targets = targets.index_select(0, rows)
    wide = teacher_readout.to(teacher_hidden.dtype)
    return chunked_loss(hidden, readout, keep, _Divergence(readout, teacher_hidden, wide, targets, temperature, hard))


@dataclass(frozen=True)
class _Divergence:
    """teacher_hidden [N, D'], targets [N]."""

    readout: Readout
    teacher_hidden: Tensor
    teacher: Readout
    targets: Tensor
    temperature: float
    hard: float

    def __call__(self, logits: Tensor, at: slice, sloped: bool) -> tuple[Tensor, Tensor | None]:
        T, soft = self.temperature, 1 - self.hard
        capped = self.readout.capped(logits).float()
        log_q = F.log_softmax(self.teacher.logits(self.teacher_hidden[at]) / T, dim=-1)
        log_p = F.log_softmax(capped / T, dim=-1)
        q = log_q.exp()
        losses = soft * T**2 * (q * (log_q - log_p)).sum(-1, keepdim=True)
        # d(T^2 KL)/d logits = T (p - q).
        slope = (log_p.exp() - q).mul_(soft * T) if sloped else None
        if self.hard:
            t = self.targets[at, None]
            log_p = F.log_softmax(capped, dim=-1)
            of_target = log_p.gather(1, t)
            losses = losses - self.hard * of_target
            if slope is not None:
                p = log_p.exp_().scatter_(1, t, of_target.expm1())
                slope.add_(p, alpha=self.hard)
        if slope is None:
            return losses, None
        if self.readout.softcap is not None:
            slope.mul_(1 - (capped / self.readout.softcap).square_())
        return losses, slope.to(logits.dtype)
