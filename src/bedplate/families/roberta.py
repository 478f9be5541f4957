"""RoBERTa (Liu et al. 2019, arXiv 1907.11692), XLM-RoBERTa (arXiv 1911.02116) and CamemBERT (arXiv 1911.03894)."""

from __future__ import annotations

from bedplate.families import bert
from bedplate.families.bert import body, masked_head, pair, prefixed, tied, unused_bias
from bedplate.families.roberta_config import RobertaConfig
from bedplate.families.weights import Table
from bedplate.nn.encoder import Encoder

__all__ = ["build", "tied", "weights"]


def build(c: RobertaConfig) -> Encoder:
    """The modules, parameters not yet set. Whatever `hidden_act` says, the masked head's function is the exact GELU."""
    return bert.build(c, masked_act="gelu")


def weights(c: RobertaConfig) -> Table:
    """As the class that `architectures` names saves them."""
    pooler = [] if c.head == "classes" else prefixed(c, "roberta.", pair("pooler.dense", "pooler.dense"))
    classes = [*pair("head.transform.dense", "classifier.dense"), *pair("head.out", "classifier.out_proj")]
    return Table(
        [
            *prefixed(c, "roberta.", body("encoder.layer.{i}")),
            *masked_head(c, "lm_head.", "dense", "layer_norm"),
            *(classes if c.head == "classes" else pair("head.out", "classifier") if c.labels else ()),
        ],
        ignored=("embeddings.position_ids", "roberta.embeddings.position_ids"),
        carried=[*pooler, *unused_bias(c, "lm_head.bias")],
        left_out=() if c.head else ("lm_head.",),
    )
