"""BART (Lewis et al. 2019, arXiv 1910.13461): an encoder-decoder with learned positions and norms after sublayers."""

from __future__ import annotations

import torch

from bedplate.families.activations import ACTIVATION_NAMES
from bedplate.families.bart_config import BartConfig
from bedplate.families.weights import Line, Map, Table
from bedplate.nn.attention import Attention
from bedplate.nn.cross_attention import CrossAttention
from bedplate.nn.decoder import Decoder
from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_decoder import EncoderDecoder
from bedplate.nn.feedforward import FeedForward
from bedplate.nn.norm import LayerNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.stack import Embeddings

OFFSET = 2
"""Rows of positions before the first that is used."""


def build(c: BartConfig) -> EncoderDecoder:
    """The modules, parameters not yet set."""
    norm, width, activation = LayerNorm(), c.hidden_size, ACTIVATION_NAMES[c.hidden_act]
    scale = width**0.5 if c.scale_embedding else 1.0
    embeddings = Embeddings(c.vocab_size, c.max_position_embeddings + OFFSET, OFFSET, norm=norm, scale=scale)

    def attention(heads: int) -> Residual:
        return Residual(Attention(heads, heads, width // heads, bias=True, out_bias=True), out_norm=norm)

    def feed_forward(inner: int) -> Residual:
        return Residual(FeedForward(inner, activation), out_norm=norm)

    heads = c.decoder_attention_heads
    cross = Residual(CrossAttention(heads, width // heads, bias=True, out_bias=True), out_norm=norm)
    reading = Block(attention(c.encoder_attention_heads), feed_forward(c.encoder_ffn_dim))
    writing = Block(attention(heads), cross, feed_forward(c.decoder_ffn_dim))
    return EncoderDecoder(
        Encoder(width, embeddings, [reading] * c.num_hidden_layers, norm=None),
        Decoder(width, embeddings, [writing] * c.decoder_layers, norm=None, tied=True),
        logit_bias=True,
    )


def tied(c: BartConfig) -> dict[str, str]:
    """What a model lacks -> what stands for it: one matrix is both stacks' embedding and the head."""
    return dict.fromkeys(("decoder.embed.weight", "decoder.head.weight"), "encoder.embed.weight")


def weights(c: BartConfig) -> Table:
    """Checkpoints without a head lack the prefix `model.` and the constant beside the head, which is then 0."""
    stacks = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
    spelt = [*(f"model.{s}" for s in stacks), "shared.weight", *stacks]
    lines = [
        Map("encoder.embed.weight", "model.shared.weight", spelt),
        Map("decoder.embed.weight", spelt[1], [spelt[0], *stacks]),
        Map("decoder.head.weight", "lm_head.weight"),
        Line(
            ("logit_bias",), ("final_logits_bias",),
            to_ours=lambda stored: [stored[0].flatten() if stored else torch.zeros(c.vocab_size)],
            to_theirs=lambda parameters: [parameters[0][None]], optional=True,
        ),
    ]  # fmt: skip
    for side, layers in (("encoder", c.num_hidden_layers), ("decoder", c.decoder_layers)):
        lines += [
            _map(f"{side}.embed_position.weight", f"{side}.embed_positions.weight"),
            *_both(f"{side}.embed_norm", f"{side}.layernorm_embedding"),
        ]
        # Written out by number: the two stacks needn't be equally deep.
        lines += [line.numbered(i) for i in range(layers) for line in _block(side)]
    return Table(lines)


def _block(side: str) -> list[Line]:
    ours, theirs = f"{side}.blocks.{{i}}", f"{side}.layers.{{i}}"
    attentions = ["self_attn", *(["encoder_attn"] if side == "decoder" else [])]
    last = len(attentions)
    norms = [*(f"{name}_layer_norm" for name in attentions), "final_layer_norm"]
    maps = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "out_proj"}
    return [
        *(line for n, name in enumerate(norms) for line in _both(f"{ours}.{n}.out_norm", f"{theirs}.{name}")),
        *(
            line
            for n, name in enumerate(attentions)
            for mine, their in maps.items()
            for line in _both(f"{ours}.{n}.sublayer.{mine}", f"{theirs}.{name}.{their}")
        ),
        *_both(f"{ours}.{last}.sublayer.up", f"{theirs}.fc1"),
        *_both(f"{ours}.{last}.sublayer.down", f"{theirs}.fc2"),
    ]


def _map(ours: str, theirs: str) -> Line:
    return Map(ours, f"model.{theirs}", [theirs])


def _both(ours: str, theirs: str) -> list[Line]:
    return [_map(f"{ours}.{part}", f"{theirs}.{part}") for part in ("weight", "bias")]
