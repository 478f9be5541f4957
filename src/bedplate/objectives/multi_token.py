"""Multi-token prediction: the next token, and in training those after it too."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from bedplate.errors import InternalError
from bedplate.nn.cross_entropy import chunked_cross_entropy, compiled_softmax, softmax
from bedplate.nn.mask import Mask
from bedplate.nn.multi_token import MultiTokenDecoder
from bedplate.nn.router import Routing
from bedplate.objectives.term import Batch, Term


class MultiToken:
    """Next token, and beside it cross-entropy, in nats, of the token k further ahead by each depth k = 1 ... `depths`
    of a `MultiTokenDecoder` (DeepSeek-V3, arXiv 2412.19437, section 2.2, equations 21 to 25).

    Batch: tokens, targets, segments, positions [B, T] int64 and keep [B, T] bool, as `data.packing` makes them. Depth k
    at place i foresees targets[i + k], from the hidden state there and tokens up to i + k; it counts where that target
    is kept and of the same segment: never across documents, nor beyond the row. Terms: `next_token`, and in training
    `multi_token_k`, all divided by the kept places of the next token, as the paper divides all by T (equation 24): a
    depth counts for as much as there is to foresee, and for nothing where every document is too short for it.

    coefficient: of all depths together, lambda in equation 25; 0.3, then 0.1 in the paper. compiled, z_loss: as
    `NextToken` has them; z_loss is of the next token's head alone.
    """

    def __init__(self, depths: int, coefficient: float = 0.3, *, compiled: bool = False, z_loss: float = 0.0) -> None:
        if depths < 1:
            raise ValueError(f"{depths} depths: that is the objective of the next token")
        self.depths, self.coefficient, self.z_loss = depths, coefficient, z_loss
        self._softmax = compiled_softmax() if compiled else softmax

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        kept = batch["keep"].sum()
        return {"next_token": kept} | {f"multi_token_{k}": kept for k in range(1, self.depths + 1)}

    def __call__(self, net: MultiTokenDecoder, batch: Batch, routing: list[Routing] | None = None) -> dict[str, Term]:
        """routing: gets what each layer of experts did, those that foresee included. Raises InternalError where the net
        doesn't have these depths."""
        if not isinstance(net, MultiTokenDecoder) or len(net.ahead) != self.depths:
            found = len(net.ahead) if isinstance(net, MultiTokenDecoder) else 0
            raise InternalError(
                f"the objective foresees by {self.depths} depths and the net has {found}",
                "Give the objective as many as the architecture says (num_nextn_predict_layers).",
            )
        mask = Mask(segments=batch["segments"])
        hidden = net(batch["tokens"], positions=batch["positions"], mask=mask, routing=routing)
        z_loss = self.z_loss if net.training else 0.0
        loss = chunked_cross_entropy(
            net.head_states(hidden), net.readout, batch["targets"], batch["keep"], self._softmax, z_loss=z_loss
        )
        terms = {"next_token": Term(loss)}
        if net.training:
            ahead = net.look_ahead(hidden, batch["tokens"], positions=batch["positions"], mask=mask, routing=routing)
            for k, states in enumerate(ahead, start=1):
                loss = chunked_cross_entropy(net.head_states(states), net.readout, *_ahead(batch, k), self._softmax)
                terms[f"multi_token_{k}"] = Term(loss, self.coefficient / self.depths)
        return terms


def _ahead(batch: Batch, k: int) -> tuple[Tensor, Tensor]:
    """targets [B, T] k places further on, and keep [B, T]: which of them count."""
    segments, room = batch["segments"], (0, min(k, batch["keep"].shape[1]))
    same = segments[:, k:] == segments[:, :-k]
    return F.pad(batch["targets"][:, k:], room), F.pad(batch["keep"][:, k:] & same, room)
