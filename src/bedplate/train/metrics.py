"""`metrics.jsonl`: one line a logged step, cut back to the checkpoint on resuming, so that no step stands twice."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from bedplate.errors import ArtefactError, InputError


class DivergedError(InputError):
    """The loss or its gradient is no finite number any more. step: the first such, counted from 1."""

    def __init__(self, problem: str, fix: str, step: int) -> None:
        super().__init__(problem, fix)
        self.step = step


class Metrics:
    """Appends lines; knows how long the file is."""

    def __init__(self, path: Path, keep_bytes: int) -> None:
        """keep_bytes: what of an earlier attempt's file still counts. Raises ArtefactError if there is less."""
        self.path = path
        self._file = path.open("ab")
        if self._file.tell() < keep_bytes:
            self._file.close()
            raise ArtefactError(
                f"{path}: shorter than its checkpoint says ({keep_bytes} bytes): lines have been taken out of it",
                f"Put it back, or remove {path.parent} to begin anew.",
            )
        self._file.truncate(keep_bytes)
        self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        # On a full disk closing fails once more, with the line that couldn't be written.
        with contextlib.suppress(OSError) if error is not None else contextlib.nullcontext():
            self._file.close()

    def write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def bytes(self) -> int:
        """The file's length, on disk for certain: a checkpoint will name it."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def lines(self) -> list[dict[str, Any]]:
        """What was written, this attempt's and the earlier ones'."""
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Outcome:
    """What one step gave, scalars still on the device: the global mean loss, the gradient's norm before clipping, and
    how much each of the loss's terms counted. tokens: places in its rows, over all ranks."""

    loss: Tensor
    norm: Tensor
    weights: dict[str, Tensor]
    tokens: int = 0


class Unlogged:
    """The steps since the last line. Nothing is read from the device until a line or a checkpoint needs it."""

    def __init__(self, step: int = 0, losses: Iterable[float] = (), tokens: int = 0) -> None:
        """step: done so far; losses: of the last of them, not logged yet when a checkpoint was made; tokens: in those
        steps' rows."""
        self.step, self.losses, self.tokens = step, list(losses), tokens
        self.norm = math.nan
        """Of the last step."""
        self._waiting: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        self._waiting.append(outcome)
        self.tokens += outcome.tokens

    def settle(self) -> None:
        """Read what is waiting. Raises InputError, naming the step, where nothing was supervised, DivergedError where
        something isn't a finite number: before a checkpoint is made of it."""
        outcomes, self._waiting = self._waiting, []
        if not outcomes:
            return
        rows = torch.stack([torch.stack([o.loss, o.norm, *(w.float() for w in o.weights.values())]) for o in outcomes])
        for loss, norm, *weights in rows.tolist():
            self.step += 1
            for name, weight in zip(outcomes[0].weights, weights, strict=True):
                if not weight > 0:
                    raise InputError(
                        f"step {self.step}: nothing in the whole batch is supervised for the loss {name!r}",
                        "Check the loss mask (keep).",
                    )
            for what, value in (("loss", loss), ("norm of the gradient", norm)):
                if not math.isfinite(value):
                    raise DivergedError(
                        f"the {what} is {value} at step {self.step}; the checkpoints before it are kept",
                        "Lower optimiser.learning_rate or lengthen schedule.warmup.",
                        self.step,
                    )
            self.losses.append(loss)
            self.norm = norm

    def take(self) -> tuple[list[float], int]:
        """The losses of the steps since the last line, which are logged now, and the tokens in their rows."""
        self.settle()
        taken = self.losses, self.tokens
        self.losses, self.tokens = [], 0
        return taken
