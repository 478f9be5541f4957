"""Turning a partial folder into an artefact: hash and sync every file, write the manifest last, put it in place."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import re
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bedplate.config import Config
from bedplate.errors import InternalError
from bedplate.ledger.atomic import TEMPORARY, sync_file, sync_folder
from bedplate.ledger.digests import outputs_digest, sha256_file
from bedplate.ledger.environment import code, environment
from bedplate.ledger.manifest import MANIFEST, Input, Manifest, Output, Resource, write_manifest
from bedplate.ledger.stage import Stage
from bedplate.ledger.work import Work

PARTIAL_STATE = ".bedplate-partial.json"
REMOVED = ".bedplate-removed.json"
"""What a manifest is called while the rest of its folder is being removed."""


def commit(
    stage: Stage,
    config: Config,
    inputs: tuple[Input, ...],
    work: Work,
    *,
    key: str,
    name: str,
    resources: dict[str, Resource],
) -> None:
    """Make the partial folder an artefact. After this only the rename is missing.

    Raises InternalError if the stage left nothing, or something that can't be part of an artefact.
    """
    measures = jsonable(work.measures, f"{stage.name}: measures")
    outputs, newest = _outputs(stage, work)
    manifest = Manifest(
        kind=stage.made_kind(config),
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        stage=stage.name,
        stage_version=stage.version,
        key=key,
        digest=outputs_digest(outputs),
        inputs=inputs,
        config=config.model_dump(mode="json"),
        semantic=config.semantic(),
        code=code(),
        environment=environment(),
        resources=resources,
        measures=measures,
        outputs=tuple(outputs),
        newest_mtime_ns=newest,
    )
    write_manifest(work.path, manifest)
    (work.path / PARTIAL_STATE).unlink(missing_ok=True)


def _outputs(stage: Stage, work: Work) -> tuple[list[Output], int]:
    """Every file of the folder, hashed and on the disk, and the newest modification time among them."""
    outputs: list[Output] = []
    newest = 0
    for folder, folders, files in os.walk(work.path):
        folders.sort()
        for name in sorted(files):
            path = Path(folder, name)
            relative = path.relative_to(work.path).as_posix()
            if name.startswith(TEMPORARY):  # left by a kill in the middle of an atomic write
                path.unlink()
                continue
            if relative in (PARTIAL_STATE, MANIFEST):
                continue
            if path.is_symlink() or not path.is_file():
                raise InternalError(f"{stage.name}: {relative} isn't a plain file; an artefact holds no others")
            sync_file(path)
            status = path.stat()
            newest = max(newest, status.st_mtime_ns)
            outputs.append(
                Output(
                    path=relative,
                    bytes=status.st_size,
                    sha256=sha256_file(path),
                    volatile=work.is_volatile(relative),
                )
            )
        sync_folder(Path(folder))
    if not outputs:
        raise InternalError(f"{stage.name}: finished without writing anything")
    return sorted(outputs, key=lambda output: output.path), newest


def jsonable(value: Any, where: str) -> Any:
    """`value` in JSON's types. Array scalars become numbers; what isn't finite becomes a string ("nan", "inf").

    Raises InternalError, naming the place, for anything else: a stage must not lose a measure silently.
    """
    if isinstance(value, dict):
        return {str(key): jsonable(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if callable(item := getattr(value, "item", None)) and getattr(value, "size", 1) in (1, ()):
        return jsonable(item(), where)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise InternalError(f"{where} is a {type(value).__name__}, which a manifest can't hold")


def put_in_place(partial: Path, out: Path) -> None:
    """Rename the finished folder to `out`. What stands there is swapped out in one step and then removed."""
    if out.is_dir() and not out.is_symlink() and any(out.iterdir()):
        old = out.with_name(f"{out.name}.replaced-{os.getpid()}")
        if _exchange(partial, out):
            partial.rename(old)
        else:
            out.rename(old)
            partial.rename(out)
        sync_folder(out.parent)
        remove_tree(old)
    else:
        if out.is_dir() and not out.is_symlink():
            out.rmdir()
        partial.rename(out)
        sync_folder(out.parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder that is no artefact any more.

    Its manifest becomes a marker first and the marker goes last, so that a kill leaves neither a damaged artefact nor a
    folder of which nobody can say whose it was.
    """
    marker = folder / REMOVED
    if (folder / MANIFEST).is_file():
        (folder / MANIFEST).replace(marker)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != marker:
            entry.unlink()
    shutil.rmtree(folder)


def replaced(out: Path) -> list[Path]:
    """Folders that `put_in_place` took out of `out`'s place and was killed before it had removed them.

    Both the name and what is inside must be of our making: anybody may call a folder so.
    """
    name = re.compile(re.escape(out.name) + r"\.replaced-\d+")
    return [
        folder
        for folder in sorted(out.parent.iterdir())
        if name.fullmatch(folder.name)
        and not folder.is_symlink()
        and ((folder / MANIFEST).is_file() or (folder / REMOVED).is_file())
    ]


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step (Linux renameat2). False where the system can't."""
    if not sys.platform.startswith("linux"):
        return False
    at_cwd, exchange = -100, 2
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        if libc.renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange) == 0:
            return True
    return False
