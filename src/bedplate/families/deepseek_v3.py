"""DeepSeek-V3 and R1 (arXiv 2412.19437, 2501.12948): latent attention, experts in groups, multi-token prediction."""

from __future__ import annotations

import math
from collections.abc import Collection

from bedplate.families.activations import ACTIVATION_NAMES
from bedplate.families.deepseek_v3_config import DeepseekV3Config
from bedplate.families.rope_config import stretched
from bedplate.families.weights import Line, Map, Table, stacked
from bedplate.nn.decoder import Decoder
from bedplate.nn.experts import Experts
from bedplate.nn.feedforward import Gated
from bedplate.nn.latent_attention import LatentAttention
from bedplate.nn.multi_token import Ahead, MultiTokenDecoder
from bedplate.nn.norm import RMSNorm
from bedplate.nn.residual import Block, Residual, Sublayer
from bedplate.nn.rope import Rope, RopeScaling
from bedplate.nn.router import GroupLimited


def build(c: DeepseekV3Config) -> Decoder:
    """The modules, parameters not yet set."""
    norm, act = RMSNorm(c.rms_norm_eps), ACTIVATION_NAMES[c.hidden_act]
    scaling = stretched(c.rope_scaling, c.max_position_embeddings)
    attention = LatentAttention(
        c.num_attention_heads, c.kv_lora_rank, c.qk_nope_head_dim, c.v_head_dim,
        # The latents' norms have an epsilon of their own, whatever the configuration says of the others.
        Rope(c.qk_rope_head_dim, c.rope_theta, scaling), RMSNorm(1e-6), c.q_lora_rank,
        interleaved=c.rope_interleave, bias=c.attention_bias,
        scale=_magnitude(scaling) ** 2 / math.sqrt(c.qk_nope_head_dim + c.qk_rope_head_dim),
    )  # fmt: skip

    def block(feed_forward: Sublayer) -> Block:
        return Block(Residual(attention, pre_norm=norm), Residual(feed_forward, pre_norm=norm))

    dense, experts = block(Gated(c.intermediate_size, act)), block(_experts(c))
    blocks = [dense if i < c.first_k_dense_replace else experts for i in range(c.num_hidden_layers)]
    if not c.num_nextn_predict_layers:
        return Decoder(c.hidden_size, c.vocab_size, blocks, norm, tied=c.tie_word_embeddings)
    ahead = [Ahead(experts, norm)] * c.num_nextn_predict_layers
    return MultiTokenDecoder(c.hidden_size, c.vocab_size, blocks, norm, tied=c.tie_word_embeddings, ahead=ahead)


def _experts(c: DeepseekV3Config) -> Experts:
    act = ACTIVATION_NAMES[c.hidden_act]
    router = GroupLimited(
        c.n_routed_experts, c.num_experts_per_tok, c.n_group, c.topk_group, c.norm_topk_prob, c.routed_scaling_factor
    )
    return Experts(router, c.moe_intermediate_size, act, Gated(c.n_shared_experts * c.moe_intermediate_size, act))


def _magnitude(s: RopeScaling | None) -> float:
    """YaRN's factor on queries and on keys, which here is on the scores: a part of a head isn't rotated, and what is
    has the rest of the factor on its cos and sin."""
    return 1.0 if s is None or s.factor <= 1 else 0.1 * (s.mscale_all_dim or 0.0) * math.log(s.factor) + 1


def held(c: DeepseekV3Config, names: Collection[str]) -> DeepseekV3Config:
    """The configuration of what a checkpoint with these tensors holds: transformers drops the blocks that foresee, and
    saves a configuration that still counts them."""
    if any(name.startswith(f"model.layers.{c.num_hidden_layers}.") for name in names):
        return c
    return c.model_copy(update={"num_nextn_predict_layers": 0})


def tied(c: DeepseekV3Config) -> dict[str, str]:
    """What the model lacks -> what stands for it: published files repeat embedding and head in every block that
    foresees."""
    head = "embed.weight" if c.tie_word_embeddings else "head.weight"
    copies = {"head.weight": head} if c.tie_word_embeddings else {}
    for k in range(c.num_nextn_predict_layers):
        copies |= {f"ahead.{k}.embed.weight": "embed.weight", f"ahead.{k}.head.weight": head}
    return copies


def weights(c: DeepseekV3Config) -> Table:
    """A block that foresees is numbered on from the last of the stack."""
    lines = [
        Map("embed.weight", "model.embed_tokens.weight"),
        *_block("blocks.{i}", "model.layers.{i}", c),
        Map("norm.weight", "model.norm.weight"),
        Map("head.weight", "lm_head.weight"),
    ]
    for k in range(c.num_nextn_predict_layers):
        ours, theirs = f"ahead.{k}", f"model.layers.{c.num_hidden_layers + k}"
        lines += [
            *_block(f"{ours}.block", theirs, c),
            Map(f"{ours}.embed.weight", f"{theirs}.embed_tokens.weight"),
            Map(f"{ours}.embed_norm.weight", f"{theirs}.enorm.weight"),
            Map(f"{ours}.hidden_norm.weight", f"{theirs}.hnorm.weight"),
            Map(f"{ours}.join.weight", f"{theirs}.eh_proj.weight"),
            Map(f"{ours}.norm.weight", f"{theirs}.shared_head.norm.weight"),
            Map(f"{ours}.head.weight", f"{theirs}.shared_head.head.weight"),
        ]
    return Table(lines, ignored=("model.layers.{i}.self_attn.rotary_emb.inv_freq",))


def _block(ours: str, theirs: str, c: DeepseekV3Config) -> list[Line]:
    attention, mlp = (f"{ours}.0.sublayer", f"{theirs}.self_attn"), (f"{ours}.1.sublayer", f"{theirs}.mlp")
    projections = {"q_a": "q_a_proj", "q_norm": "q_a_layernorm", "q_b": "q_b_proj" if c.q_lora_rank else "q_proj"}
    projections |= {"kv_a": "kv_a_proj_with_mqa", "kv_norm": "kv_a_layernorm", "kv_b": "kv_b_proj", "o": "o_proj"}
    parts = ("gate", "up", "down")
    experts = range(c.n_routed_experts)
    return [
        Map(f"{ours}.0.pre_norm.weight", f"{theirs}.input_layernorm.weight"),
        Map(f"{ours}.1.pre_norm.weight", f"{theirs}.post_attention_layernorm.weight"),
        *(
            Map(f"{attention[0]}.{mine}.{p}", f"{attention[1]}.{name}.{p}")
            for mine, name in projections.items()
            for p in ("weight", "bias")
        ),
        *(Map(f"{mlp[0]}.{p}.weight", f"{mlp[1]}.{p}_proj.weight") for p in parts),
        *(Map(f"{mlp[0]}.shared.{p}.weight", f"{mlp[1]}.shared_experts.{p}_proj.weight") for p in parts),
        *(
            stacked(f"{mlp[0]}.expert_{p}.weight", [f"{mlp[1]}.experts.{e}.{p}_proj.weight" for e in experts])
            for p in parts
        ),
        Map(f"{mlp[0]}.router.weight", f"{mlp[1]}.gate.weight"),
        Map(f"{mlp[0]}.router.bias", f"{mlp[1]}.gate.e_score_correction_bias"),
    ]
