"""Checkpoints of a run: written beside the training, put in place by one rename, checked before they are trusted.

A checkpoint is a folder `step-N` of safetensors and JSON, no pickle: the whole parameters and optimiser moments in fp32,
whatever number of ranks wrote them, and `state.json`, written last, with the hash of each file and how long
`metrics.jsonl` was. Resuming needs nothing else, since batches are a function of (seed, step).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from bedplate.errors import ArtefactError, StorageError

_FILES = ("model.safetensors", "optimiser.safetensors")
_VERSION = 1


@dataclass(frozen=True)
class Saved:
    """A checkpoint on disk: made after `step` steps."""

    folder: Path
    step: int
    metrics_bytes: int

    def model(self) -> dict[str, Tensor]:
        """Parameter name -> the whole tensor."""
        return _read(self.folder / _FILES[0])

    def optimiser(self) -> dict[str, Tensor]:
        """"parameter name/moment" -> the whole tensor."""
        return _read(self.folder / _FILES[1])


class Checkpoints:
    """The checkpoints of one run. One is written at a time, in a thread; its failure is raised at the next call."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def newest(self, warn: Callable[[str], None]) -> Saved | None:
        """The newest whole checkpoint. A damaged one is named by `warn` and passed over."""
        found = sorted(self.folder.glob("step-*"), key=lambda p: _number(p.name), reverse=True)
        for folder in found:
            if _number(folder.name) < 0:
                continue
            saved, problem = _check(folder)
            if saved is not None:
                return saved
            warn(f"{folder}: {problem}; going back to the one before")
        return None

    def save(self, step: int, model: dict[str, Tensor], optimiser: dict[str, Tensor], metrics_bytes: int) -> None:
        """Begin to write a checkpoint. The tensors must be copies: training goes on."""
        self.wait()
        self._thread = threading.Thread(
            target=self._write, args=(step, model, optimiser, metrics_bytes), name="checkpoint", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Wait until what was begun is on disk. Raises what went wrong with it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            if isinstance(failure, OSError) or "os error 28" in str(failure).lower():
                raise StorageError(
                    f"{self.folder}: a checkpoint couldn't be written: {failure}",
                    "Make room and run the same command again: it goes on from the last whole checkpoint.",
                ) from failure
            raise failure

    def _write(self, step: int, model: dict[str, Tensor], optimiser: dict[str, Tensor], metrics_bytes: int) -> None:
        partial = self.folder / f".step-{step}.partial"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            hashes = {}
            for name, tensors in zip(_FILES, (model, optimiser), strict=True):
                save_file(tensors, partial / name)
                hashes[name] = _flush_and_hash(partial / name)
            state = {"version": _VERSION, "step": step, "metrics_bytes": metrics_bytes, "sha256": hashes}
            (partial / "state.json").write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
            _flush_and_hash(partial / "state.json")
            final = self.folder / f"step-{step}"
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
            _flush_folder(self.folder)
            self._forget_old()
        except BaseException as error:  # carried to the training thread, which raises it
            shutil.rmtree(partial, ignore_errors=True)
            self._failure = error

    def _forget_old(self) -> None:
        folders = sorted((p for p in self.folder.glob("step-*")), key=lambda p: _number(p.name))
        for folder in folders[: -self.keep]:
            # Renamed first, so that a kill halfway leaves no folder that looks whole.
            doomed = folder.rename(folder.with_name(f".{folder.name}.old"))
            shutil.rmtree(doomed, ignore_errors=True)

    def clean(self) -> None:
        """Remove what kills left behind. Call it while nothing is being written."""
        for left in (*self.folder.glob(".step-*.partial"), *self.folder.glob(".step-*.old")):
            shutil.rmtree(left, ignore_errors=True)


def _check(folder: Path) -> tuple[Saved | None, str]:
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if state["version"] != _VERSION:
            raise ArtefactError(
                f"{folder}: written by another version of Bedplate ({state['version']})",
                "Finish the run with the version that began it, or begin anew with --replace.",
            )
        for name in _FILES:
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != state["sha256"][name]:
                    return None, f"{name} isn't what was written"
        return Saved(folder, int(state["step"]), int(state["metrics_bytes"])), ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, f"not whole ({error})"


def _read(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping


def _flush_and_hash(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _number(name: str) -> int:
    text = name.removeprefix("step-")
    return int(text) if text.isdigit() else -1
