"""The token classification objective: one class for each token."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bedplate.objectives.classification import NO_CLASS
from bedplate.objectives.prediction import predicted
from bedplate.objectives.term import Batch, Term


class TokenClasses:
    """Cross-entropy of each token's class, in nats, summed over the tokens that have one (BERT, Devlin et al. 2018,
    arXiv 1810.04805, section 5.3: of a word's pieces the first alone).

    Batch: tokens [B, T] int64, right-padded; valid [B, T] bool, False for padding; labels [B, T] int64, `NO_CLASS`
    where there is none. The net is an encoder with a head for classes of tokens, or maps (tokens, valid) to logits
    [B, T, K].
    """

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        return {"token_classes": (batch["labels"] != NO_CLASS).sum()}

    def __call__(self, net: nn.Module, batch: Batch) -> dict[str, Term]:
        logits, labels = predicted(net, batch).flatten(0, 1), batch["labels"].flatten()
        return {"token_classes": Term(F.cross_entropy(logits, labels, reduction="sum", ignore_index=NO_CLASS))}
