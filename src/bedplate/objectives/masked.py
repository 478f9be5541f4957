"""The masked objective: tokens that were chosen and hidden, told from both sides."""

from __future__ import annotations

from torch import Tensor

from bedplate.nn.chunked_loss import kept_rows
from bedplate.nn.cross_entropy import chunked_cross_entropy, compiled_softmax, softmax
from bedplate.nn.encoder import Encoder
from bedplate.objectives.term import Batch, Term


class Masked:
    """Cross-entropy of the original tokens at the chosen positions, in nats (BERT, Devlin et al. 2018,
    arXiv 1810.04805, section 3.1).

    Batch: tokens, with the chosen ones corrupted, targets (the originals), segments, positions [B, T] int64 and keep
    [B, T] bool, the chosen. Tokens see all those of their own segment. The net's head for masked tokens is computed at
    the chosen positions alone (with those that fill up a chunk), in chunks. compiled: compile a chunk's elementwise
    part.
    """

    def __init__(self, *, compiled: bool = False) -> None:
        self._softmax = compiled_softmax() if compiled else softmax

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        return {"masked": batch["keep"].sum()}

    def __call__(self, net: Encoder, batch: Batch) -> dict[str, Term]:
        hidden = net(batch["tokens"], positions=batch["positions"], segments=batch["segments"]).flatten(0, 1)
        targets, keep, readout = batch["targets"].flatten(), batch["keep"].flatten(), net.readout
        # A GPU is waited for here, once a forward pass, which costs less than a head on six times the positions.
        if (picked := kept_rows(keep, readout.weight.shape[0])) is not None:
            rows, keep = picked
            hidden, targets = hidden.index_select(0, rows), targets.index_select(0, rows)
        return {"masked": Term(chunked_cross_entropy(net.head_states(hidden), readout, targets, keep, self._softmax))}
