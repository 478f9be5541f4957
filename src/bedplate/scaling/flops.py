"""Floating-point operations of training and inference, from the parameter table.

The rule (PaLM, arXiv 2204.02311, appendix B): 2 operations forward and 4 backward for each token and matrix parameter
that it is multiplied by (of many experts only those that it takes), plus attention's two products over the whole row,
4 * T * width of all heads a layer forward and twice that backward.
Masked pairs count too, as is the custom, so that figures compare with other projects'; embeddings, norms and softmaxes
don't.
"""

from __future__ import annotations

from bedplate.nn.attention import AttentionLayer
from bedplate.nn.decoder import Decoder
from bedplate.nn.encoder import Encoder
from bedplate.nn.parameters import parameter_table

METHOD = "6 * active matrix parameters + 12 * layers * heads * head_dim * length, per token"


def training_flops_per_token(net: Decoder | Encoder, length: int) -> float:
    """Forward and backward operations for one token in rows of `length`."""
    return 3 * forward_flops_per_token(net, length)


def forward_flops_per_token(net: Decoder | Encoder, length: int) -> float:
    """Forward operations for one token in rows of `length`; the decoder's head included, an encoder has none."""
    return 2 * matrix_parameters(net) + 4 * attention_width(net) * length


def matrix_parameters(net: Decoder | Encoder) -> int:
    """Numbers in matrices that a token is multiplied by: hidden matrices, of experts those that it takes, and the head,
    tied or not."""
    table = parameter_table(net)
    matrices = ((table[name], p.numel()) for name, p in net.named_parameters() if table[name].role == "hidden")
    hidden = sum(round(count * info.active) for info, count in matrices)
    return hidden + (0 if isinstance(net, Encoder) else net.head_weight.numel())


def attention_width(net: Decoder | Encoder) -> int:
    """Sum over layers of heads * head_dim."""
    return sum(m.q.out_features for m in net.modules() if isinstance(m, AttentionLayer))
