"""What a training run computes for each token of its rows."""

from __future__ import annotations

from bedplate.data.span_corruption import Spans
from bedplate.nn.decoder import Decoder
from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_decoder import EncoderDecoder
from bedplate.scaling import flops
from bedplate.train import objective_config as told


def flops_per_token(net: Decoder | Encoder | EncoderDecoder, objective: told.ObjectiveConfig, length: int) -> float:
    """Forward and backward operations for each of the `length` tokens of a row; of an encoder-decoder those of a row
    that is read and of what is written for it, spread over the tokens that are read."""
    if isinstance(net, EncoderDecoder):
        assert isinstance(objective, told.SpanCorruption)
        spans = Spans(objective.density, objective.mean_span)
        source, target = spans.lengths(spans.tokens_for(length))
        return flops.training_flops_per_pair(net, source, target) / length
    predicted = objective.rate if isinstance(objective, told.Masked) else None
    ahead = isinstance(objective, told.NextToken) and objective.multi_token > 0
    return flops.training_flops_per_token(net, length, predicted=predicted, ahead=ahead)
