"""OLMo 2 (OLMo team 2024, arXiv 2501.00656): Llama with its norms after the sublayers, before the addition."""

from __future__ import annotations

from dataclasses import replace

from bedplate.families import llama
from bedplate.families.activations import ACTIVATION_NAMES
from bedplate.families.olmo2_config import Olmo2Config
from bedplate.families.rope_config import stretched
from bedplate.families.weights import Map
from bedplate.nn.attention import Attention
from bedplate.nn.decoder import Decoder
from bedplate.nn.feedforward import Gated
from bedplate.nn.norm import RMSNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.rope import Rope


def build(c: Olmo2Config) -> Decoder:
    """The modules, parameters not yet set."""
    norm = RMSNorm(c.rms_norm_eps)
    rope = Rope(c.rotated, c.rope_theta, stretched(c.rope_scaling, c.max_position_embeddings))
    attention = Attention(
        c.num_attention_heads, c.kv_heads, c.head_size, position=rope, bias=c.attention_bias, out_bias=c.attention_bias,
        qk_norm=norm, qk_norm_over="all",
    )  # fmt: skip
    feed_forward = Gated(c.intermediate_size, ACTIVATION_NAMES[c.hidden_act])
    block = Block(Residual(attention, post_norm=norm), Residual(feed_forward, post_norm=norm))
    return Decoder(c.hidden_size, c.vocab_size, [block] * c.num_hidden_layers, norm, tied=c.tie_word_embeddings)


_NORMS = [
    Map(f"blocks.{{i}}.{place}.post_norm.weight", f"model.layers.{{i}}.post_{name}_layernorm.weight")
    for place, name in enumerate(("attention", "feedforward"))
]
WEIGHTS = replace(llama.WEIGHTS, maps=[*llama.WEIGHTS.maps, *_NORMS])
