"""Gemma 2 (Gemma team 2024, arXiv 2408.00118) and the text models of Gemma 3 (2503.19786)."""

from __future__ import annotations

import math
from dataclasses import replace

from bedplate.families import llama
from bedplate.families.activations import ACTIVATION_NAMES
from bedplate.families.gemma_config import Gemma2Config, Gemma3Config, LayerType
from bedplate.families.rope_config import stretched
from bedplate.families.weights import Map
from bedplate.nn.attention import Attention
from bedplate.nn.decoder import Decoder
from bedplate.nn.feedforward import Gated
from bedplate.nn.norm import RMSNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.rope import Rope
from bedplate.nn.stack import Embeddings


def build(c: Gemma2Config | Gemma3Config) -> Decoder:
    """The modules, parameters not yet set."""
    norm, third = RMSNorm(c.rms_norm_eps, offset=1.0), isinstance(c, Gemma3Config)
    rope = Rope(c.rotated, c.rope_theta, stretched(c.rope_scaling, c.max_position_embeddings))
    local = Rope(c.rotated, c.rope_local_theta) if isinstance(c, Gemma3Config) else rope
    feed_forward = Gated(c.intermediate_size, ACTIVATION_NAMES[c.hidden_act])

    def block(kind: LayerType) -> Block:
        sliding = kind == "sliding_attention"
        attention = Attention(
            c.num_attention_heads, c.kv_heads, c.head_size, position=local if sliding else rope,
            window=c.sliding_window if sliding else None, bias=c.attention_bias, out_bias=c.attention_bias,
            qk_norm=norm if third else None, scale=1 / math.sqrt(c.query_pre_attn_scalar),
            softcap=c.attn_logit_softcapping if isinstance(c, Gemma2Config) else None,
        )  # fmt: skip
        return Block(*(Residual(part, pre_norm=norm, post_norm=norm) for part in (attention, feed_forward)))

    embeddings = Embeddings(c.vocab_size, scale=math.sqrt(c.hidden_size))
    blocks = [block(kind) for kind in c.types]
    return Decoder(
        c.hidden_size, embeddings, blocks, norm, tied=c.tie_word_embeddings, softcap=c.final_logit_softcapping
    )


_NORMS = {
    "0.post_norm": "post_attention_layernorm",
    "1.pre_norm": "pre_feedforward_layernorm",
    "1.post_norm": "post_feedforward_layernorm",
}
WEIGHTS = replace(
    llama.WEIGHTS,
    maps=[
        *llama.WEIGHTS.maps,
        *(Map(f"blocks.{{i}}.{ours}.weight", f"model.layers.{{i}}.{name}.weight") for ours, name in _NORMS.items()),
    ],
)
