"""What nets that tell classes or values say of a batch."""

from __future__ import annotations

from torch import Tensor, nn

from bedplate.nn.encoder import Encoder
from bedplate.objectives.term import Batch


def predicted(net: nn.Module, batch: Batch) -> Tensor:
    """The numbers of each row [B, K] or of each token [B, T, K], fp32: an encoder's head for classes on its states
    (token_types [B, T] int64 where the batch has them), or what another net makes of (tokens, valid)."""
    tokens, valid = batch["tokens"], batch["valid"]
    if isinstance(net, Encoder):
        hidden = net(tokens, valid=valid, token_types=batch.get("token_types"))
        return net.class_logits(hidden, valid).float()
    made: Tensor = net(tokens, valid)
    return made.float()
