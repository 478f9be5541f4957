"""Keys and digests: what an artefact was asked to be, and what it is.

Everything is SHA-256 over canonical JSON (sorted keys, no spaces, ASCII) or over a file's bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.errors import InternalError

if TYPE_CHECKING:
    from bedplate.ledger.manifest import Output

CHUNK = 1 << 20


def canonical_json(value: object) -> bytes:
    """The one JSON spelling of `value`. Raises InternalError where it has none (NaN, or a type JSON doesn't know)."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InternalError(f"a value that goes into a key has no canonical JSON: {error}") from error
    return text.encode("ascii")


def sha256_json(value: object) -> str:
    """SHA-256, in hexadecimal, of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256, in hexadecimal, of a file's bytes, read a megabyte at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stage_key(name: str, version: int, semantic: Mapping[str, object], inputs: Mapping[str, object]) -> str:
    """What an artefact was asked to be. `inputs` maps each role to a digest, or a list of them in the given order."""
    return sha256_json({"stage": name, "version": version, "config": semantic, "inputs": inputs})


def outputs_digest(outputs: Iterable[Output]) -> str:
    """What an artefact is: its identity, over the sorted (path, bytes, sha256) of the outputs that aren't volatile."""
    return sha256_json(sorted([output.path, output.bytes, output.sha256] for output in outputs if not output.volatile))
