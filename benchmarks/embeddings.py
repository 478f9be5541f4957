"""Sentence embeddings: texts a second, ours against `sentence-transformers`, one model, the same texts, the same dtype.

    python benchmarks/embeddings.py            both kinds of text, both dtypes, interleaved: table, ratios, JSON

The texts are docstrings of Python's standard library, so every machine has them: whole ones (`documents`) and first
lines (`lines`, about as long as a question). The model is all-MiniLM-L6-v2, fetched by tools/fetch_bases.py; both read
at most its 256 tokens of a text. Each measurement is a fresh process that embeds all texts a few times, of which the
median counts; loading isn't timed, tokenising is. A heat times every variant of the peer once (both kinds of attention,
three sizes of batch) and the best of each dtype goes into the rounds, whose order rotates. Before each process the
machine has to be quiet, and while it is timed the load of foreign processes is recorded; a disturbed measurement is
repeated and, if still disturbed, marked. In fp32 both contestants' vectors must be the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from embeddings_peers.docstrings import texts
from train_step import CACHE, HERE, Contestant, prepare, spread, wait_until_quiet

from bedplate.machine.probe import processor

WORKERS = HERE / "embeddings_peers"
DTYPES = ("float32", "bfloat16")
KINDS = {"documents": 600, "lines": 2400}
PEER = "sentence-transformers"
# The same sums in another order; measured 4e-7.
SAME = 1e-5


@dataclass(frozen=True)
class Measurement:
    """One process's report, and whether it ran undisturbed."""

    round: int
    contestant: str
    kind: str
    dtype: str
    variant: str
    texts_per_s: float
    report: dict[str, object]
    disturbed: bool


def measure(
    contestant: str, kind: str, variant: str, number: int, vectors: Path, options: argparse.Namespace
) -> Measurement:
    """Run one worker; while the measurement is disturbed, up to `options.repeats` times more."""
    python = CACHE / PEER / "bin" / "python" if contestant == PEER and not options.here else sys.executable
    worker = WORKERS / f"{contestant.replace('-', '_')}_worker.py"
    command = [python, worker, "--variant", variant, "--model", options.model]
    command += ["--texts", vectors.parent / f"{kind}.json", "--passes", str(options.passes)]
    command += ["--threads", str(options.threads), "--vectors", vectors]
    for attempt in range(1 + options.repeats):
        wait_until_quiet(options.quiet, options.patience)
        done = subprocess.run(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{contestant} {variant} failed ({done.returncode}):\n{done.stderr[-3000:]}")
        report = json.loads(done.stdout.splitlines()[-1])
        during = report["foreign_share"]
        disturbed = during is not None and during > options.quiet
        note = f"{report['texts_per_s']:8,.1f} /s, others {'unknown' if during is None else format(during, '.0%')}"
        mark = "  disturbed" if disturbed else ""
        print(f"  round {number}  {kind:<9} {contestant:>21} {variant:<19} {note}{mark}", flush=True)
        if not disturbed or attempt == options.repeats:
            break
    dtype = variant.split("-")[0]
    return Measurement(number, contestant, kind, dtype, variant, report["texts_per_s"], report, disturbed)


def check_vectors(ours: Path, theirs: Path) -> float:
    """The greatest 1 - cosine between the two contestants' vectors of one text."""
    a, b = (np.load(path).astype(np.float64) for path in (ours, theirs))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float((1 - cosine).max())


def heat(options: argparse.Namespace, folder: Path) -> tuple[list[Measurement], dict[tuple[str, str], str]]:
    """Every variant of the peer once; the best for each kind of text and dtype."""
    seen = [
        measure(PEER, kind, f"{dtype}-{attention}-{size}", 0, folder / "heat.npy", options)
        for kind in options.kinds
        for dtype in options.dtypes
        for attention in ("sdpa", "eager")
        for size in (16, 32, 128)
    ]
    best: dict[tuple[str, str], Measurement] = {}
    for m in seen:
        key = (m.kind, m.dtype)
        if key not in best or m.texts_per_s > best[key].texts_per_s:
            best[key] = m
    return seen, {key: m.variant for key, m in best.items()}


def summarise(rounds: list[Measurement]) -> list[dict[str, object]]:
    """Medians with their range; our ratio to the peer, round by round. Prints the table."""
    lines: list[dict[str, object]] = []
    print(f"\n{'texts':<10} {'dtype':<9} {'ours /s':>24} {'peer /s':>24}  ratio: median (min - max)")
    for kind, dtype in dict.fromkeys((m.kind, m.dtype) for m in rounds):
        own = [m for m in rounds if (m.kind, m.dtype) == (kind, dtype)]
        ours = {m.round: m.texts_per_s for m in own if m.contestant != PEER}
        theirs = {m.round: m.texts_per_s for m in own if m.contestant == PEER}
        ratios = [ours[number] / theirs[number] for number in ours]
        print(
            f"{kind:<10} {dtype:<9} {spread(list(ours.values())):>24} {spread(list(theirs.values())):>24}  "
            f"{spread(ratios, '.2f')}"
        )
        lines.append({"kind": kind, "dtype": dtype, "ratios": ratios, "disturbed": sum(m.disturbed for m in own)})
    marked = sum(m.disturbed for m in rounds)
    print(f"{marked} of {len(rounds)} measurements stayed disturbed by foreign load" if marked else "none disturbed")
    return lines


def run(options: argparse.Namespace) -> None:
    if not options.here:
        prepare(Contestant(PEER, (), WORKERS / "sentence_transformers.txt"), options.torch)
    if options.model is None:
        fetch = [sys.executable, HERE.parent / "tools" / "fetch_bases.py", CACHE.parent / "bases", "minilm"]
        subprocess.run(fetch, check=True)
        options.model = CACHE.parent / "bases" / "minilm"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in options.kinds:
            chosen_texts = texts(kind, max(32, round(KINDS[kind] * options.share)))
            (folder / f"{kind}.json").write_text(json.dumps(chosen_texts), encoding="utf-8")
        print("heat: every variant of the peer once")
        heated, chosen = heat(options, folder)
        rounds, distances = [], {}
        for number in range(1, options.rounds + 1):
            for kind in options.kinds:
                for dtype in options.dtypes:
                    pair = [("bedplate", dtype), (PEER, chosen[kind, dtype])]
                    for contestant, variant in pair if number % 2 else pair[::-1]:
                        place = folder / f"{contestant}.npy"
                        rounds.append(measure(contestant, kind, variant, number, place, options))
                    distance = check_vectors(folder / "bedplate.npy", folder / f"{PEER}.npy")
                    distances[f"{kind} {dtype}"] = distance
                    if dtype == "float32" and not distance <= SAME:
                        raise SystemExit(f"{kind}: the vectors differ by {distance:.2g} in cosine: not the same model")
    summary = summarise(rounds)
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(processor()),
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
        "heat": [asdict(m) for m in heated],
        "rounds": [asdict(m) for m in rounds],
        "cosine_distances": distances,
        "summary": summary,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {options.out}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a sentence-transformers folder; all-MiniLM-L6-v2 where absent")
    parser.add_argument("--kinds", nargs="*", choices=tuple(KINDS), default=tuple(KINDS))
    parser.add_argument("--dtypes", nargs="*", choices=DTYPES, default=DTYPES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=3, help="timed passes of each process")
    parser.add_argument("--share", type=float, default=1.0, help="of the texts: 0.1 for a quick look")
    parser.add_argument("--threads", type=int, default=0, help="threads of every contestant; 0: each one's own choice")
    parser.add_argument("--here", action="store_true", help="run the peer in this environment, not in one of its own")
    parser.add_argument(
        "--quiet", type=float, default=0.08, help="others' share above which a measurement is disturbed"
    )
    parser.add_argument("--patience", type=float, default=120, help="seconds to wait for a quiet machine")
    parser.add_argument("--repeats", type=int, default=2, help="times a disturbed measurement is repeated")
    parser.add_argument("--torch", default="torch==2.13.0", help="what pip installs as PyTorch for the peer")
    parser.add_argument("--out", type=Path, default=CACHE / "embeddings.json")
    return parser.parse_args()


if __name__ == "__main__":
    run(parse())
