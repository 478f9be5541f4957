"""The distillation objective: a student learns a teacher's whole distribution."""

from __future__ import annotations

import torch
from torch import Tensor

from bedplate.errors import RecipeError
from bedplate.nn.decoder import Decoder
from bedplate.nn.divergence import chunked_divergence
from bedplate.objectives.next_token import next_token_states
from bedplate.objectives.term import Batch, Term


class Distillation:
    """(1 - hard) T^2 KL(teacher || student) + hard * cross-entropy of the next token, in nats, summed over the kept
    positions; both distributions of the divergence are taken at temperature T (Hinton et al. 2015, arXiv 1503.02531).

    Batch: as `NextToken`'s. Student and teacher share the vocabulary, and nothing else need be alike; of neither do the
    logits exist all at once. The teacher is frozen and put into evaluation mode; it belongs to the objective, so it is
    neither trained nor saved, and every process holds it whole. Raises RecipeError for numbers out of their range, and
    InputError at the first batch if the vocabularies differ in size.
    """

    def __init__(self, teacher: Decoder, *, temperature: float = 1.0, hard: float = 0.0) -> None:
        if not temperature > 0:
            raise RecipeError(f"distillation: a temperature of {temperature}", "Use a positive one, such as 2.")
        if not 0 <= hard < 1:
            raise RecipeError(
                f"distillation: {hard} as the share of the hard loss",
                "Use one from 0 up to less than 1: without a soft part no teacher is needed.",
            )
        self.teacher = teacher.eval().requires_grad_(False)
        self.temperature, self.hard = temperature, hard

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        return {"distillation": batch["keep"].sum()}

    def __call__(self, net: Decoder, batch: Batch) -> dict[str, Term]:
        hidden = next_token_states(net, batch)
        with torch.no_grad():
            self.teacher.to(hidden.device)
            taught = next_token_states(self.teacher, batch)
        loss = chunked_divergence(
            hidden, net.readout, taught, self.teacher.readout, batch["targets"], batch["keep"],
            temperature=self.temperature, hard=self.hard,
        )  # fmt: skip
        return {"distillation": Term(loss)}
