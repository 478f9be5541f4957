"""Steps of training one small model of each kind, run in one process or by several, as `training_case` does for Llamas.

`torchrun kinds_case.py TENSOR_PARALLEL OUT NAME ...` runs kinds in all of its processes; rank 0 writes what came out.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch._dynamo.utils import counters
from training_case import BATCH, LENGTH, VOCABULARY, UnevenRows

from bedplate.console import Console
from bedplate.data.masking import MaskedRows
from bedplate.data.prefix import PrefixRows
from bedplate.data.row_sources import FirstRows
from bedplate.data.span_corruption import SpanRows
from bedplate.errors import RecipeError
from bedplate.families.configs import config_class
from bedplate.families.registry import any_family_of
from bedplate.nn.initialise import initialise
from bedplate.objectives.load_balance import Balanced
from bedplate.objectives.masked import Masked
from bedplate.objectives.multi_token import MultiToken
from bedplate.objectives.next_token import NextToken
from bedplate.objectives.seq2seq import Seq2Seq
from bedplate.train.config import TrainConfig
from bedplate.train.loop import Trainer, TrainingData
from bedplate.train.parallel import Parallel
from bedplate.train.placement import Placement
from bedplate.train.validation import MeanLoss

Learns = Literal["next-token", "prefix", "masked", "spans", "experts", "experts and ahead"]
MASK = VOCABULARY - 1
EXTRA = 16
"""Tokens beyond those of the rows: sentinels."""
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GATED = {**SHAPE, "intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 64}
ENCODER = {**SHAPE, "intermediate_size": 48, "max_position_embeddings": 64, "head": "masked"}


@dataclass(frozen=True)
class Kind:
    """A family, its shape, and what it learns."""

    family: str
    learns: Learns
    shape: dict[str, Any]


KINDS = {
    "learned positions": Kind("gpt2", "next-token", {**SHAPE, "max_position_embeddings": 64}),
    "prefix": Kind("olmo2", "prefix", GATED),
    "softcaps and windows": Kind(
        "gemma2", "next-token",
        {**GATED, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 6, "num_hidden_layers": 3},
    ),
    "side by side": Kind(
        "gpt_neox", "next-token", {**SHAPE, "intermediate_size": 48, "max_position_embeddings": 64, "rotary_pct": 0.5}
    ),
    "experts": Kind(
        "qwen3_moe", "experts",
        {**GATED, "moe_intermediate_size": 24, "num_experts": 5, "num_experts_per_tok": 2, "head_dim": 8},
    ),
    "latents, experts and depths ahead": Kind(
        "deepseek_v3", "experts and ahead",
        {
            **SHAPE, "intermediate_size": 48, "moe_intermediate_size": 24, "q_lora_rank": 12, "kv_lora_rank": 10,
            "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 6, "first_k_dense_replace": 1,
            "n_routed_experts": 6, "num_experts_per_tok": 2, "n_group": 3, "topk_group": 2,
            "num_nextn_predict_layers": 2,
        },
    ),
    "recurrent": Kind(
        "bedplate-mixer", "next-token",
        {**SHAPE, "intermediate_size": 48, "num_hidden_layers": 3, "mixers": ("lstm", "gated_linear", "attention")},
    ),
    "bert": Kind("bert", "masked", ENCODER),
    "shared blocks": Kind("albert", "masked", {**ENCODER, "embedding_size": 16, "num_hidden_layers": 3}),
    "two-sided windows": Kind(
        "modernbert", "masked",
        {**ENCODER, "local_attention": 6, "layer_types": ("full_attention", "sliding_attention")},
    ),
    "dropped tokens": Kind(
        "esm", "masked",
        {**ENCODER, "position_embedding_type": "rotary", "token_dropout": True, "mask_token_id": MASK},
    ),
    "relative positions": Kind(
        "t5", "spans", {**SHAPE, "head_dim": 8, "intermediate_size": 48, "feed_forward_proj": "gated-gelu"}
    ),
    "two stacks": Kind(
        "bart", "spans",
        {
            "hidden_size": 32, "num_hidden_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64,
        },
    ),
}  # fmt: skip


def rows_of(learns: Learns, seed: int = 0) -> Any:
    """Rows that supervise unequally many tokens each."""
    source = UnevenRows()
    if learns == "prefix":
        return PrefixRows(source, seed)
    if learns == "masked":
        return MaskedRows(source, seed, vocabulary=VOCABULARY, mask_id=MASK, special=[0], rate=0.3)
    if learns == "spans":
        sentinels = range(VOCABULARY, VOCABULARY + EXTRA)
        return SpanRows(source, seed, length=LENGTH, sentinels=sentinels, eos=1, start=0, pad=0)
    return source


def objective_of(kind: Kind, compiled: bool) -> Any:
    match kind.learns:
        case "masked":
            return Masked(compiled=compiled)
        case "spans":
            return Seq2Seq(compiled=compiled)
        case "experts":
            return Balanced(NextToken(compiled=compiled), load=0.1, per="row")
        case "experts and ahead":
            return Balanced(MultiToken(2, 0.3, compiled=compiled), load=0.1, z=0.01, bias_rate=0.01, per="row")
        case _:
            return NextToken(compiled=compiled, z_loss=1e-3)


def trainer(
    kind: Kind, folder: Path, *, micro_batch: int | None = None, compiled: bool = False, tensor_parallel: int = 1
) -> Trainer[Any]:
    """A trainer of it, in all the processes that are there."""
    special = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    config = config_class(kind.family).model_validate(
        {"model_type": kind.family, "vocab_size": VOCABULARY + EXTRA, **special, **kind.shape}
    )
    net = any_family_of(kind.family, "kind").build(config)
    initialise(net, 1)
    # Far from the flat start, so that every gradient, of biases and gains too, stands well above rounding.
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter += torch.randn(parameter.shape, generator=generator) * 0.2
    options = TrainConfig(
        steps=10, batch=BATCH, length=LENGTH, micro_batch=micro_batch, tensor_parallel=tensor_parallel,
        # A bias on keys has no gradient but rounding, of which a small eps would make whole steps.
        schedule={"warmup": 2}, optimiser={"eps": 1e-3},
    )  # fmt: skip
    placement = Placement("cpu", torch.float32, 1, compiled, 1e9, {})
    parallel = Parallel.start("cpu", tensor_parallel)
    data = TrainingData(rows_of(kind.learns), MeanLoss(FirstRows(rows_of(kind.learns, 1), 2 * BATCH)))
    objective = objective_of(kind, compiled)
    return Trainer(net, objective, data, options, placement, parallel, folder, Console.quiet())


def run(kind: Kind, folder: Path, **options: Any) -> dict[str, Tensor]:
    """Losses, norms, gradients of the first of three steps, parameters after all, validation loss, and how many
    graphs had been compiled after two steps and a validation, and after all."""
    torch.compiler.reset()
    counters.clear()
    made = trainer(kind, folder, **options)
    made.step.train()
    outcomes = [made.update(made.loader.batch(0))]
    gradients = {
        f"gradient {name}": made.parallel.gather(p.grad, p, made.table[name].shard).clone()
        for name, p in made.parameters.items()
        if p.grad is not None
    }
    made.validate()
    outcomes.append(made.update(made.loader.batch(1)))
    graphs = [counters["stats"]["unique_graphs"]]
    outcomes.append(made.update(made.loader.batch(2)))
    validation = made.validate()["loss"]
    graphs.append(counters["stats"]["unique_graphs"])
    return {
        "loss": torch.stack([o.loss for o in outcomes]),
        "norm": torch.stack([o.norm for o in outcomes]),
        "validation": torch.tensor(validation),
        "graphs": torch.tensor(graphs),
        **gradients,
        **{f"parameter {name}": value for name, value in made.whole_model().items()},
    }


def launch(tensor_parallel: int, names: Iterable[str], folder: Path) -> dict[str, dict[str, Tensor]]:
    """Run kinds one after another in two processes. One that is refused gives its `error` as bytes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
    done = subprocess.run(
        [*command, str(tensor_parallel), str(folder), *names], capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-8000:]
    return {name: load_file(folder / f"{name}.safetensors") for name in names}


def main(tensor_parallel: int, out: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for name in names:
        try:
            found = run(KINDS[name], out, micro_batch=4, tensor_parallel=tensor_parallel)
        except RecipeError as error:
            found = {"error": torch.tensor(list(str(error).encode()), dtype=torch.uint8)}
        if dist.get_rank() == 0:
            save_file({name: value.contiguous() for name, value in found.items()}, out / f"{name}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
