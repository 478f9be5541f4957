"""ESM-2 (Lin et al. 2023, doi 10.1126/science.ade2574) and ESM-1b: encoders of proteins, one token an amino acid."""

from __future__ import annotations

from bedplate.families.bert import head, pair, prefixed
from bedplate.families.esm_config import EsmConfig
from bedplate.families.weights import Line, Map, Table
from bedplate.nn.attention import Attention
from bedplate.nn.encoder import Encoder
from bedplate.nn.feedforward import FeedForward
from bedplate.nn.norm import LayerNorm
from bedplate.nn.residual import Block, Residual
from bedplate.nn.rope import Rope
from bedplate.nn.stack import Embeddings
from bedplate.nn.token_dropout import TokenDropout


def build(c: EsmConfig) -> Encoder:
    """The modules, parameters not yet set."""
    norm, heads = LayerNorm(c.layer_norm_eps), c.num_attention_heads
    rotary = c.position_embedding_type == "rotary"
    dropout = TokenDropout(c.mask_token_id) if c.token_dropout and c.mask_token_id is not None else None
    embeddings = Embeddings(
        c.vocab_size, 0 if rotary else c.max_position_embeddings, c.position_offset,
        norm=norm if c.emb_layer_norm_before else None, dropout=dropout,
    )  # fmt: skip
    rope = Rope(c.head_size, c.rope_theta) if rotary else None
    attention = Attention(heads, heads, c.head_size, position=rope, bias=True, out_bias=True)
    block = Block(Residual(attention, pre_norm=norm), Residual(FeedForward(c.intermediate_size), pre_norm=norm))
    return Encoder(c.hidden_size, embeddings, [block] * c.num_hidden_layers, norm, head=head(c))


def tied(c: EsmConfig) -> dict[str, str]:
    """What a tied model lacks -> what stands for it."""
    return {"head.out.weight": "embed.weight"} if c.head == "masked" and c.tie_word_embeddings else {}


def weights(c: EsmConfig) -> Table:
    """As the class that `architectures` names saves them."""
    ours, theirs = "blocks.{i}", "encoder.layer.{i}"
    body: list[Line] = [
        Map("embed.weight", "embeddings.word_embeddings.weight"),
        Map("embed_position.weight", "embeddings.position_embeddings.weight"),
        *pair("embed_norm", "embeddings.layer_norm"),
        *pair(f"{ours}.0.pre_norm", f"{theirs}.attention.LayerNorm"),
        *pair(f"{ours}.0.sublayer.q", f"{theirs}.attention.self.query"),
        *pair(f"{ours}.0.sublayer.k", f"{theirs}.attention.self.key"),
        *pair(f"{ours}.0.sublayer.v", f"{theirs}.attention.self.value"),
        *pair(f"{ours}.0.sublayer.o", f"{theirs}.attention.output.dense"),
        *pair(f"{ours}.1.pre_norm", f"{theirs}.LayerNorm"),
        *pair(f"{ours}.1.sublayer.up", f"{theirs}.intermediate.dense"),
        *pair(f"{ours}.1.sublayer.down", f"{theirs}.output.dense"),
        *pair("norm", "encoder.emb_layer_norm_after"),
    ]
    masked = [
        *pair("head.transform.dense", "lm_head.dense"),
        *pair("head.transform.norm", "lm_head.layer_norm"),
        Map("head.out.weight", "lm_head.decoder.weight"),
        Map("head.bias", "lm_head.bias"),
    ]
    classes = [*pair("head.transform.dense", "classifier.dense"), *pair("head.out", "classifier.out_proj")]
    heads = {"masked": masked, "classes": classes, "token-classes": pair("head.out", "classifier")}
    of_layer = "attention.self.rotary_embeddings.inv_freq"
    # One for all layers, one for each, and what transformers 5.23 makes of that name.
    inverses = ("rotary_embeddings.inv_freq", f"{theirs}.{of_layer}", f"encoder.layer.*.{of_layer}")
    buffers = ("embeddings.position_ids", *inverses)
    # Rotary checkpoints of old carry a table of learned positions all the same, which nothing reads.
    unread = ("embeddings.position_embeddings.weight",) if c.position_embedding_type == "rotary" else ()
    return Table(
        [*prefixed(c, "esm.", body), *(heads[c.head] if c.head else ())],
        ignored=[f"{prefix}{name}" for prefix in ("", "esm.") for name in (*buffers, *unread)],
        # The predictor of contacts, and a pooler: no hidden state is computed with them.
        carried=prefixed(c, "esm.", [*pair("pooler", "pooler.dense"), *pair("contact", "contact_head.regression")]),
        left_out=() if c.head else ("lm_head.",),
    )
