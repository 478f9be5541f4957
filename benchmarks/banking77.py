"""Banking77, adapted to in many ways: the task's file, the run of its recipe, the figures of docs/banking77.md.

    python benchmarks/banking77.py prepare [--data FOLDER]
    python benchmarks/banking77.py run [--out FOLDER] [stage.field=value ...]
    python benchmarks/banking77.py table FOLDER

`prepare` joins the data set's train.csv and test.csv into one file with a column that says the split. Training rows
that are copies or near copies of a test text are taken out, as `compare` refuses them; the test set stays whole.
FOLDER holds banking77/banking_data; by default it is the one that BEDPLATE_DATA names.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bedplate.machine.load import LoadWatch
from bedplate.tasks.near_copies import groups

ROOT = Path(__file__).resolve().parents[1]
TASK = ROOT / ".cache" / "bench" / "banking77" / "banking77.csv"
RECIPE = ROOT / "recipes" / "banking77.yaml"


def prepare(data: Path) -> None:
    folder = data / "banking77" / "banking_data"
    rows = {split: read(folder / f"{split}.csv") for split in ("train", "test")}
    first = groups([row["text"] for split in ("test", "train") for row in rows[split]])
    tested = set(first[: len(rows["test"])])
    kept = [row for row, of in zip(rows["train"], first[len(rows["test"]) :], strict=True) if of not in tested]
    TASK.parent.mkdir(parents=True, exist_ok=True)
    with TASK.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label", "split"))
        for split, some in (("train", kept), ("test", rows["test"])):
            writer.writerows((row["text"], row["category"], split) for row in some)
    out = len(rows["train"]) - len(kept)
    print(
        f"{TASK}: {len(kept):,} training rows ({out} that the test set holds too taken out), {len(rows['test']):,} test"
    )


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(out: Path, overrides: list[str]) -> None:
    """Run the recipe with its comparison at `out`, then print the table with the machine and what others took of it."""
    watch, began = LoadWatch(), time.monotonic()
    command = [sys.executable, "-m", "bedplate", "run", str(RECIPE), f"comparison.out={out}", *overrides]
    subprocess.run(command, check=True, cwd=ROOT)
    seconds, load = time.monotonic() - began, watch.load()
    table(out)
    foreign = "unknown" if load is None else f"{load.foreign:.0%}"
    print(
        f"\n{seconds / 60:.1f} minutes on {platform.processor() or platform.machine()}, {os.cpu_count()} cores; Python "
        f"{platform.python_version()}; other processes took {foreign} of the machine."
    )


def table(folder: Path) -> None:
    """The comparison as Markdown."""
    found = json.loads((folder / "comparison.json").read_bytes())
    task = found["task"]
    print(f"{task['train']:,} labels, {task['test']:,} of {task['test_available']:,} test examples.\n")
    currency = found["prices"]["currency"]
    print(f"| way | group | accuracy (95%) | macro-F1 | fit | memory | size | latency | {currency} for 1,000 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for way in found["ways"]:
        print("| " + " | ".join(cells(way)) + " |")
    for failed in found["failed"]:
        print(f"| {failed['name']} | failed: {failed['problem']} |")
    print()
    print("\n".join(found["advice"]["reasons"]))


def cells(way: dict[str, Any]) -> list[str]:
    score = way["score"]
    spread = way["spread"]
    seeds = f", seeds {100 * spread[0]:.1f} to {100 * spread[1]:.1f}" if spread else ""
    return [
        way["name"],
        str(way["group"]),
        f"{100 * score['value']:.1f}% ({100 * score['low']:.1f} to {100 * score['high']:.1f}{seeds})",
        f"{100 * way['second']:.1f}%",
        f"{way['fit_s']:.1f} s",
        f"{way['peak_bytes'] / 1e6:,.0f} MB",
        f"{way['own_bytes'] / 1e6:.2f} MB",
        f"{1000 * way['latency_s'][0]:.3g} ms",
        f"{way['cost_1000']:.2g}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    preparing = verbs.add_parser("prepare", help="write the task's file")
    preparing.add_argument(
        "--data", type=Path, default=Path(os.environ.get("BEDPLATE_DATA", ROOT.parent / "shared/data"))
    )
    running = verbs.add_parser("run", help="run the recipe")
    running.add_argument("--out", type=Path, default=ROOT / "runs" / "banking77" / "comparison")
    running.add_argument("overrides", nargs="*", help="stage.field=value")
    telling = verbs.add_parser("table", help="the table of a comparison that has been run")
    telling.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.verb == "prepare":
        prepare(options.data)
    elif options.verb == "run":
        run(options.out, options.overrides)
    else:
        table(options.folder)


if __name__ == "__main__":
    main()
