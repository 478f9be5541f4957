"""Granite (IBM 2024): Llama in the parametrisation that makes learning rates carry over (arXiv 2203.03466)."""

from __future__ import annotations

from bedplate.families import llama
from bedplate.families.activations import ACTIVATION_NAMES
from bedplate.families.granite_config import GraniteConfig
from bedplate.families.rope_config import stretched
from bedplate.nn.attention import Attention
from bedplate.nn.decoder import Decoder
from bedplate.nn.feedforward import Gated
from bedplate.nn.norm import RMSNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.rope import Rope
from bedplate.nn.stack import Embeddings


def build(c: GraniteConfig) -> Decoder:
    """The modules, parameters not yet set."""
    norm, scale = RMSNorm(c.rms_norm_eps), c.residual_multiplier
    rope = Rope(c.rotated, c.rope_theta, stretched(c.rope_scaling, c.max_position_embeddings))
    attention = Attention(
        c.num_attention_heads, c.kv_heads, c.head_size, position=rope, bias=c.attention_bias, out_bias=c.attention_bias,
        scale=c.attention_multiplier,
    )  # fmt: skip
    feed_forward = Gated(c.intermediate_size, ACTIVATION_NAMES[c.hidden_act], c.mlp_bias)
    block = Block(Residual(attention, pre_norm=norm, scale=scale), Residual(feed_forward, pre_norm=norm, scale=scale))
    return Decoder(
        c.hidden_size, Embeddings(c.vocab_size, scale=c.embedding_multiplier), [block] * c.num_hidden_layers, norm,
        tied=c.tie_word_embeddings, head_scale=1 / c.logits_scaling,
    )  # fmt: skip


WEIGHTS = llama.WEIGHTS
"""Under Llama's names."""
