"""`Guideline`: what annotators go by, and which version of it a label was given under."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bedplate.errors import InputError

_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Guideline:
    """version: the first 12 digits of the SHA-256 of its bytes, so that no change of it goes unnoticed."""

    name: str
    text: str
    version: str


def read_guideline(path: Path) -> Guideline:
    """The guideline in a text or Markdown file. Raises InputError where there is none that can be read."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}", "Give a text file.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8", "Convert it, e.g. with iconv.") from error
    if len(data) > _MOST_BYTES or not text.strip():
        raise InputError(f"{path}: {len(data):,} bytes of guideline", "Give a text of up to 1 MiB that says something.")
    return Guideline(path.name, text, hashlib.sha256(data).hexdigest()[:12])
