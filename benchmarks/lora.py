"""LoRA's training step: ours against `transformers` with PEFT, in tokens a second and in peak memory.

    python benchmarks/lora.py [--base FOLDER]      both contestants, interleaved: table, ratios, JSON

SmolLM2-135M-Instruct, LoRA of rank 16 on all linear layers, 8 x 512 random tokens a step, bf16 compute: forward, loss,
backward, clipping and AdamW. Each measurement is a fresh process in the environment that runs this script, so both have
the same PyTorch (the `test` extra holds the peers). A heat times every variant once; those within --margin of their
contestant's best go into the rounds, whose order rotates. Waiting for a quiet machine, watching foreign load and
repeating disturbed measurements are `train_step.py`'s. Peak memory is the process's own high-water mark, with loading.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from train_step import CACHE, Contestant, Measurement, finalists, measure, spread

from bedplate.machine.probe import processor

HERE = Path(__file__).resolve().parent
WORKERS = HERE / "lora_peers"
LOSS_TOLERANCE = 0.01
"""First losses come from one model and one batch: bf16 in two orders of sums leaves less than this, relatively."""


@dataclass(frozen=True)
class Worker(Contestant):
    """A contestant of this benchmark: runs where this script runs."""

    @property
    def worker(self) -> Path:
        return WORKERS / f"{self.name}_worker.py"


THEIRS = tuple(f"{a}-{rows}{c}" for a in ("sdpa", "explicit") for rows in (8, 2) for c in ("", "-compiled"))
CONTESTANTS = (Worker("bedplate", ("eager", "compiled")), Worker("peft", THEIRS))
BASE = "BEDPLATE_LORA_BASE"
"""Tells the workers where the base is."""


def check_same_task(measurements: Sequence[Measurement]) -> None:
    """Stop unless all began with the same loss: else they don't train the same model on the same data."""
    first = [m.report["losses"][0] for m in measurements]  # type: ignore[index]
    if max(first) > min(first) * (1 + LOSS_TOLERANCE):
        raise SystemExit(f"the contestants' first losses differ: {first}")


def peak(m: Measurement) -> float:
    """Gigabytes."""
    return float(m.report["peak_rss_bytes"]) / 1e9  # type: ignore[arg-type]


def summarise(rounds: Sequence[Measurement]) -> dict[str, object]:
    """A line for each variant; our fastest against theirs, round by round. Prints the table."""
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for m in rounds:
        groups.setdefault((m.contestant, m.variant), []).append(m)
    print(f"\n{'contestant':>10} {'variant':<20} {'tokens/s: median (min - max)':<32} peak GB")
    for (name, variant), group in groups.items():
        speeds = [m.tokens_per_s for m in group]
        print(f"{name:>10} {variant:<20} {spread(speeds):<32} {spread([peak(m) for m in group], '.2f')}")
    speed, memory = [], []
    for number in sorted({m.round for m in rounds}):
        best = {
            name: max((m for m in rounds if (m.round, m.contestant) == (number, name)), key=lambda m: m.tokens_per_s)
            for name in ("bedplate", "peft")
        }
        speed.append(best["bedplate"].tokens_per_s / best["peft"].tokens_per_s)
        memory.append(peak(best["bedplate"]) / peak(best["peft"]))
    print(f"\nours / theirs, the fastest of each by round: speed {spread(speed, '.2f')}, peak {spread(memory, '.2f')}")
    disturbed = sum(m.disturbed for m in rounds)
    print(f"{disturbed} of {len(rounds)} measurements stayed disturbed by foreign load")
    return {"speed": speed, "memory": memory, "median_speed": statistics.median(speed), "disturbed": disturbed}


def run(options: argparse.Namespace) -> None:
    os.environ[BASE] = str(options.base)
    print("heat: every variant once")
    heat = [measure(c, variant, 0, options) for c in CONTESTANTS for variant in c.variants]
    check_same_task(heat)
    by_name = {c.name: c for c in CONTESTANTS}
    entries = finalists(heat, options.margin)
    rounds = []
    for number in range(1, options.rounds + 1):
        turn = number % len(entries)
        for name, variant in entries[turn:] + entries[:turn]:
            rounds.append(measure(by_name[name], variant, number, options))
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(processor()),
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
        "heat": [vars(m) for m in heat],
        "rounds": [vars(m) for m in rounds],
        "summary": summarise(rounds),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {options.out}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, default=HERE.parent / ".cache" / "models" / "smollm2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="timed steps of each process")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--margin", type=float, default=0.1, help="a variant this close to the best goes on")
    parser.add_argument("--quiet", type=float, default=0.08, help="others' share of the machine that is disturbing")
    parser.add_argument("--patience", type=float, default=120, help="seconds to wait for a quiet machine")
    parser.add_argument("--repeats", type=int, default=2, help="times a disturbed measurement is repeated")
    parser.add_argument("--out", type=Path, default=CACHE / "lora.json")
    options = parser.parse_args()
    if not (options.base / "config.json").is_file():
        sys.exit(f"{options.base}: no model; bring SmolLM2 in first: bedplate import SMOLLM2.gguf {options.base}")
    return options


if __name__ == "__main__":
    run(parse())
