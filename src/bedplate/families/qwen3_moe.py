"""Qwen3-MoE (arXiv 2505.09388): Qwen 3 with a feed-forward of experts in some or all layers."""

from __future__ import annotations

from bedplate.families import mixtral
from bedplate.families.activations import ACTIVATION_NAMES
from bedplate.families.qwen3_moe_config import Qwen3MoeConfig
from bedplate.families.weights import Table
from bedplate.nn.decoder import Decoder
from bedplate.nn.experts import Experts
from bedplate.nn.feedforward import Gated
from bedplate.nn.router import TopK


def build(c: Qwen3MoeConfig) -> Decoder:
    """The modules, parameters not yet set."""
    activation = ACTIVATION_NAMES[c.hidden_act]
    router = TopK(c.num_experts, c.num_experts_per_tok, normalised=c.norm_topk_prob)
    experts, one = Experts(router, c.expert_size, activation), Gated(c.intermediate_size, activation)
    return mixtral.decoder(
        c, lambda layer: experts if c.has_experts(layer) else one, bias=c.attention_bias, qk_norm=True
    )  # fmt: skip


def weights(c: Qwen3MoeConfig) -> Table:
    """As transformers writes it: experts one by one."""
    names = {name: f"{name}_proj" for name in ("gate", "up", "down")}
    return mixtral.table("mlp", names, c.num_experts)
