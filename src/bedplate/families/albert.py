"""ALBERT (Lan et al. 2019, arXiv 1909.11942): a narrow embedding, and blocks that are run many times."""

from __future__ import annotations

from bedplate.families.albert_config import AlbertConfig
from bedplate.families.bert import block, head, masked_head, pair, prefixed, tied, unused_bias
from bedplate.families.weights import Line, Map, Table
from bedplate.nn.encoder import Encoder
from bedplate.nn.norm import LayerNorm
from bedplate.nn.stack import Embeddings

__all__ = ["build", "tied", "weights"]


def build(c: AlbertConfig) -> Encoder:
    """The modules, parameters not yet set."""
    steps, groups, inner = c.num_hidden_layers, c.num_hidden_groups, c.inner_group_num
    embeddings = Embeddings(
        c.vocab_size, c.max_position_embeddings, token_types=c.type_vocab_size, norm=LayerNorm(c.layer_norm_eps),
        inner=c.embedding_size,
    )  # fmt: skip
    # The quotient is rounded before it divides, as the reference does it: that decides which step changes the group.
    order = [int(step / (steps / groups)) * inner + i for step in range(steps) for i in range(inner)]
    blocks = [block(c)] * (groups * inner)
    return Encoder(c.hidden_size, embeddings, blocks, norm=None, order=order, head=head(c, c.embedding_size))


def weights(c: AlbertConfig) -> Table:
    """As the class that `architectures` names saves them."""
    pooler = prefixed(c, "albert.", pair("head.transform.dense", "pooler"))
    numbers = [(group, i) for group in range(c.num_hidden_groups) for i in range(c.inner_group_num)]
    body: list[Line] = [
        Map("embed.weight", "embeddings.word_embeddings.weight"),
        Map("embed_position.weight", "embeddings.position_embeddings.weight"),
        Map("embed_type.weight", "embeddings.token_type_embeddings.weight"),
        *pair("embed_norm", "embeddings.LayerNorm"),
        *pair("embed_project", "encoder.embedding_hidden_mapping_in"),
        *(line for group, i in numbers for line in _block(group * c.inner_group_num + i, group, i)),
    ]
    return Table(
        [
            *prefixed(c, "albert.", body),
            *(pooler if c.head == "classes" else ()),
            *masked_head(c, "predictions.", "dense", "LayerNorm"),
            *(pair("head.out", "classifier") if c.labels else ()),
        ],
        ignored=("embeddings.position_ids", "albert.embeddings.position_ids"),
        carried=[*([] if c.head == "classes" else pooler), *unused_bias(c, "predictions.bias")],
        left_out=("sop_classifier.",) if c.head == "masked" else () if c.head else ("predictions.", "sop_classifier."),
    )


def _block(number: int, group: int, i: int) -> list[Line]:
    ours, theirs = f"blocks.{number}", f"encoder.albert_layer_groups.{group}.albert_layers.{i}"
    names = {
        "0.sublayer.q": "attention.query", "0.sublayer.k": "attention.key", "0.sublayer.v": "attention.value",
        "0.sublayer.o": "attention.dense", "0.out_norm": "attention.LayerNorm", "1.sublayer.up": "ffn",
        "1.sublayer.down": "ffn_output", "1.out_norm": "full_layer_layer_norm",
    }  # fmt: skip
    return [line for mine, name in names.items() for line in pair(f"{ours}.{mine}", f"{theirs}.{name}")]
