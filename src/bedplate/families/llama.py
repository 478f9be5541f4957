"""Llama (arXiv 2302.13971, 2407.21783), Mistral (2310.06825), Qwen 2, 3 (2407.10671, 2505.09388): one architecture."""

from __future__ import annotations

from bedplate.families.llama_config import LlamaConfig
from bedplate.families.rope_config import stretched
from bedplate.families.weights import Line, Map, Table
from bedplate.nn.attention import Attention
from bedplate.nn.decoder import Decoder
from bedplate.nn.feedforward import SwiGLU
from bedplate.nn.norm import RMSNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.rope import Rope


def build(c: LlamaConfig) -> Decoder:
    """The modules, parameters not yet set."""
    norm = RMSNorm(c.rms_norm_eps)
    rope = Rope(c.head_size, c.rope_theta, stretched(c.rope_scaling, c.max_position_embeddings))

    def block(window: int | None) -> Block:
        attention = Attention(
            heads=c.num_attention_heads, kv_heads=c.kv_heads, head_dim=c.head_size, position=rope, window=window,
            bias=c.qkv_bias, out_bias=c.out_bias, qk_norm=norm if c.qk_norm else None,
        )  # fmt: skip
        return Block(
            Residual(attention, pre_norm=norm), Residual(SwiGLU(c.intermediate_size, c.mlp_bias), pre_norm=norm)
        )

    windows = c.windows or (None,) * c.num_hidden_layers
    return Decoder(c.hidden_size, c.vocab_size, [block(w) for w in windows], norm, tied=c.tie_word_embeddings)


def tied(c: LlamaConfig) -> dict[str, str]:
    """What a tied model lacks -> what stands for it."""
    return {"head.weight": "embed.weight"} if c.tie_word_embeddings else {}


def _linear(ours: str, theirs: str) -> list[Line]:
    return [Map(f"{ours}.{part}", f"{theirs}.{part}") for part in ("weight", "bias")]


_BLOCK, _THEIRS = "blocks.{i}", "model.layers.{i}"
WEIGHTS = Table(
    [
        Map("embed.weight", "model.embed_tokens.weight"),
        Map(f"{_BLOCK}.0.pre_norm.weight", f"{_THEIRS}.input_layernorm.weight"),
        *(
            line
            for name in "qkvo"
            for line in _linear(f"{_BLOCK}.0.sublayer.{name}", f"{_THEIRS}.self_attn.{name}_proj")
        ),
        Map(f"{_BLOCK}.0.sublayer.q_norm.weight", f"{_THEIRS}.self_attn.q_norm.weight"),
        Map(f"{_BLOCK}.0.sublayer.k_norm.weight", f"{_THEIRS}.self_attn.k_norm.weight"),
        Map(f"{_BLOCK}.1.pre_norm.weight", f"{_THEIRS}.post_attention_layernorm.weight"),
        *(
            line
            for name in ("gate", "up", "down")
            for line in _linear(f"{_BLOCK}.1.sublayer.{name}", f"{_THEIRS}.mlp.{name}_proj")
        ),
        Map("norm.weight", "model.norm.weight"),
        Map("head.weight", "lm_head.weight"),
    ],
    ignored=(f"{_THEIRS}.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"),
)
