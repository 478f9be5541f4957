"""The objective of encoder-decoders: one text written after another is read."""

from __future__ import annotations

from torch import Tensor

from bedplate.nn.cross_entropy import chunked_cross_entropy, compiled_softmax, softmax
from bedplate.nn.encoder_decoder import EncoderDecoder
from bedplate.objectives.term import Batch, Term


class Seq2Seq:
    """Cross-entropy of each target token after the source and the true tokens before it (teacher forcing), in nats,
    over the kept positions (Sutskever et al. 2014, arXiv 1409.3215; T5, arXiv 1910.10683, for span corruption too).

    Batch: tokens [B, T] int64, valid [B, T] bool, False for padding; decoder_tokens, targets [B, U] int64 and keep
    [B, U] bool: decoder_tokens are the targets moved one to the right, behind the model's start token.

    compiled: compile a chunk's elementwise part. z_loss: as `NextToken`'s (T5's own training had one of 1e-4).
    """

    def __init__(self, *, compiled: bool = False, z_loss: float = 0.0) -> None:
        self._softmax = compiled_softmax() if compiled else softmax
        self.z_loss = z_loss

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        return {"seq2seq": batch["keep"].sum()}

    def __call__(self, net: EncoderDecoder, batch: Batch) -> dict[str, Term]:
        hidden = net.head_states(net(batch["tokens"], batch["decoder_tokens"], valid=batch["valid"]))
        loss = chunked_cross_entropy(
            hidden, net.readout, batch["targets"], batch["keep"], self._softmax,
            z_loss=self.z_loss if net.training else 0.0,
        )  # fmt: skip
        return {"seq2seq": Term(loss)}
