"""GPT-NeoX (Black et al. 2022, arXiv 2204.06745) and Pythia (2304.01373): parallel residuals, partial rotations."""

from __future__ import annotations

from bedplate.families.activations import ACTIVATION_NAMES
from bedplate.families.gpt_neox_config import GPTNeoXConfig
from bedplate.families.rope_config import stretched
from bedplate.families.weights import Line, Map, Table, interleaved
from bedplate.nn.attention import Attention
from bedplate.nn.decoder import Decoder
from bedplate.nn.feedforward import FeedForward
from bedplate.nn.norm import LayerNorm
from bedplate.nn.residual import Block, Parallel, Residual
from bedplate.nn.rope import Rope


def build(c: GPTNeoXConfig) -> Decoder:
    """The modules, parameters not yet set. Side by side or in turn, a block's residuals have the same names."""
    norm, heads = LayerNorm(c.layer_norm_eps), c.num_attention_heads
    rope = Rope(c.rotated, c.rope_theta, stretched(c.rope_scaling, c.max_position_embeddings))
    attention = Attention(heads, heads, c.head_size, position=rope, bias=c.attention_bias, out_bias=c.attention_bias)
    feed_forward = FeedForward(c.intermediate_size, ACTIVATION_NAMES[c.hidden_act])
    residuals = Residual(attention, pre_norm=norm), Residual(feed_forward, pre_norm=norm)
    block = Block(Parallel(*residuals)) if c.use_parallel_residual else Block(*residuals)
    return Decoder(c.hidden_size, c.vocab_size, [block] * c.num_hidden_layers, norm, tied=c.tie_word_embeddings)


def weights(c: GPTNeoXConfig) -> Table:
    """Queries, keys and values are joined head by head."""
    ours, theirs = "blocks.{i}" + (".0" if c.use_parallel_residual else ""), "gpt_neox.layers.{i}"

    def both(mine: str, name: str) -> list[Line]:
        return [Map(f"{mine}.{part}", f"{name}.{part}") for part in ("weight", "bias")]

    return Table(
        [
            Map("embed.weight", "gpt_neox.embed_in.weight"),
            *both(f"{ours}.0.pre_norm", f"{theirs}.input_layernorm"),
            *(
                interleaved(
                    [f"{ours}.0.sublayer.{x}.{part}" for x in "qkv"],
                    f"{theirs}.attention.query_key_value.{part}",
                    c.num_attention_heads,
                )
                for part in ("weight", "bias")
            ),
            *both(f"{ours}.0.sublayer.o", f"{theirs}.attention.dense"),
            *both(f"{ours}.1.pre_norm", f"{theirs}.post_attention_layernorm"),
            *both(f"{ours}.1.sublayer.up", f"{theirs}.mlp.dense_h_to_4h"),
            *both(f"{ours}.1.sublayer.down", f"{theirs}.mlp.dense_4h_to_h"),
            *both("norm", "gpt_neox.final_layer_norm"),
            Map("head.weight", "embed_out.weight", ["lm_head.weight"]),
        ],
        ignored=[f"{theirs}.attention.{name}" for name in ("bias", "masked_bias", "rotary_emb.inv_freq")],
    )
