"""StarCoder 2 (Lozhkov et al. 2024, arXiv 2402.19173): grouped queries and windows in a GPT of LayerNorm and GELU."""

from __future__ import annotations

from bedplate.families.activations import ACTIVATION_NAMES
from bedplate.families.rope_config import stretched
from bedplate.families.starcoder2_config import Starcoder2Config
from bedplate.families.weights import Line, Map, Table
from bedplate.nn.attention import Attention
from bedplate.nn.decoder import Decoder
from bedplate.nn.feedforward import FeedForward
from bedplate.nn.norm import LayerNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.rope import Rope


def build(c: Starcoder2Config) -> Decoder:
    """The modules, parameters not yet set."""
    norm = LayerNorm(c.layer_norm_eps)
    rope = Rope(c.rotated, c.rope_theta, stretched(c.rope_scaling, c.max_position_embeddings))
    attention = Attention(
        c.num_attention_heads, c.kv_heads, c.head_size, position=rope, window=c.sliding_window, bias=c.use_bias,
        out_bias=c.use_bias,
    )  # fmt: skip
    feed_forward = FeedForward(c.intermediate_size, ACTIVATION_NAMES[c.hidden_act], c.use_bias)
    block = Block(Residual(attention, pre_norm=norm), Residual(feed_forward, pre_norm=norm))
    return Decoder(c.hidden_size, c.vocab_size, [block] * c.num_hidden_layers, norm, tied=c.tie_word_embeddings)


def _both(ours: str, theirs: str) -> list[Line]:
    return [Map(f"{ours}.{part}", f"{theirs}.{part}") for part in ("weight", "bias")]


_BLOCK, _THEIRS = "blocks.{i}", "model.layers.{i}"
WEIGHTS = Table(
    [
        Map("embed.weight", "model.embed_tokens.weight"),
        *_both(f"{_BLOCK}.0.pre_norm", f"{_THEIRS}.input_layernorm"),
        *(line for name in "qkvo" for line in _both(f"{_BLOCK}.0.sublayer.{name}", f"{_THEIRS}.self_attn.{name}_proj")),
        *_both(f"{_BLOCK}.1.pre_norm", f"{_THEIRS}.post_attention_layernorm"),
        *_both(f"{_BLOCK}.1.sublayer.up", f"{_THEIRS}.mlp.c_fc"),
        *_both(f"{_BLOCK}.1.sublayer.down", f"{_THEIRS}.mlp.c_proj"),
        *_both("norm", "model.norm"),
        Map("head.weight", "lm_head.weight"),
    ],
    ignored=(f"{_THEIRS}.self_attn.rotary_emb.inv_freq",),
)
