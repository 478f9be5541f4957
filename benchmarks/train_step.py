"""Training-step speed: ours against `transformers` and LitGPT on one small Llama shape.

    python benchmarks/train_step.py run        all contestants, interleaved: table, ratios, JSON
    python benchmarks/train_step.py profile    where the time of our own step goes

One step is forward, loss, backward, clipping and AdamW on 16 x 256 random tokens, fp32 parameters, bf16 compute; the
shape is in train_step_peers/step_timing.py. Each peer lives in a virtual environment of its own with pinned
requirements, and each measurement is a fresh process. A heat times every variant of every contestant once (eager,
compiled, attention kinds); the variants within --margin of their contestant's best go into the rounds, so each is shown
at its best. Rounds are interleaved with a rotating order. Before each process the machine has to be quiet, and while it
is timed the load of foreign processes is recorded; a disturbed measurement is repeated and, if still disturbed, marked.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bedplate.machine.load import foreign_cpu_share
from bedplate.machine.probe import processor

HERE = Path(__file__).resolve().parent
WORKERS = HERE / "train_step_peers"
CACHE = HERE.parent / ".cache" / "bench"


@dataclass(frozen=True)
class Contestant:
    """`requirements` is the pinned environment; ours has none: it runs where this script runs."""

    name: str
    variants: tuple[str, ...]
    requirements: Path | None = None

    @property
    def python(self) -> Path:
        return Path(sys.executable) if self.requirements is None else CACHE / self.name / "bin" / "python"

    @property
    def worker(self) -> Path:
        return WORKERS / f"{self.name}_worker.py"


OURS = Contestant("bedplate", ("eager", "compiled"))
PEERS = (
    Contestant("transformers", ("sdpa", "eager", "sdpa-compiled", "eager-compiled"), WORKERS / "transformers.txt"),
    Contestant("litgpt", ("chunked", "whole", "chunked-compiled", "whole-compiled"), WORKERS / "litgpt.txt"),
)


@dataclass(frozen=True)
class Measurement:
    """One process's report, the foreign load just before it, and whether it ran undisturbed."""

    round: int
    contestant: str
    variant: str
    tokens_per_s: float
    before_share: float | None
    report: dict[str, object]
    disturbed: bool


def prepare(peer: Contestant, torch: str) -> None:
    """Make the peer's environment unless it was made from these very requirements."""
    assert peer.requirements is not None
    folder, wanted = CACHE / peer.name, peer.requirements.read_text()
    stamp = folder / "requirements.installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"setting up {folder} ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip = [peer.python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, *shlex.split(torch)], check=True)
    subprocess.run([*pip, "--requirement", peer.requirements], check=True)
    stamp.write_text(wanted)


def wait_until_quiet(limit: float, patience: float) -> float | None:
    """Others' share of the machine over the last second, once below `limit` or after `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        load = foreign_cpu_share(1.0)
        if load is None or load < limit or time.monotonic() > deadline:
            return load
        time.sleep(2)


def measure(contestant: Contestant, variant: str, number: int, options: argparse.Namespace) -> Measurement:
    """Run one worker; while the measurement is disturbed, up to `options.repeats` times more."""
    command = [contestant.python, contestant.worker, "--variant", variant, "--seed", str(options.seed)]
    command += ["--steps", str(options.steps), "--warmup", str(options.warmup), "--threads", str(options.threads)]
    # Compiled code is kept from one process to the next; a contestant's warm-up pays for it once.
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(CACHE / "inductor" / contestant.name)}
    for attempt in range(1 + options.repeats):
        before = wait_until_quiet(options.quiet, options.patience)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{contestant.name} {variant} failed ({done.returncode}):\n{done.stderr[-3000:]}")
        report = json.loads(done.stdout.splitlines()[-1])
        during = report["foreign_share"]
        disturbed = during is not None and during > options.quiet
        note = f"{report['tokens_per_s']:8,.0f} tok/s, others {'unknown' if during is None else format(during, '.0%')}"
        print(
            f"  round {number}  {contestant.name:>12} {variant:<16} {note}{'  disturbed' if disturbed else ''}",
            flush=True,
        )
        if not disturbed or attempt == options.repeats:
            break
    return Measurement(number, contestant.name, variant, report["tokens_per_s"], before, report, disturbed)


def finalists(heat: Sequence[Measurement], margin: float) -> list[tuple[str, str]]:
    """(contestant, variant) within `margin` of the contestant's best in the heat."""
    best: dict[str, float] = {}
    for m in heat:
        best[m.contestant] = max(best.get(m.contestant, 0.0), m.tokens_per_s)
    return [(m.contestant, m.variant) for m in heat if m.tokens_per_s >= (1 - margin) * best[m.contestant]]


def best_of_round(rounds: Sequence[Measurement], number: int) -> dict[str, float]:
    """Each contestant's fastest variant in one round."""
    best: dict[str, float] = {}
    for m in rounds:
        if m.round == number:
            best[m.contestant] = max(best.get(m.contestant, 0.0), m.tokens_per_s)
    return best


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} - {max(values):{form}})"


def summarise(rounds: Sequence[Measurement]) -> dict[str, object]:
    """Medians with their range per variant; our ratio to the fastest peer, round by round. Prints the table."""
    groups: dict[tuple[str, str], list[float]] = {}
    for m in rounds:
        groups.setdefault((m.contestant, m.variant), []).append(m.tokens_per_s)
    print(f"\n{'contestant':>12} {'variant':<16} tokens/s: median (min - max)")
    for (name, variant), values in sorted(groups.items(), key=lambda item: -statistics.median(item[1])):
        print(f"{name:>12} {variant:<16} {spread(values)}")
    ratios = []
    for number in sorted({m.round for m in rounds}):
        best = best_of_round(rounds, number)
        peers = [speed for name, speed in best.items() if name != OURS.name]
        if OURS.name in best and peers:
            ratios.append(best[OURS.name] / max(peers))
    if ratios:
        print(f"\nours / the faster peer, per round: {', '.join(f'{r:.2f}' for r in ratios)}; {spread(ratios, '.2f')}")
    marked = sum(m.disturbed for m in rounds)
    print(
        f"{marked} of {len(rounds)} measurements stayed disturbed by foreign load" if marked else "no round disturbed"
    )
    return {"ratios": ratios, "disturbed": marked}


def run(options: argparse.Namespace) -> None:
    contestants = [c for c in (OURS, *PEERS) if not options.only or c.name in options.only]
    for contestant in contestants:
        if contestant.requirements is not None:
            prepare(contestant, options.torch)
    by_name = {c.name: c for c in contestants}
    print("heat: every variant once")
    heat = [measure(c, variant, 0, options) for c in contestants for variant in c.variants]
    entries = finalists(heat, options.margin)
    rounds = []
    for number in range(1, options.rounds + 1):
        turn = number % len(entries)
        for name, variant in entries[turn:] + entries[:turn]:
            rounds.append(measure(by_name[name], variant, number, options))
    summary = summarise(rounds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(processor()),
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items() if k != "do"},
        "heat": [vars(m) for m in heat],
        "rounds": [vars(m) for m in rounds],
        "summary": summary,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {options.out}")


def profile(options: argparse.Namespace) -> None:
    """The profile imports Bedplate, the benchmark's own process must not: hand over to the script beside it."""
    command = [
        sys.executable,
        WORKERS / "bedplate_profile.py",
        "--variant",
        options.variant,
        "--steps",
        str(options.steps),
    ]
    raise SystemExit(subprocess.run(command).returncode)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    race = verbs.add_parser("run", help="time all contestants")
    race.add_argument("--only", nargs="*", choices=[c.name for c in (OURS, *PEERS)], help="these contestants alone")
    race.add_argument("--rounds", type=int, default=5)
    race.add_argument("--steps", type=int, default=15, help="timed steps of each process")
    race.add_argument("--warmup", type=int, default=3)
    race.add_argument("--threads", type=int, default=0, help="threads of every contestant; 0: each one's own choice")
    race.add_argument("--seed", type=int, default=0)
    race.add_argument("--margin", type=float, default=0.1, help="a variant this close to its contestant's best goes on")
    race.add_argument(
        "--quiet",
        type=float,
        default=0.08,
        help="others' share of the machine, 0 to 1, above which a measurement is disturbed",
    )
    race.add_argument("--patience", type=float, default=120, help="seconds to wait for a quiet machine")
    race.add_argument("--repeats", type=int, default=2, help="times a disturbed measurement is repeated")
    race.add_argument("--torch", default="torch==2.13.0", help="what pip installs as PyTorch for the peers")
    race.add_argument("--out", type=Path, default=CACHE / "train_step.json")
    race.set_defaults(do=run)
    where = verbs.add_parser("profile", help="where our step's time goes")
    where.add_argument("--variant", choices=OURS.variants, default="eager")
    where.add_argument("--steps", type=int, default=5)
    where.set_defaults(do=profile)
    return parser.parse_args()


if __name__ == "__main__":
    chosen = parse()
    chosen.do(chosen)
