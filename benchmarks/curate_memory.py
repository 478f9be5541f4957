"""Curation of 2 GB of text by every stage: peak memory by step, time, disk, and what became of what was planted.

    python benchmarks/curate_memory.py [--megabytes 2000] [--workers 1] [--work FOLDER]

Input is `curate_input.py texts`; the recipe is `bedplate_recipes.everything`. Memory is that of the whole process
tree, sampled five times a second: the sum of the processes' PSS (their RSS where the kernel doesn't show it, which
counts shared pages several times). Subtracted is "the interpreter": as many idle processes as the curation has, its
master and its workers, that have imported what a curation imports (IMPORTS) and done nothing, measured together in the
same way. Steps are told by the folder of the curation that changed last, so a sample at a border may count for the
neighbour. Wall time means little where others use the machine; their share is reported.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from curate_input import DATA, SHARES, Texts, write_texts
from curate_peers import bedplate_recipes as recipes
from curate_peers import planted, process_tree
from curate_peers.real_texts import Pool, items
from curate_peers.scores import lines
from train_step import CACHE

from bedplate.machine.load import LoadWatch
from bedplate.machine.probe import processor

IMPORTS = ("bedplate.pipeline.verbs", "bedplate.data.curation", "numpy", "pyarrow", "pyarrow.parquet", "yaml")
LIMIT = 900e6
DISK_EVERY = 10.0


class Probe:
    """Says which step a sample belongs to, and watches the disk meanwhile. `disk`: bytes at most so far."""

    def __init__(self, work: Path, run: Path) -> None:
        self.work, self.run, self.disk, self.next = work, run, 0, 0.0

    def __call__(self) -> str:
        if time.monotonic() >= self.next:
            self.disk = max(self.disk, size(self.work))
            self.next = time.monotonic() + DISK_EVERY
        return recipes.working(self.run)


def size(folder: Path) -> int:
    """Bytes that the files below a folder take on disk, each once however many names it has."""
    blocks: dict[int, int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                facts = os.lstat(os.path.join(place, name))
            except FileNotFoundError:
                continue
            blocks[facts.st_ino] = facts.st_blocks * 512
    return sum(blocks.values())


def interpreters(count: int) -> int:
    """Bytes that `count` idle processes with IMPORTS take together."""
    code = f"import {', '.join(IMPORTS)}; print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    idle = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(count)]  # type: ignore[call-overload]
    if not all(process.stdout.readline() for process in idle):
        sys.exit("an interpreter that was to be measured ended")
    total = sum(process_tree.memory(process.pid)[0] for process in idle)
    for process in idle:
        process.communicate(b"\n")
    return total


def prepare(options: argparse.Namespace) -> Path:
    """The folder of the input, made unless it is there as asked."""
    folder = options.work / "input"
    stamp, wanted = folder / "made.json", json.dumps({"megabytes": options.megabytes, "seed": options.seed})
    if not (stamp.is_file() and stamp.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        write_texts(folder, options.data, options.megabytes, options.seed, SHARES)
        stamp.write_text(wanted)
    return folder


def outcome(corpus: Path, source: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What became of what was planted."""
    summary = json.loads((source / "summary.json").read_text())
    texts = Texts(Pool.read(options.data), items(options.data), options.seed, SHARES, summary["passages"])
    truth = {row["url"]: row for row in lines(source / "truth.jsonl")}
    kept = {row["url"] for row in recipes.kept(corpus, ["url"])}
    copies = {r["url"] for r in recipes.dropped(corpus, ["url", "stage"]) if r["stage"] in recipes.COPIES}
    left_out = planted.roles_left_out(recipes.dropped(corpus, ["url", "stage"]), truth)
    contents = planted.contents_found(recipes.kept(corpus, ["url", "text", "c4_lines_removed"]), texts, truth)
    return {
        "copies": planted.copies_found(kept, copies, truth.values()),
        "passages": contents["passages"],
        "personal": contents["personal"],
        "items": planted.items_found(left_out, recipes.ITEMS, summary["roles"].get("item", 0), contents["items_left"]),
        "poor": planted.poor_found(left_out, truth.values()),
        "left_out": left_out,
    }


def told(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    bare, peak = result["interpreters"], result["peak"]
    given, workers = result["input"], result["options"]["workers"]
    out = [
        f"{given['documents']:,} documents, {given['bytes'] / 1e9:.2f} GB; {workers} worker(s); wall "
        f"{result['wall_s']:,.0f} s, CPU {result['cpu_s']:,.0f} s, others took {result['others']}.",
        f"Peak {peak / 1e6:,.0f} MB of {result['memory'].upper()}, {(peak - bare) / 1e6:,.0f} MB beyond the "
        f"{bare / 1e6:,.0f} MB of idle interpreters (aim: {LIMIT / 1e6:.0f}). Disk: {result['disk'] / 1e9:.2f} GB at "
        "most, input included.",
        "",
        "| step | peak MB | beyond the interpreter |",
        "|---|---|---|",
    ]
    out += [f"| {name} | {p / 1e6:,.0f} | {(p - bare) / 1e6:,.0f} |" for name, p in result["peaks"].items()]
    out += ["", "| stage | read | kept | CPU s |", "|---|---|---|---|"]
    for name, counts in result["measures"]["stages"].items():
        seconds = counts.get("cpu_s")
        out.append(
            f"| {name} | {counts['read']:,} | {counts['kept']:,} | {'' if seconds is None else f'{seconds:,.0f}'} |"
        )
    out += ["", "| planted | how many | recall | 14 bands of 8 alone | precision |", "|---|---|---|---|---|"]
    made = result["outcome"]
    copies = made["copies"]
    for kind, k in copies["kinds"].items():
        found = f"{k['recall']:.4f} | {k['expected']:.4f} | {copies['precision']:.4f} of all"
        out.append(f"| {kind} | {k['planted']:,} | {found} |")
    p, s, i = made["passages"], made["personal"], made["items"]
    out += [
        f"| passages repeated | {p['repeats']:,} | {p['recall']:.4f} | | {p['precision']:.4f} |",
        f"| personal values | {s['values']:,} | {s['recall']:.4f} | | |",
        f"| evaluation items | {i['planted']:,} | {i['recall']:.4f} | | {i['precision']:.4f} |",
    ]
    out += [f"| {role} | | {share:.4f} | | |" for role, share in made["poor"].items()]
    return "\n".join(out) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=CACHE / "curate-memory")
    parser.add_argument("--megabytes", type=float, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=CACHE / "curate-memory.json", help="JSON; the Markdown lies beside it"
    )
    return parser.parse_args()


def main() -> None:
    options = parse()
    source = prepare(options)
    run = options.work / "run"
    shutil.rmtree(run, ignore_errors=True)
    recipe = recipes.written(recipes.everything(source / "texts", source / "items.jsonl"), run, options.workers)
    bare = interpreters(options.workers + 1)
    probe, watch = Probe(options.work, run), LoadWatch()
    command: list[str | Path] = [sys.executable, "-m", "bedplate", "curate", recipe]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    usage = process_tree.run(command, options.work / "run.log", environment=environment, interval=0.2, probe=probe)
    if usage.returncode:
        sys.exit(f"bedplate curate failed ({usage.returncode}):\n{usage.output}")
    load = watch.load()
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(processor()),
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
        "input": json.loads((source / "summary.json").read_text()),
        "interpreters": bare,
        "memory": usage.measured,
        "peak": usage.peak,
        "peaks": usage.peaks(),
        "processes": max(sample.processes for sample in usage.samples),
        "wall_s": usage.wall_s,
        "cpu_s": usage.cpu_s,
        "others": "an unknown share" if load is None else f"{load.foreign + load.stolen:.0%} of the machine",
        "disk": probe.disk,
        "measures": recipes.measures(run / "corpus"),
        "outcome": outcome(run / "corpus", source, options),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(told(result))
    print(told(result))
    print(f"written: {options.out} and {options.out.with_suffix('.md').name}")


if __name__ == "__main__":
    main()
