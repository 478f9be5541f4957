"""`metrics.jsonl`: one line a logged step, cut back to the checkpoint on resuming, so that no step stands twice."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Metrics:
    """Appends lines; knows how long the file is."""

    def __init__(self, path: Path, keep_bytes: int) -> None:
        """keep_bytes: what of an earlier attempt's file still counts."""
        self.path = path
        self._file = path.open("ab")
        self._file.truncate(min(keep_bytes, self._file.tell()))
        self._file.seek(0, os.SEEK_END)

    def write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def bytes(self) -> int:
        """The file's length, on disk for certain: a checkpoint will name it."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        self._file.close()

    def lines(self) -> list[dict[str, Any]]:
        """What was written, this attempt's and the earlier ones'."""
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
