"""BERT (Devlin et al. 2018, arXiv 1810.04805) and what was distilled from it: encoders with learned positions."""

from __future__ import annotations

from bedplate.families.activations import ACTIVATION_NAMES
from bedplate.families.bert_config import BertConfig
from bedplate.families.weights import Line, Map, Table
from bedplate.nn.attention import Attention
from bedplate.nn.encoder import Encoder
from bedplate.nn.feedforward import FeedForward
from bedplate.nn.norm import LayerNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.stack import Embeddings


def build(c: BertConfig) -> Encoder:
    """The modules, parameters not yet set."""
    norm = LayerNorm(c.layer_norm_eps)
    attention = Attention(
        heads=c.num_attention_heads, kv_heads=c.num_attention_heads, head_dim=c.head_size, bias=True, out_bias=True
    )
    block = Block(
        Residual(attention, out_norm=norm),
        Residual(FeedForward(c.intermediate_size, ACTIVATION_NAMES[c.hidden_act]), out_norm=norm),
    )
    return Encoder(
        c.hidden_size,
        Embeddings(c.vocab_size, c.max_position_embeddings, token_types=c.type_vocab_size, norm=norm),
        [block] * c.num_hidden_layers,
        norm=None,
    )


def _map(ours: str, theirs: str) -> Line:
    """With the prefix that a model with a head has, and TensorFlow's names of a norm's gain and bias, both of which
    the first published checkpoints carry."""
    spellings = [theirs]
    if "LayerNorm." in theirs:
        older = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        stem, part = theirs.split("LayerNorm.")
        spellings.append(stem + older[f"LayerNorm.{part}"])
    return Map(ours, theirs, (*spellings[1:], *(f"bert.{s}" for s in spellings)))


def _both(ours: str, theirs: str) -> list[Line]:
    return [_map(f"{ours}.{part}", f"{theirs}.{part}") for part in ("weight", "bias")]


_BLOCK, _THEIRS = "blocks.{i}", "encoder.layer.{i}"
WEIGHTS = Table(
    [
        _map("embed.weight", "embeddings.word_embeddings.weight"),
        _map("embed_position.weight", "embeddings.position_embeddings.weight"),
        _map("embed_type.weight", "embeddings.token_type_embeddings.weight"),
        *_both("embed_norm", "embeddings.LayerNorm"),
        *_both(f"{_BLOCK}.0.sublayer.q", f"{_THEIRS}.attention.self.query"),
        *_both(f"{_BLOCK}.0.sublayer.k", f"{_THEIRS}.attention.self.key"),
        *_both(f"{_BLOCK}.0.sublayer.v", f"{_THEIRS}.attention.self.value"),
        *_both(f"{_BLOCK}.0.sublayer.o", f"{_THEIRS}.attention.output.dense"),
        *_both(f"{_BLOCK}.0.out_norm", f"{_THEIRS}.attention.output.LayerNorm"),
        *_both(f"{_BLOCK}.1.sublayer.up", f"{_THEIRS}.intermediate.dense"),
        *_both(f"{_BLOCK}.1.sublayer.down", f"{_THEIRS}.output.dense"),
        *_both(f"{_BLOCK}.1.out_norm", f"{_THEIRS}.output.LayerNorm"),
    ],
    ignored=("embeddings.position_ids", "bert.embeddings.position_ids"),
    carried=_both("pooler.dense", "pooler.dense"),
    left_out=("cls.",),
)
"""carried: BERT's own pooler, which sentence embeddings don't use. left_out: the heads of its pretraining."""
