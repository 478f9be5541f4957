"""`bedplate.json`: the manifest in every artefact folder, its schema, and how it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bedplate.errors import ArtefactError
from bedplate.ledger.atomic import atomic_write

MANIFEST = "bedplate.json"
SCHEMA_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Input(_Part):
    """One thing that the artefact was made from: another artefact, or a raw source (`kind` is "raw")."""

    role: str = Field(description="The stage's name for it: corpus, tokenizer, source.")
    kind: str = Field(description="The artefact's kind, or raw.")
    name: str = Field(description="Its name when it was used.")
    digest: str = Field(description="What it was: an artefact's digest, or that of a raw source.")
    path: str = Field(description="Where it was, relative to this folder.")
    bytes: int | None = Field(default=None, description="Size of a raw source.")
    count: int | None = Field(default=None, description="Documents or rows in a raw source.")


class Output(_Part):
    """One file of the artefact."""

    path: str = Field(description="Relative to the folder, with forward slashes.")
    bytes: int = Field(description="Size.")
    sha256: str = Field(description="Of its bytes, in hexadecimal.")
    volatile: bool = Field(default=False, description="May differ from run to run, so isn't part of the digest.")

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        """A manifest is a file that anybody can write: it may name nothing outside its folder."""
        if not path or path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"{path!r} isn't inside the folder")
        return path


class Resource(_Part):
    """A figure that says how it was come by."""

    value: float = Field(description="In the unit that the resource's name ends with.")
    method: Literal["measured", "estimated"] = Field(description="How the value was come by.")
    note: str | None = Field(default=None, description="How it was estimated, or what the measurement covers.")


class Code(_Part):
    """Which Bedplate made it."""

    version: str = Field(description="Bedplate's version.")
    commit: str | None = Field(default=None, description="Git commit of the checkout; null for an installed package.")
    dirty: bool | None = Field(default=None, description="Whether the checkout had changes on top of the commit.")


class Environment(_Part):
    """Where it was made."""

    python: str = Field(description="Version of Python.")
    torch: str | None = Field(default=None, description="Version of PyTorch, where it is installed.")
    device: str = Field(description="The device that did the arithmetic: cpu, or the accelerator's name.")
    processor: str = Field(description="The processor's name.")
    threads: int = Field(description="Threads that arithmetic on the CPU may use.")
    platform: str = Field(description="Operating system and architecture.")


class Manifest(_Part):
    """Everything that the ledger knows about one artefact. Facts about a model are read from here and nowhere else."""

    schema_version: int = Field(default=SCHEMA_VERSION, description="Version of this schema.")
    kind: str = Field(description="corpus, filter, tokens, tokenizer, run, model, adapter, index, report, release ...")
    name: str = Field(description="What the user called it: the stage's name in the recipe.")
    created: str = Field(description="When it was committed: ISO 8601, UTC.")
    stage: str = Field(description="The verb that made it.")
    stage_version: int = Field(description="That stage's VERSION.")
    key: str = Field(description="What it was asked to be: sha256 of stage, version, semantic config, input digests.")
    digest: str = Field(description="What it is: sha256 over its outputs that aren't volatile.")
    inputs: tuple[Input, ...] = Field(description="What it was made from.")
    config: dict[str, Any] = Field(description="The full resolved configuration.")
    semantic: dict[str, Any] = Field(description="The part of the configuration that went into the key.")
    code: Code = Field(description="Which Bedplate made it.")
    environment: Environment = Field(description="Where it was made.")
    resources: dict[str, Resource] = Field(
        description="wall_s, cpu_s, gpu_s, flops, peak_rss_bytes, peak_gpu_bytes, energy_kwh; a missing one is unknown."
    )
    measures: dict[str, Any] = Field(description="What the stage counted or scored.")
    outputs: tuple[Output, ...] = Field(description="Every file but this one.")
    newest_mtime_ns: int = Field(
        description="Newest modification time among the outputs when they were hashed. Lets a cache check see an edit "
        "without reading; it isn't part of key or digest, and a copy that changes it only costs a hash."
    )


_LOST = "Restore the folder from a copy, or move it away and make the artefact again."


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an artefact folder. Raises ArtefactError if it is missing, broken or of a newer schema."""
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtefactError(f"{folder}: no {MANIFEST}, so this isn't an artefact", "Give the folder of one.") from None
    except (ValueError, OSError) as error:
        raise ArtefactError(f"{path}: can't be read as JSON: {error}", _LOST) from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if not isinstance(version, int):
        raise ArtefactError(f"{path}: no schema_version, so this isn't a manifest of Bedplate's", _LOST)
    if version > SCHEMA_VERSION:
        raise ArtefactError(
            f"{path}: written by a newer Bedplate (schema {version}; this one reads up to {SCHEMA_VERSION})",
            "Upgrade Bedplate: pip install --upgrade bedplate",
        )
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ArtefactError(f"{path}: {place}: {first['msg'].removeprefix('Value error, ')}", _LOST) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, atomically and durably: from this instant the folder is an artefact."""
    atomic_write(folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
