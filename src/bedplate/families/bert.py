"""BERT (Devlin et al. 2018, arXiv 1810.04805) and what was distilled from it: encoders with learned positions."""

from __future__ import annotations

from collections.abc import Iterable

from bedplate.families.activations import ACTIVATION_NAMES, HiddenAct
from bedplate.families.bert_config import BertConfig, BertShape
from bedplate.families.encoder_config import EncoderConfig
from bedplate.families.weights import Line, Map, Table
from bedplate.nn.attention import Attention
from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_heads import ClassHead, MaskedHead, Transform
from bedplate.nn.feedforward import FeedForward
from bedplate.nn.norm import LayerNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.stack import Embeddings


def build(c: BertShape, masked_act: HiddenAct | None = None) -> Encoder:
    """The modules, parameters not yet set. masked_act: the masked head's function, where it isn't `hidden_act`."""
    embeddings = Embeddings(
        c.vocab_size, c.max_position_embeddings, c.position_offset, c.type_vocab_size, LayerNorm(c.layer_norm_eps)
    )
    return Encoder(
        c.hidden_size, embeddings, [block(c)] * c.num_hidden_layers, norm=None, head=head(c, masked_act=masked_act)
    )


def block(c: BertShape) -> Block:
    """Attention and feed-forward, each normed after the addition."""
    norm = LayerNorm(c.layer_norm_eps)
    heads = c.num_attention_heads
    attention = Attention(heads=heads, kv_heads=heads, head_dim=c.head_size, bias=True, out_bias=True)
    feed_forward = FeedForward(c.intermediate_size, ACTIVATION_NAMES[c.hidden_act])
    return Block(Residual(attention, out_norm=norm), Residual(feed_forward, out_norm=norm))


def head(
    c: EncoderConfig, width: int | None = None, masked_act: HiddenAct | None = None
) -> MaskedHead | ClassHead | None:
    """The head that the configuration asks for. width: of the embedding, where it isn't the encoder's; masked_act: the
    masked head's function, where it isn't `hidden_act`."""
    if c.head == "masked":
        transform = Transform(ACTIVATION_NAMES[masked_act or c.hidden_act], LayerNorm(c.layer_norm_eps), width)
        return MaskedHead(transform, tied=c.tie_word_embeddings)
    if c.head == "classes":
        return ClassHead(len(c.labels), "cls", Transform("tanh"))
    return ClassHead(len(c.labels), None) if c.head else None


def tied(c: EncoderConfig) -> dict[str, str]:
    """What a tied model lacks -> what stands for it: the decoder's matrix, and its bias under another name."""
    both = {"head.out.weight": "embed.weight", "head.out.bias": "head.bias"}
    return both if c.head == "masked" and c.tie_word_embeddings else {}


def weights(c: BertConfig) -> Table:
    """As the class that `architectures` names saves them; the other prefix is read, and TensorFlow's names of a norm's
    gain and bias, both of which the first published checkpoints carry."""
    pooler = prefixed(c, "bert.", pair("head.transform.dense", "pooler.dense"))
    return Table(
        [
            *prefixed(c, "bert.", body("encoder.layer.{i}")),
            *(pooler if c.head == "classes" else ()),
            *masked_head(c, "cls.predictions.", "transform.dense", "transform.LayerNorm"),
            *(pair("head.out", "classifier") if c.labels else ()),
        ],
        ignored=("embeddings.position_ids", "bert.embeddings.position_ids"),
        carried=[*([] if c.head == "classes" else pooler), *unused_bias(c, "cls.predictions.bias")],
        left_out=("cls.seq_relationship.",) if c.head == "masked" else () if c.head else ("cls.",),
    )


def body(theirs: str, ours: str = "blocks.{i}") -> list[Line]:
    """Embeddings and blocks, in the names of BERT and RoBERTa; without the prefix of a model with a head."""
    return [
        Map("embed.weight", "embeddings.word_embeddings.weight"),
        Map("embed_position.weight", "embeddings.position_embeddings.weight"),
        Map("embed_type.weight", "embeddings.token_type_embeddings.weight"),
        *pair("embed_norm", "embeddings.LayerNorm"),
        *pair(f"{ours}.0.sublayer.q", f"{theirs}.attention.self.query"),
        *pair(f"{ours}.0.sublayer.k", f"{theirs}.attention.self.key"),
        *pair(f"{ours}.0.sublayer.v", f"{theirs}.attention.self.value"),
        *pair(f"{ours}.0.sublayer.o", f"{theirs}.attention.output.dense"),
        *pair(f"{ours}.0.out_norm", f"{theirs}.attention.output.LayerNorm"),
        *pair(f"{ours}.1.sublayer.up", f"{theirs}.intermediate.dense"),
        *pair(f"{ours}.1.sublayer.down", f"{theirs}.output.dense"),
        *pair(f"{ours}.1.out_norm", f"{theirs}.output.LayerNorm"),
    ]


def masked_head(c: EncoderConfig, prefix: str, dense: str, norm: str) -> list[Line]:
    """The masked head's lines; none where there is no such head. Where it is tied one bias is called by two names, and
    where it isn't there are two, of which the decoder's is used."""
    if c.head != "masked":
        return []
    bias = "bias" if c.tie_word_embeddings else "decoder.bias"
    return [
        *pair("head.transform.dense", f"{prefix}{dense}"),
        *pair("head.transform.norm", f"{prefix}{norm}"),
        Map("head.out.weight", f"{prefix}decoder.weight"),
        Map("head.out.bias", f"{prefix}decoder.bias"),
        Map("head.bias", f"{prefix}{bias}"),
    ]


def unused_bias(c: EncoderConfig, name: str) -> list[Line]:
    """The second bias of an untied masked head, which no logit is computed with."""
    return [] if c.head != "masked" or c.tie_word_embeddings else [Map("unused.bias", name)]


def pair(ours: str, theirs: str) -> list[Line]:
    """Weight and bias, a norm's also by TensorFlow's names."""
    lines = []
    for part, older in (("weight", "gamma"), ("bias", "beta")):
        spellings = [f"{theirs}.{older}"] if theirs.lower().endswith(("layernorm", "layer_norm")) else []
        lines.append(Map(f"{ours}.{part}", f"{theirs}.{part}", spellings))
    return lines


def prefixed(c: EncoderConfig, prefix: str, lines: Iterable[Line]) -> list[Line]:
    """Lines of the encoder itself: with the prefix under a head, without it where there is none, both read."""
    first, second = (prefix, "") if c.head else ("", prefix)
    made = []
    for line in lines:
        names = [f"{p}{name}" for p in (first, second) for (name,) in line.spellings]
        made.append(Line(line.ours, (names[0],), tuple((name,) for name in names[1:]), line.to_ours, line.to_theirs))
    return made
