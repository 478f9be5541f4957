"""Phi-3 (Microsoft 2024, arXiv 2404.14219) and Phi-4: Llama whose maps are joined in the file."""

from __future__ import annotations

from dataclasses import replace

from bedplate.families import llama
from bedplate.families.activations import ACTIVATION_NAMES
from bedplate.families.phi3_config import Phi3Config
from bedplate.families.rope_config import stretched
from bedplate.families.weights import Table, fused
from bedplate.nn.attention import Attention
from bedplate.nn.decoder import Decoder
from bedplate.nn.feedforward import Gated
from bedplate.nn.norm import RMSNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.rope import Rope


def build(c: Phi3Config) -> Decoder:
    """The modules, parameters not yet set."""
    norm = RMSNorm(c.rms_norm_eps)
    rope = Rope(c.rotated, c.rope_theta, stretched(c.rope_scaling, c.original_max_position_embeddings))
    attention = Attention(c.num_attention_heads, c.kv_heads, c.head_size, position=rope, window=c.sliding_window)
    feed_forward = Gated(c.intermediate_size, ACTIVATION_NAMES[c.hidden_act])
    block = Block(Residual(attention, pre_norm=norm), Residual(feed_forward, pre_norm=norm))
    return Decoder(c.hidden_size, c.vocab_size, [block] * c.num_hidden_layers, norm, tied=c.tie_word_embeddings)


def weights(c: Phi3Config) -> Table:
    """Llama's names but for what is joined."""
    ours, theirs = "blocks.{i}", "model.layers.{i}"
    queries, keys = c.num_attention_heads * c.head_size, c.kv_heads * c.head_size
    qkv = [f"{ours}.0.sublayer.{name}.weight" for name in "qkv"]
    gate_up = [f"{ours}.1.sublayer.{name}.weight" for name in ("gate", "up")]
    joined = [
        fused(qkv, f"{theirs}.self_attn.qkv_proj.weight", [queries, keys, keys]),
        fused(gate_up, f"{theirs}.mlp.gate_up_proj.weight", [c.intermediate_size] * 2),
    ]
    return replace(llama.WEIGHTS, maps=[*llama.WEIGHTS.maps, *joined])
