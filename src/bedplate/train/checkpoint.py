"""Checkpoints of a run: written beside the training, put in place by one rename, checked before they are trusted.

A checkpoint is a folder `step-N` of safetensors and JSON, no pickle: the whole parameters and optimiser moments in
fp32, whatever number of ranks wrote them, and `state.json`, written last, with the hash of each file and the little
that the loop wants back besides. Resuming needs nothing else, since batches are a function of (seed, step).
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from bedplate.errors import ArtefactError, StorageError
from bedplate.ledger.atomic import out_of_space, sync_file, sync_folder
from bedplate.ledger.digests import sha256_file, sha256_json

_MODEL, _OPTIMISER, _STATE = "model.safetensors", "optimiser.safetensors", "state.json"
_VERSION = 1


@dataclass(frozen=True)
class Saved:
    """A checkpoint on disk, made after `step` steps. rest: what `Checkpoints.save` was given beside tensors."""

    folder: Path
    step: int
    rest: dict[str, Any]

    def model(self) -> dict[str, Tensor]:
        """Parameter name -> the whole tensor."""
        return _read(self.folder / _MODEL)

    def optimiser(self) -> dict[str, Tensor]:
        """Parameter name/moment -> the whole tensor."""
        return _read(self.folder / _OPTIMISER)


class Checkpoints:
    """The checkpoints of one run. One is written at a time, in a thread; its failure is raised at the next call.

    As a context manager it leaves nothing at work behind: whoever takes the folder over finds it still.
    """

    def __init__(self, folder: Path, keep: int, warn: Callable[[str], None]) -> None:
        self.folder, self.keep, self._warn = folder, keep, warn
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self.wait()
            return
        self._join()
        if self._failure is not None:  # the error on its way is what the user has to know first
            self._warn(f"{self.folder}: the last checkpoint couldn't be written either: {self._failure}")

    def newest(self) -> Saved | None:
        """The newest whole checkpoint. A damaged one is warned of and passed over."""
        for step in sorted(self._steps(), reverse=True):
            saved, problem = _check(self._place(step), step)
            if saved is not None:
                return saved
            self._warn(f"{self._place(step)}: {problem}; going back to the one before")
        return None

    def at(self, step: int) -> Saved:
        """The checkpoint of a step that another rank has found. Raises ArtefactError if it isn't here too."""
        saved, problem = _check(self._place(step), step)
        if saved is None:
            raise ArtefactError(
                f"{self._place(step)}: {problem}, seen from this process; rank 0 has it whole",
                "All processes of a run need the same file system.",
            )
        return saved

    def save(self, step: int, model: dict[str, Tensor], optimiser: dict[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Begin to write a checkpoint. All of it must be copies, for training goes on. rest: small, JSON-able."""
        self.wait()
        # No daemon: an interpreter that ends waits for what it has begun to write.
        self._thread = threading.Thread(
            target=self._write, args=(step, model, optimiser, dict(rest)), name="checkpoint", daemon=False
        )
        self._thread.start()

    def wait(self) -> None:
        """Wait until what was begun is on disk. Raises what went wrong with it, StorageError if the disk did."""
        self._join()
        failure, self._failure = self._failure, None
        if failure is None:
            return
        if isinstance(failure, OSError) or out_of_space(failure):
            why = "the disk is full" if out_of_space(failure) else str(failure)
            raise StorageError(
                f"{self.folder}: a checkpoint couldn't be written: {why}",
                "Make room and run the same command again: it goes on from the last whole checkpoint.",
            ) from failure
        raise failure

    def clean(self) -> None:
        """Remove what kills left behind. Call it while nothing is being written."""
        for left in (*self.folder.glob(".step-*.partial"), *self.folder.glob(".step-*.old")):
            shutil.rmtree(left, ignore_errors=True)

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _place(self, step: int) -> Path:
        return self.folder / f"step-{step}"

    def _steps(self) -> list[int]:
        numbers = (path.name.removeprefix("step-") for path in self.folder.glob("step-*"))
        return [int(number) for number in numbers if number.isdecimal()]

    def _write(self, step: int, model: dict[str, Tensor], optimiser: dict[str, Tensor], rest: dict[str, Any]) -> None:
        partial = self.folder / f".step-{step}.partial"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            hashes = {}
            for name, tensors in ((_MODEL, model), (_OPTIMISER, optimiser)):
                save_file(tensors, partial / name)
                sync_file(partial / name)
                hashes[name] = sha256_file(partial / name)
            state: dict[str, Any] = {"version": _VERSION, "step": step, "sha256": hashes, "rest": rest}
            state["check"] = sha256_json(state)
            (partial / _STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
            sync_file(partial / _STATE)
            sync_folder(partial)
            self._remove(step)  # a damaged one that was passed over
            partial.rename(self._place(step))
            sync_folder(self.folder)
            self._forget_old(step)
        except BaseException as error:  # carried to the training thread, which raises it
            shutil.rmtree(partial, ignore_errors=True)
            self._failure = error

    def _forget_old(self, newest: int) -> None:
        """Keep the newest that are whole: what is beyond the one just written was damaged and passed over."""
        steps = sorted(self._steps())
        kept = [step for step in steps if step <= newest][-self.keep :]
        for step in set(steps) - set(kept):
            self._remove(step)

    def _remove(self, step: int) -> None:
        if self._place(step).exists():
            # Renamed first, so that a kill halfway leaves no folder that looks whole.
            doomed = self.folder / f".step-{step}.old"
            shutil.rmtree(doomed, ignore_errors=True)
            shutil.rmtree(self._place(step).rename(doomed), ignore_errors=True)


def _check(folder: Path, step: int) -> tuple[Saved | None, str]:
    """The checkpoint if it is whole, else what is wrong with it."""
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        if state["version"] != _VERSION:
            raise ArtefactError(
                f"{folder}: written by another version of Bedplate ({state['version']})",
                "Finish the run with the version that began it, or begin anew with --replace.",
            )
        if state.pop("check") != sha256_json(state) or state["step"] != step:
            return None, f"{_STATE} isn't what was written"
        for name in (_MODEL, _OPTIMISER):
            if sha256_file(folder / name) != state["sha256"][name]:
                return None, f"{name} isn't what was written"
        return Saved(folder, step, state["rest"]), ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return None, f"not whole ({error})"


def _read(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
