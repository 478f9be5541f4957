"""The next-token objective."""

from __future__ import annotations

from torch import Tensor

from bedplate.nn.cross_entropy import chunked_cross_entropy, compiled_softmax, softmax
from bedplate.nn.decoder import Decoder
from bedplate.nn.mask import Mask
from bedplate.nn.router import Routing
from bedplate.objectives.term import Batch, Term


class NextToken:
    """Cross-entropy of the next token over the kept positions, in nats (Bengio et al. 2003; GPT, Radford 2018).

    Batch: tokens, targets, segments, positions [B, T] int64 and keep [B, T] bool, as `data.packing` makes them. Tokens
    see the earlier ones of their own segment only, and with `prefix` [B, T] bool in the batch all those of its prefix
    (prefix-LM, arXiv 1910.10683, section 3.2.1). The head is applied in chunks: logits never exist all at once.

    compiled: compile a chunk's elementwise part. z_loss: the coefficient of PaLM's auxiliary loss (arXiv 2204.02311,
    section 5), logsumexp^2 of each kept position; part of the sum while the net trains, and not when it is evaluated.
    """

    def __init__(self, *, compiled: bool = False, z_loss: float = 0.0) -> None:
        self._softmax = compiled_softmax() if compiled else softmax
        self.z_loss = z_loss

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        return {"next_token": batch["keep"].sum()}

    def __call__(self, net: Decoder, batch: Batch, routing: list[Routing] | None = None) -> dict[str, Term]:
        """routing: gets what each layer of experts did, for the losses that are put on that."""
        hidden = next_token_states(net, batch, routing)
        loss = chunked_cross_entropy(
            hidden, net.readout, batch["targets"], batch["keep"], self._softmax,
            z_loss=self.z_loss if net.training else 0.0,
        )  # fmt: skip
        return {"next_token": Term(loss)}


def next_token_states(net: Decoder, batch: Batch, routing: list[Routing] | None = None) -> Tensor:
    """The hidden states [B, T, D] of a batch as `NextToken` takes it, as the readout takes them."""
    mask = Mask(segments=batch["segments"], prefix=batch.get("prefix"))
    return net.head_states(net(batch["tokens"], positions=batch["positions"], mask=mask, routing=routing))
