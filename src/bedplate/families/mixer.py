"""Decoders with recurrent layers: LSTM (Hochreiter and Schmidhuber 1997), gated linear attention (arXiv 2312.06635)."""

from __future__ import annotations

from bedplate.families.mixer_config import Mixer, MixerConfig
from bedplate.families.weights import Map, Table
from bedplate.nn.attention import Attention
from bedplate.nn.decoder import Decoder
from bedplate.nn.feedforward import SwiGLU
from bedplate.nn.gated_linear import GatedLinear
from bedplate.nn.lstm import LSTM
from bedplate.nn.norm import RMSNorm
from bedplate.nn.residual import Block, Residual, Sublayer
from bedplate.nn.rope import Rope


def build(c: MixerConfig) -> Decoder:
    """The modules, parameters not yet set."""
    norm, heads, size = RMSNorm(c.rms_norm_eps), c.num_attention_heads, c.hidden_size // c.num_attention_heads
    mixers: dict[Mixer, Sublayer] = {
        "attention": Attention(heads, heads, size, position=Rope(size, c.rope_theta)),
        "gated_linear": GatedLinear(heads, size // 2, size, c.rms_norm_eps),
        "lstm": LSTM(c.lstm_size or c.hidden_size),
    }
    feed_forward = Residual(SwiGLU(c.intermediate_size), pre_norm=norm)
    blocks = [Block(Residual(mixers[mixer], pre_norm=norm), feed_forward) for mixer in c.mixers]
    return Decoder(c.hidden_size, c.vocab_size, blocks, norm, tied=c.tie_word_embeddings)


def tied(c: MixerConfig) -> dict[str, str]:
    """What a tied model lacks -> what stands for it."""
    return {"head.weight": "embed.weight"} if c.tie_word_embeddings else {}


_MATRICES = ("q", "k", "v", "o", "gate", "decay", "input", "recurrent")
WEIGHTS = Table(
    [
        Map("embed.weight", "model.embed_tokens.weight"),
        Map("blocks.{i}.0.pre_norm.weight", "model.layers.{i}.mixer_norm.weight"),
        *(Map(f"blocks.{{i}}.0.sublayer.{m}.weight", f"model.layers.{{i}}.mixer.{m}.weight") for m in _MATRICES),
        *(Map(f"blocks.{{i}}.0.sublayer.{m}.bias", f"model.layers.{{i}}.mixer.{m}.bias") for m in ("decay", "input")),
        Map("blocks.{i}.0.sublayer.value_norm.weight", "model.layers.{i}.mixer.value_norm.weight"),
        Map("blocks.{i}.1.pre_norm.weight", "model.layers.{i}.mlp_norm.weight"),
        *(
            Map(f"blocks.{{i}}.1.sublayer.{m}.weight", f"model.layers.{{i}}.mlp.{m}.weight")
            for m in ("gate", "up", "down")
        ),
        Map("norm.weight", "model.norm.weight"),
        Map("head.weight", "lm_head.weight"),
    ]
)
