"""Mixtral (arXiv 2401.04088): Mistral with a feed-forward of experts."""

from __future__ import annotations

from collections.abc import Callable

from bedplate.families import llama
from bedplate.families.activations import ACTIVATION_NAMES
from bedplate.families.mixtral_config import ExpertsConfig, MixtralConfig
from bedplate.families.rope_config import stretched
from bedplate.families.weights import Line, Map, Table, stacked
from bedplate.nn.attention import Attention
from bedplate.nn.decoder import Decoder
from bedplate.nn.experts import Experts
from bedplate.nn.norm import RMSNorm
from bedplate.nn.residual import Block, Residual, Sublayer
from bedplate.nn.rope import Rope
from bedplate.nn.router import TopK


def build(c: MixtralConfig) -> Decoder:
    """The modules, parameters not yet set."""
    experts = Experts(TopK(c.num_experts, c.num_experts_per_tok), c.expert_size, ACTIVATION_NAMES[c.hidden_act])
    return decoder(c, lambda layer: experts)


def decoder(
    c: ExpertsConfig, feed_forward: Callable[[int], Sublayer], *, bias: bool = False, qk_norm: bool = False
) -> Decoder:
    """Llama's blocks, each layer with its own feed-forward. bias: in attention; qk_norm: of each head."""
    norm = RMSNorm(c.rms_norm_eps)
    rope = Rope(c.head_size, c.rope_theta, stretched(c.rope_scaling, c.max_position_embeddings))
    attention = Attention(
        heads=c.num_attention_heads, kv_heads=c.kv_heads, head_dim=c.head_size, position=rope, window=c.sliding_window,
        bias=bias, out_bias=bias, qk_norm=norm if qk_norm else None,
    )  # fmt: skip
    blocks = [
        Block(Residual(attention, pre_norm=norm), Residual(feed_forward(layer), pre_norm=norm))
        for layer in range(c.num_hidden_layers)
    ]
    return Decoder(c.hidden_size, c.vocab_size, blocks, norm, tied=c.tie_word_embeddings)


def weights(c: MixtralConfig) -> Table:
    """Experts lie on disk one by one, in every release of transformers."""
    names = {"gate": "w1", "up": "w3", "down": "w2"}
    return table("block_sparse_moe", names, c.num_experts)


def table(theirs: str, names: dict[str, str], experts: int) -> Table:
    """Llama's weights, and experts under `theirs`, whose maps have these names (ours -> theirs)."""
    ours, prefix = "blocks.{i}.1.sublayer", f"model.layers.{{i}}.{theirs}"
    lines: list[Line] = [Map(f"{ours}.router.weight", f"{prefix}.gate.weight")]
    for mine, name in names.items():
        each = [f"{prefix}.experts.{e}.{name}.weight" for e in range(experts)]
        lines.append(stacked(f"{ours}.expert_{mine}.weight", each))
    return Table([*llama.WEIGHTS.maps, *lines], llama.WEIGHTS.ignored)
