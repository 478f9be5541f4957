"""The classification objective: one class for each row."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bedplate.objectives.prediction import predicted
from bedplate.objectives.term import Batch, Term

NO_CLASS = -100
"""The label of a row, or of a token, that doesn't count."""


class Classes:
    """Cross-entropy of each row's class, -log softmax(logits)[label] in nats, summed over the rows that have one
    (softmax regression on pooled states: BERT, Devlin et al. 2018, arXiv 1810.04805, section 4.1).

    Batch: tokens [B, T] int64, right-padded; valid [B, T] bool, false for padding; labels [B] int64, `NO_CLASS` for
    rows that only fill up. The net is an encoder with a head for classes of texts, or maps (tokens, valid) to logits
    [B, K].
    """

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        return {"classes": (batch["labels"] != NO_CLASS).sum()}

    def __call__(self, net: nn.Module, batch: Batch) -> dict[str, Term]:
        loss = F.cross_entropy(predicted(net, batch), batch["labels"], reduction="sum", ignore_index=NO_CLASS)
        return {"classes": Term(loss)}
