"""The next-token objective."""

from __future__ import annotations

from torch import Tensor

from bedplate.nn.cross_entropy import chunked_cross_entropy, compiled_softmax, softmax
from bedplate.nn.decoder import Decoder
from bedplate.nn.mask import Mask
from bedplate.objectives.term import Batch, Term


class NextToken:
    """Mean cross-entropy of the next token over the kept positions, in nats (Bengio et al. 2003; GPT, Radford 2018).

    Batch: tokens, targets, segments, positions [B, T] int64 and keep [B, T] bool, as `data.packing` makes them. Tokens
    see the earlier ones of their own segment only. The head is applied in chunks: logits never exist all at once.
    compiled: compile a chunk's elementwise part.
    """

    def __init__(self, *, compiled: bool = False) -> None:
        self._softmax = compiled_softmax() if compiled else softmax

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        return {"next_token": batch["keep"].sum()}

    def __call__(self, net: Decoder, batch: Batch) -> dict[str, Term]:
        hidden = net(batch["tokens"], positions=batch["positions"], mask=Mask(segments=batch["segments"]))
        loss = chunked_cross_entropy(hidden, net.head_weight, batch["targets"], batch["keep"], self._softmax)
        return {"next_token": Term(loss)}
