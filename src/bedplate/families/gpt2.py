"""GPT-2 (Radford et al. 2019): learned positions, LayerNorm, GELU."""

from __future__ import annotations

from collections.abc import Sequence

from bedplate.families.activations import ACTIVATION_NAMES
from bedplate.families.gpt2_config import GPT2Config
from bedplate.families.weights import Line, Map, Table, fused, transposed
from bedplate.nn.attention import Attention
from bedplate.nn.decoder import Decoder
from bedplate.nn.feedforward import FeedForward
from bedplate.nn.norm import LayerNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.stack import Embeddings


def build(c: GPT2Config) -> Decoder:
    """The modules, parameters not yet set."""
    norm, width, heads = LayerNorm(c.layer_norm_eps), c.hidden_size, c.num_attention_heads
    scale = None if c.scale_attn_weights else 1.0
    attention = Attention(heads, heads, width // heads, bias=True, out_bias=True, scale=scale)
    feed_forward = FeedForward(c.intermediate_size or 4 * width, ACTIVATION_NAMES[c.hidden_act])
    block = Block(Residual(attention, pre_norm=norm), Residual(feed_forward, pre_norm=norm))
    embeddings = Embeddings(c.vocab_size, c.max_position_embeddings)
    return Decoder(width, embeddings, [block] * c.num_hidden_layers, norm, tied=c.tie_word_embeddings)


def tied(c: GPT2Config) -> dict[str, str]:
    """What a tied model lacks -> what stands for it."""
    return {"head.weight": "embed.weight"} if c.tie_word_embeddings else {}


def weights(c: GPT2Config) -> Table:
    """The first checkpoints lack the prefix that a model with a head has."""
    ours, theirs, thirds = "blocks.{i}", "h.{i}", [c.hidden_size] * 3

    def norm(mine: str, name: str) -> list[Line]:
        return [Map(f"{mine}.{p}", f"transformer.{name}.{p}", [f"{name}.{p}"]) for p in ("weight", "bias")]

    def linear(mine: str, name: str) -> Sequence[Line]:
        name = f"{theirs}.{name}"
        return (
            transposed(f"{ours}.{mine}.weight", f"transformer.{name}.weight", [f"{name}.weight"]),
            Map(f"{ours}.{mine}.bias", f"transformer.{name}.bias", [f"{name}.bias"]),
        )

    def joined(part: str) -> Line:
        names, name = [f"{ours}.0.sublayer.{x}.{part}" for x in "qkv"], f"{theirs}.attn.c_attn.{part}"
        return fused(names, f"transformer.{name}", thirds, [name], transpose=part == "weight")

    return Table(
        [
            Map("embed.weight", "transformer.wte.weight", ["wte.weight"]),
            Map("embed_position.weight", "transformer.wpe.weight", ["wpe.weight"]),
            *norm(f"{ours}.0.pre_norm", f"{theirs}.ln_1"),
            joined("weight"),
            joined("bias"),
            *linear("0.sublayer.o", "attn.c_proj"),
            *norm(f"{ours}.1.pre_norm", f"{theirs}.ln_2"),
            *linear("1.sublayer.up", "mlp.c_fc"),
            *linear("1.sublayer.down", "mlp.c_proj"),
            *norm("norm", "ln_f"),
            Map("head.weight", "lm_head.weight"),
        ],
        ignored=[f"{p}{theirs}.attn.{b}" for p in ("", "transformer.") for b in ("bias", "masked_bias")],
    )
