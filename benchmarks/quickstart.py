"""How long `make quickstart` takes in a fresh copy of this repository, and how long when everything is there.

    python benchmarks/quickstart.py [VARIABLE=value ...]

clones the commit that is checked out into a temporary folder and runs `make quickstart` there twice. Words are handed
to make: TORCH="torch==2.13.0 --index-url <the CPU index>", PYTHON=python3.12, OVERRIDES=model.steps=20. The first time
includes the virtual environment and what pip downloads; the stages' own times are those that their manifests carry.
It prints a table, and as the last line the same as JSON. Standard library only: it makes its own environment.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RUNS = Path("runs") / "quickstart"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bedplate-quickstart-") as folder:
        copy = Path(folder) / "bedplate"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
        commit = subprocess.check_output(["git", "-C", str(copy), "rev-parse", "HEAD"], text=True).strip()
        first = seconds(copy, sys.argv[1:])
        stages = {manifest["name"]: manifest for manifest in manifests(copy / RUNS)}
        second = seconds(copy, sys.argv[1:])
        report(commit, first, second, stages)


def seconds(copy: Path, variables: list[str]) -> float:
    """Wall time of `make quickstart`. What it says goes to stderr; it must succeed."""
    began = time.monotonic()
    subprocess.run(["make", "quickstart", *variables], cwd=copy, check=True, stdout=sys.stderr)
    return time.monotonic() - began


def manifests(runs: Path) -> list[dict[str, Any]]:
    """The manifests of the stages, in the order they were made."""
    found = [json.loads(path.read_bytes()) for path in runs.glob("*/bedplate.json")]
    return sorted(found, key=lambda manifest: str(manifest["created"]))


def report(commit: str, first: float, second: float, stages: dict[str, dict[str, Any]]) -> None:
    times = {name: manifest["resources"]["wall_s"]["value"] for name, manifest in stages.items()}
    rows = [*times.items(), ("everything else (environment, imports, checks)", first - sum(times.values()))]
    rows += [("make quickstart", first), ("make quickstart again", second)]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value:8.1f} s")
    environment = next(iter(stages.values()))["environment"]
    machine = {"processor": environment["processor"], "cores": os.cpu_count(), "platform": platform.platform()}
    versions = {"python": environment["python"], "torch": environment["torch"]}
    figures = {"first_s": first, "again_s": second, "stages_s": times}
    print(json.dumps({"commit": commit, **figures, "machine": machine, "versions": versions}))


if __name__ == "__main__":
    main()
