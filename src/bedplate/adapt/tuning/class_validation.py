"""Accuracy and log loss on the validation texts: by which classification is judged while it is tuned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bedplate.adapt.tuning.class_rows import LabelledTexts, scoring_batches
from bedplate.adapt.tuning.classifier_net import ClassifierNet
from bedplate.train.loop import Trainer

PLACES = 4096
"""Places of a batch that is scored at once, padding included."""


@dataclass
class ClassValidation:
    """Scores a `ClassifierNet` on labelled texts. right: whether each was, at the last scoring."""

    texts: LabelledTexts
    right: tuple[bool, ...] = field(default=(), init=False)

    def scores(self, run: Trainer[ClassifierNet]) -> dict[str, Any]:
        """accuracy, loss (mean -log p of the right class, nats) and examples."""
        return self.judged(per_text(run.net, self.texts, run.net))

    def judged(self, logits: Tensor) -> dict[str, Any]:
        """The scores of logits [N, K]."""
        labels = torch.from_numpy(self.texts.labels)
        right = logits.argmax(-1) == labels
        self.right = tuple(right.tolist())
        return {
            "accuracy": sum(self.right) / len(self.right),
            "loss": float(F.cross_entropy(logits.double(), labels)),
            "examples": len(self.right),
        }

    def shown(self, scores: dict[str, Any]) -> dict[str, str]:
        return {"validation accuracy": f"{scores['accuracy']:.1%}"}

    @staticmethod
    def rank(scores: dict[str, Any]) -> tuple[float, ...]:
        """The greater, the better: by accuracy, then by loss."""
        return scores["accuracy"], -scores["loss"]


@torch.no_grad()
def per_text(
    net: ClassifierNet, texts: LabelledTexts, function: Callable[[Tensor, Tensor], Tensor], places: int = PLACES
) -> Tensor:
    """`function(tokens, valid)` of all texts in their order, on CPU: texts of like length are taken together."""
    device = net.head_weight.device
    lengths = texts.lengths
    found: Tensor | None = None
    for chosen in scoring_batches(lengths, places):
        rows = texts.padded(chosen)
        part = function(torch.from_numpy(rows["tokens"]).to(device), torch.from_numpy(rows["valid"]).to(device))
        if found is None:
            found = torch.empty(len(lengths), part.shape[1])
        found[torch.from_numpy(chosen)] = part.float().cpu()
    assert found is not None, "no texts"
    return found


def scoring_places(lengths: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """(rows, padded length) of each batch that `per_text` makes of texts of these lengths."""
    return [(len(chosen), int(lengths[chosen].max())) for chosen in scoring_batches(lengths, PLACES)]
