"""`prompt.json` of a retrieval: everything that it does beside its index and its base."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bedplate.adapt.retrieval.index import MODES, Mode
from bedplate.adapt.retrieval.prompts import Style
from bedplate.errors import ArtefactError

FILE = "prompt.json"
VERSION = 1
THRESHOLD = 0.51
"""Least support where nothing was there to calibrate by: what parts XQuAD's answerable questions from those whose
paragraph was removed best, on half of its articles, with MiniLM (benchmarks/retrieval.py)."""


@dataclass(frozen=True)
class RetrievalSettings:
    """passages: put before the base. search: how they are found. style: how they are put. instruction: in place of the
    style's own. threshold: least support of an answer; below it there is none. calibrated: whether the threshold was
    chosen on validation. max_tokens: longest answer where the caller doesn't say."""

    passages: int = 3
    search: Mode = "hybrid"
    style: Style = "passages"
    instruction: str | None = None
    threshold: float = THRESHOLD
    calibrated: bool = False
    max_tokens: int = 64

    def save(self, folder: Path) -> None:
        """Write `prompt.json`."""
        content = {"version": VERSION, "way": "retrieval", **asdict(self)}
        (folder / FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> RetrievalSettings:
        """Read it. Raises ArtefactError for a newer version or a broken file."""
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
            if found.pop("version") > VERSION:
                raise ArtefactError(f"{path}: written by a newer Bedplate", "Upgrade Bedplate.")
            if found.pop("way") != "retrieval" or found["search"] not in MODES:
                raise ValueError("another way")
            return cls(**found)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtefactError(f"{path}: not the settings of a retrieval: {error!r}", "Make it again.") from error
