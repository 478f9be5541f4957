"""The pretrain stage: tokens -> a run with checkpoints, metrics and a model folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.codecs.text import TextTokenizer
from bedplate.console import Console
from bedplate.data.best_fit import BestFitRows
from bedplate.data.provenance.steps import PACKED_LENGTH
from bedplate.data.tokens import TokenSet
from bedplate.families.family_config import FamilyConfig
from bedplate.families.model import fill
from bedplate.families.opening import model_of
from bedplate.families.registry import any_family_of
from bedplate.nn.initialise import initialise
from bedplate.objectives.term import Net
from bedplate.scaling import flops
from bedplate.train.architecture import with_vocabulary
from bedplate.train.config import PretrainConfig
from bedplate.train.cost import flops_per_token
from bedplate.train.fitting import longest_row
from bedplate.train.learning import learning
from bedplate.train.loop import Trainer
from bedplate.train.parallel import Parallel
from bedplate.train.placement import Placement, place

if TYPE_CHECKING:
    from bedplate.ledger import Artefact, Work


def run(config: PretrainConfig, inputs: dict[str, Artefact], work: Work) -> None:
    """Train and write model/, checkpoints/ and metrics.jsonl; resumes from what `work.path` holds."""
    tokens_folder = inputs["tokens"].path
    done = train(config, tokens_folder, work.path, work.console)
    work.volatile("checkpoints/**", "metrics.jsonl")
    work.measures.update(done)
    work.add_flops(done["flops"], flops.METHOD)


def train(config: PretrainConfig, tokens_folder: Path, folder: Path, console: Console) -> dict[str, Any]:
    """Every rank's part of the stage; rank 0 writes. Returns what goes into the manifest's measures."""
    tokens = TokenSet.open(tokens_folder)
    tokenizer = TextTokenizer.load(tokens.tokenizer_folder)
    model_config = _model_config(config, tokenizer)
    plan = learning(config, tokens, tokenizer, model_config)  # first: it may find that the two don't go together
    packing = plan.packed.measures() if isinstance(plan.packed, BestFitRows) else None
    net = any_family_of(model_config.model_type, "architecture").build(model_config)
    initialise(net, config.seed)
    per_token = flops_per_token(net, config.learns, config.length)
    total = per_token * config.steps * config.batch * config.length
    placement = place(config, total)
    with Parallel.start(placement.device, config.tensor_parallel) as parallel:
        if parallel.leads:
            _announce(console, net, config, placement, parallel)
            if packing:
                _announce_packing(console, packing)
        objective = plan.objective(placement.compiled)
        trainer = Trainer(net, objective, plan.data, config, placement, parallel, folder, console, per_token)
        scores = trainer.train()
        whole = trainer.whole_model()
        measures = _measures(config, trainer, scores, total, placement, parallel)
        measures |= {PACKED_LENGTH: plan.packed.length} | ({"packing": packing} if packing else {})
    if parallel.leads:
        _save(model_config, whole, tokenizer, folder / "model")
    return measures


def _model_config(config: PretrainConfig, tokenizer: TextTokenizer) -> FamilyConfig:
    # Rows of the embedding in multiples of 64 suit every matrix unit; the few extra ones are never a target.
    rows = math.ceil(tokenizer.vocab_size / 64) * 64
    head = {"head": "masked"} if config.learns.name == "masked" else {}
    return with_vocabulary(
        config.architecture,
        longest_row(config.learns, config.length),
        vocab_size=rows,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
        mask_token_id=tokenizer.mask_id,
        **head,
    )


def _announce(console: Console, net: Net, config: PretrainConfig, placement: Placement, parallel: Parallel) -> None:
    count = sum(p.numel() for p in net.parameters())
    tokens = config.steps * config.batch * config.length
    record = placement.record
    where = f"{record['device']}, {record['threads']} threads" if placement.device == "cpu" else record["device"]
    shared = f" on each of {parallel.ranks} processes" if parallel.ranks > 1 else ""
    console.say(
        f"{count / 1e6:.2f}M parameters, {tokens / 1e6:.2f}M tokens in {config.steps} steps; {where}{shared}; "
        f"{record['dtype']}, {'compiled' if placement.compiled else 'eager'}; "
        f"matrix rate {record['matrix_rate_gflops']:,.0f} GFLOP/s"
    )
    if config.compile is True and not placement.compiled:
        console.warn(record["compiled_why"])


def _announce_packing(console: Console, packing: dict[str, Any]) -> None:
    cut = packing["cut_documents"]
    console.say(
        f"best fit: {packing['documents']:,} documents in {packing['rows']:,} rows, {packing['padding']:.2%} padding; "
        f"{cut:,} documents ({cut / packing['documents']:.2%}) longer than a row are cut"
    )


def _measures(
    config: PretrainConfig, trainer: Trainer[Any], scores: dict[str, Any], total: float, placement: Placement,
    parallel: Parallel,
) -> dict[str, Any]:  # fmt: skip
    last: dict[str, Any] = {}
    speed: dict[str, Any] = {}
    if parallel.leads and trainer.metrics is not None:
        lines = trainer.metrics.lines()
        tokens_a_line = [
            (b["step"] - a) * config.batch * config.length
            for a, b in zip([0, *(line["step"] for line in lines)], lines, strict=False)
        ]
        last = {name: lines[-1][name] for name in ("loss", "bits_per_byte") if name in lines[-1]}
        rate = sum(tokens_a_line) / sum(line["time_s"] for line in lines)
        peak = trainer.peak * parallel.ranks
        speed = {
            "tokens_per_s": round(rate, 1),
            "mfu": round(rate * trainer.flops_per_token / peak, 4),
            "matrix_rate_gflops": round(trainer.peak / 1e9, 1),
        }
    return {
        "steps": config.steps,
        "tokens": config.steps * config.batch * config.length,
        "parameters": sum(p.numel() for p in trainer.net.parameters()),
        "flops": total,
        "train": last,
        "validation": scores,
        **speed,
        "placement": placement.record | {"processes": parallel.ranks, "tensor_parallel": parallel.tensor_ranks},
    }


def _save(config: FamilyConfig, whole: dict[str, Any], tokenizer: TextTokenizer, folder: Path) -> None:
    family = any_family_of(config.model_type, "architecture")
    import torch

    with torch.device("meta"):
        net = family.build(config)
    fill(net, whole.items())
    model_of(config, net, tokenizer).save(folder)
