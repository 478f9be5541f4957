"""T5 (arXiv 1910.10683) and its kin: T5 1.1, Flan-T5 (arXiv 2210.11416), ByT5 (arXiv 2105.13626)."""

from __future__ import annotations

from bedplate.families.activations import ACTIVATION_NAMES
from bedplate.families.t5_config import T5Config
from bedplate.families.weights import Line, Map, Table
from bedplate.nn.attention import Attention
from bedplate.nn.cross_attention import CrossAttention
from bedplate.nn.decoder import Decoder
from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_decoder import EncoderDecoder
from bedplate.nn.feedforward import FeedForward, Gated
from bedplate.nn.norm import RMSNorm
from bedplate.nn.relative import RelativeBuckets
from bedplate.nn.residual import Block, Residual


def build(c: T5Config) -> EncoderDecoder:
    """The modules, parameters not yet set."""
    norm, width, heads = RMSNorm(c.layer_norm_eps), c.hidden_size, c.num_attention_heads
    attention = Residual(Attention(heads, heads, c.head_dim, relative=True, scale=1.0), pre_norm=norm)
    cross = Residual(CrossAttention(heads, c.head_dim, scale=1.0), pre_norm=norm)
    inner, activation = c.intermediate_size, ACTIVATION_NAMES[c.hidden_act]
    record = Gated(inner, activation) if c.gated else FeedForward(inner, activation, bias=False)
    feed_forward = Residual(record, pre_norm=norm)

    def buckets(two_sided: bool) -> RelativeBuckets:
        return RelativeBuckets(
            heads, c.relative_attention_num_buckets, c.relative_attention_max_distance, two_sided=two_sided
        )

    return EncoderDecoder(
        Encoder(
            width, c.vocab_size, [Block(attention, feed_forward)] * c.num_hidden_layers, norm, relative=buckets(True)
        ),
        Decoder(
            width, c.vocab_size, [Block(attention, cross, feed_forward)] * c.decoder_layers, norm,
            tied=c.tie_word_embeddings, relative=buckets(False),
            head_scale=width**-0.5 if c.tie_word_embeddings else 1.0,
        ),
    )  # fmt: skip


def tied(c: T5Config) -> dict[str, str]:
    """What a model lacks -> what stands for it. The two stacks' embeddings are always one."""
    lacking = ["decoder.embed.weight", *(["decoder.head.weight"] if c.tie_word_embeddings else [])]
    return dict.fromkeys(lacking, "encoder.embed.weight")


def weights(c: T5Config) -> Table:
    """Older files hold the embedding up to three times. An untied head that is missing starts as the embedding, which
    is what transformers 5 makes and saves from a configuration."""
    stacks = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
    lines = [
        Map("encoder.embed.weight", "shared.weight", stacks),
        Map("decoder.embed.weight", stacks[1], stacks[:1]),
        Map("decoder.head.weight", "lm_head.weight") if c.tie_word_embeddings else _HEAD,
    ]
    for side, layers in (("encoder", c.num_hidden_layers), ("decoder", c.decoder_layers)):
        first = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        lines += [
            Map(f"{side}.relative.weight", first),
            Map(f"{side}.norm.weight", f"{side}.final_layer_norm.weight"),
        ]
        # Written out by number: the two stacks needn't be equally deep.
        lines += [line.numbered(i) for i in range(layers) for line in _block(side, c.gated)]
    return Table(lines, ignored=["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"])


_HEAD = Line(
    ("decoder.head.weight",), ("lm_head.weight",), (("shared.weight",),),
    # A matrix of its own, though both may be read from one.
    to_ours=lambda stored: [stored[0].clone()], to_theirs=lambda parameters: parameters,
)  # fmt: skip


def _block(side: str, gated: bool) -> list[Line]:
    ours, theirs = f"{side}.blocks.{{i}}", f"{side}.block.{{i}}.layer"
    attentions = ["SelfAttention", *(["EncDecAttention"] if side == "decoder" else [])]
    last = len(attentions)
    maps = {"gate": "wi_0", "up": "wi_1", "down": "wo"} if gated else {"up": "wi", "down": "wo"}
    return [
        *(Map(f"{ours}.{n}.pre_norm.weight", f"{theirs}.{n}.layer_norm.weight") for n in range(last + 1)),
        *(
            Map(f"{ours}.{n}.sublayer.{p}.weight", f"{theirs}.{n}.{name}.{p}.weight")
            for n, name in enumerate(attentions)
            for p in "qkvo"
        ),
        *(
            Map(f"{ours}.{last}.sublayer.{mine}.weight", f"{theirs}.{last}.DenseReluDense.{name}.weight")
            for mine, name in maps.items()
        ),
    ]
