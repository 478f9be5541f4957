"""ModernBERT (Warner et al. 2024, arXiv 2412.13663): norms before, rotary positions, local and global layers."""

from __future__ import annotations

from bedplate.families.activations import ACTIVATION_NAMES
from bedplate.families.bert import pair, prefixed
from bedplate.families.modernbert_config import LayerType, ModernBertConfig
from bedplate.families.weights import Line, Map, Table, fused
from bedplate.nn.attention import Attention
from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_heads import ClassHead, MaskedHead, Transform
from bedplate.nn.feedforward import Gated
from bedplate.nn.norm import LayerNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.rope import Rope
from bedplate.nn.stack import Embeddings


def build(c: ModernBertConfig) -> Encoder:
    """The modules, parameters not yet set."""
    norm, heads = LayerNorm(c.layer_norm_eps, c.norm_bias), c.num_attention_heads

    def block(number: int, kind: LayerType) -> Block:
        full = kind == "full_attention"
        attention = Attention(
            heads, heads, c.head_size,
            position=Rope(c.head_size, c.full_theta if full else c.sliding_theta),
            # Half on either side: what is less than this far away.
            window=None if full else c.local_attention // 2 + 1,
            bias=c.attention_bias, out_bias=c.attention_bias,
        )  # fmt: skip
        feed_forward = Gated(c.intermediate_size, ACTIVATION_NAMES[c.hidden_act], c.mlp_bias)
        # The first block reads the embedding, which is normed already.
        return Block(Residual(attention, pre_norm=norm if number else None), Residual(feed_forward, pre_norm=norm))

    blocks = [block(number, kind) for number, kind in enumerate(c.layer_types)]
    return Encoder(c.hidden_size, Embeddings(c.vocab_size, norm=norm), blocks, norm, head=_head(c))


def _head(c: ModernBertConfig) -> MaskedHead | ClassHead | None:
    norm = LayerNorm(c.layer_norm_eps, c.norm_bias)
    transform = Transform(ACTIVATION_NAMES[c.classifier_activation], norm, bias=c.classifier_bias)
    if c.head == "masked":
        return MaskedHead(transform, tied=c.tie_word_embeddings, bias=c.decoder_bias)
    if c.head is None:
        return None
    return ClassHead(len(c.labels), c.classifier_pooling if c.head == "classes" else None, transform)


def tied(c: ModernBertConfig) -> dict[str, str]:
    """What a tied model lacks -> what stands for it."""
    return {"head.out.weight": "embed.weight"} if c.head == "masked" and c.tie_word_embeddings else {}


def weights(c: ModernBertConfig) -> Table:
    """As the class that `architectures` names saves them."""
    ours, theirs, inner = "blocks.{i}", "layers.{i}", c.intermediate_size
    parts = ("weight", "bias")
    thirds = [[f"{ours}.0.sublayer.{x}.{part}" for x in "qkv"] for part in parts]
    halves = [[f"{ours}.1.sublayer.{x}.{part}" for x in ("gate", "up")] for part in parts]
    body: list[Line] = [
        Map("embed.weight", "embeddings.tok_embeddings.weight"),
        *pair("embed_norm", "embeddings.norm"),
        *pair(f"{ours}.0.pre_norm", f"{theirs}.attn_norm"),
        *(fused(x, f"{theirs}.attn.Wqkv.{p}", [c.hidden_size] * 3) for x, p in zip(thirds, parts, strict=True)),
        *pair(f"{ours}.0.sublayer.o", f"{theirs}.attn.Wo"),
        *pair(f"{ours}.1.pre_norm", f"{theirs}.mlp_norm"),
        *(fused(x, f"{theirs}.mlp.Wi.{p}", [inner] * 2) for x, p in zip(halves, parts, strict=True)),
        *pair(f"{ours}.1.sublayer.down", f"{theirs}.mlp.Wo"),
        *pair("norm", "final_norm"),
    ]
    last = [Map("head.out.weight", "decoder.weight"), Map("head.bias", "decoder.bias")]
    return Table(
        [
            *prefixed(c, "model.", body),
            *pair("head.transform.dense", "head.dense"),
            *pair("head.transform.norm", "head.norm"),
            *(last if c.head == "masked" else pair("head.out", "classifier")),
        ],
        left_out=() if c.head else ("head.", "decoder."),
    )
