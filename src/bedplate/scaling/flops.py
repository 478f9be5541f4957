"""Floating-point operations of training and inference, from the parameter table.

The rule (PaLM, arXiv 2204.02311, appendix B): 2 operations forward and 4 backward for each token and matrix parameter
that it is multiplied by (of many experts only those that it takes, of a block that is run many times each run), plus
attention's two products over the whole row, 4 * T * width of all heads a layer forward and twice that backward. A gated
linear layer's two products with its state are 4 * heads * key_dim * value_dim a token, whatever the length.
Masked pairs count too, as is the custom, so that figures compare with other projects'; embeddings, norms and softmaxes
don't, nor does a head that tells texts apart, once a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import nn

from bedplate.nn.attention import AttentionLayer
from bedplate.nn.cross_attention import CrossAttentionLayer
from bedplate.nn.decoder import Decoder
from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_decoder import EncoderDecoder
from bedplate.nn.encoder_heads import MaskedHeadLayer
from bedplate.nn.gated_linear import GatedLinearLayer
from bedplate.nn.latent_attention import LatentAttentionLayer
from bedplate.nn.multi_token import MultiTokenDecoder
from bedplate.nn.parameters import parameter_table
from bedplate.nn.stack import Stack

METHOD = "6 * active matrix parameters + 12 * layers * heads * head_dim * length, per token"


def training_flops_per_token(
    net: Decoder | Encoder, length: int, *, predicted: float | None = None, ahead: bool = False
) -> float:
    """Forward and backward operations for one token in rows of `length`; predicted, ahead: as `matrix_parameters`."""
    return 3 * forward_flops_per_token(net, length, predicted=predicted, ahead=ahead)


def forward_flops_per_token(
    net: Decoder | Encoder, length: int, *, predicted: float | None = None, ahead: bool = False
) -> float:
    """Forward operations for one token in rows of `length`; predicted, ahead: as `matrix_parameters`."""
    matrices = matrix_parameters(net, predicted=predicted, ahead=ahead)
    return 2 * matrices + 4 * attention_width(net, ahead=ahead) * length + state_flops(net)


def training_flops_per_pair(net: EncoderDecoder, source: int, target: int) -> float:
    """Forward and backward operations for a text of `source` tokens read and one of `target` written."""
    return 3 * forward_flops_per_pair(net, source, target)


def forward_flops_per_pair(net: EncoderDecoder, source: int, target: int) -> float:
    """Forward operations for a text of `source` tokens read and one of `target` written. Of the decoder's layers that
    read the source, keys and values are made of the source's tokens, the rest of the target's."""
    cross = [m for m in net.decoder.modules() if isinstance(m, CrossAttentionLayer)]
    of_source = sum(m.k.weight.numel() + m.v.weight.numel() for m in cross)
    of_target = matrix_parameters(net.decoder) - of_source
    return (
        source * forward_flops_per_token(net.encoder, source)
        + 2 * (source * of_source + target * of_target)
        + 4 * attention_width(net.decoder) * target * target
        + 4 * sum(m.q.out_features for m in cross) * target * source
    )


def matrix_parameters(net: Decoder | Encoder, *, predicted: float | None = None, ahead: bool = False) -> float:
    """Numbers in matrices that a token is multiplied by, each as often as it is: hidden matrices and the head, tied or
    not.

    predicted: the share of tokens that the head is asked at, all of a decoder's and none of an encoder's where None.
    ahead: whether the depths that foresee later tokens are computed, each of which asks the head once more.
    """
    total = _hidden(net, uses(net, ahead=ahead))
    if isinstance(net, Encoder):
        if not predicted or not isinstance(net.head, MaskedHeadLayer):
            return total
        return total + predicted * (net.head.transform.dense.weight.numel() + net.readout.weight.numel())
    share = 1.0 if predicted is None else predicted
    depths = len(net.ahead) if ahead and isinstance(net, MultiTokenDecoder) else 0
    return total + round(share * (1 + depths) * net.head_weight.numel())


def _hidden(net: nn.Module, times: dict[str, float]) -> int:
    table = parameter_table(net)
    return sum(round(times[name] * p.numel()) for name, p in net.named_parameters() if table[name].role == "hidden")


def uses(net: nn.Module, *, ahead: bool = False) -> dict[str, float]:
    """Every parameter of a net, or of one that it is a part of -> how often a token is multiplied by its numbers: the
    share of an expert's, the runs of a block's; 0 for what stands in an encoder's head, which is asked apart, and
    without `ahead` for the depths that foresee later tokens."""
    table, factors = parameter_table(net), runs(net, ahead=ahead)
    return {
        name: info.active * next((n for prefix, n in factors.items() if name.startswith(prefix)), 1)
        for name, info in table.items()
    }


def runs(net: nn.Module, *, ahead: bool = False) -> dict[str, int]:
    """The beginnings of paths in a net whose modules aren't run once for each token -> how often they are."""
    found: dict[str, int] = {}
    for path, stack in net.named_modules():
        prefix = f"{path}." if path else ""
        if isinstance(stack, Stack):
            counts = Counter(stack.order)
            found |= {f"{prefix}blocks.{i}.": counts[i] for i in range(len(stack.blocks)) if counts[i] != 1}
        if isinstance(stack, Encoder) and stack.head is not None:
            found[f"{prefix}head."] = 0
        if isinstance(stack, MultiTokenDecoder) and not ahead:
            found[f"{prefix}ahead."] = 0
    return found


def attention_layers(net: nn.Module, *, ahead: bool = False) -> Iterator[tuple[str, nn.Module, float, int]]:
    """Every layer whose tokens look at those of its own row: its path, itself, the width of all its heads (of keys and
    values the mean, where they differ), and how often it is run."""
    factors = runs(net, ahead=ahead)
    for path, layer in net.named_modules():
        times = next((n for prefix, n in factors.items() if path.startswith(prefix)), 1)
        if isinstance(layer, AttentionLayer):
            yield path, layer, layer.q.out_features, times
        elif isinstance(layer, LatentAttentionLayer):
            yield path, layer, (layer.q_b.out_features + layer.o.in_features) / 2, times


def attention_width(net: nn.Module, *, ahead: bool = False) -> float:
    """Sum over layers of heads * head_dim, each as often as it is run."""
    return sum(width * times for _, _, width, times in attention_layers(net, ahead=ahead))


def state_flops(net: nn.Module) -> int:
    """Forward operations a token of products with recurrent states that no matrix parameter tells of."""
    records = [m.record for m in net.modules() if isinstance(m, GatedLinearLayer)]
    return sum(4 * r.heads * r.key_dim * r.value_dim for r in records)
