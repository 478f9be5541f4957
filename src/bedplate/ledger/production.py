"""`produce`: make an artefact, or find it made. Lock, key, reuse, attempt, commit, rename, in this order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bedplate.config import Config
from bedplate.console import Console
from bedplate.errors import ArtefactError
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.atomic import storage_errors
from bedplate.ledger.attempt import attempt, clear_failed, follow
from bedplate.ledger.commit import REMOVED, commit, put_in_place, remove_tree, replaced
from bedplate.ledger.digests import stage_key
from bedplate.ledger.lock import folder_lock
from bedplate.ledger.manifest import MANIFEST, Input, read_manifest
from bedplate.ledger.place import check_apart, check_place, made_differently, real, standing
from bedplate.ledger.ranks import Ranks
from bedplate.ledger.stage import Inputs, SourceInput, Stage, flatten, resolve


def produce(
    stage: Stage,
    config: Config,
    inputs: Inputs,
    out: Path | str,
    *,
    name: str,
    console: Console,
    replace: bool = False,
) -> Artefact:
    """The artefact at `out`, made by `stage` from `config` and `inputs` unless it is there already.

    Work happens in `OUT.partial-<key>/` and is kept when it is interrupted, if the stage can go on there. Raises
    BusyError if another process is at it, ArtefactError if `out` holds something else (unless `replace`) or is
    damaged, StorageError if the disk is full. Under torchrun every process calls it and all get the artefact.
    """
    out = Path(out)
    check_place(out)
    check_inputs(stage, inputs)
    ranks = Ranks.visiting(out)
    if ranks is None:
        return _lead(stage, config, inputs, out, name, console, replace, None)
    if not ranks.leads:
        return follow(stage, config, inputs, out, ranks)
    try:
        artefact = _lead(stage, config, inputs, out, name, console, replace, ranks)
    except BaseException as error:
        ranks.tell("begin", {"failed": str(error)})
        ranks.tell("end", {"failed": str(error)})
        raise
    ranks.tell("begin", {"work": None})
    ranks.tell("end", {"cached": artefact.cached})
    return artefact


def _lead(
    stage: Stage,
    config: Config,
    inputs: Inputs,
    out: Path,
    name: str,
    console: Console,
    replace: bool,
    ranks: Ranks | None,
) -> Artefact:
    with folder_lock(out):
        sources = _sources(stage, config)
        key = stage_key(stage.name, stage.version, config.semantic(), _input_digests(stage, inputs, sources))
        partial = out.with_name(f"{out.name}.partial-{key[:16]}")
        recorded = _recorded(inputs, sources, out)
        check_apart(out, [*(a.path for _, a in flatten(inputs)), *(source.path for source in sources)])
        found = _existing(out, key, stage, config, recorded, replace=replace)
        if found is not None:
            _clean(out, partial, key)
            return found
        resumes = f"the work so far is kept in {partial} and resumes from there"
        kept = resumes if stage.resumes else "nothing half-made is left behind"
        try:
            with storage_errors(partial, kept=kept):
                if not _finished(partial, key):
                    work, cost = attempt(stage, config, inputs, partial, console, ranks)
                    commit(stage, config, recorded, work, key=key, name=name, resources=cost)
                put_in_place(partial, out)
        except BaseException:
            clear_failed(stage, partial)
            raise
        return Artefact(out, read_manifest(out))


def check_inputs(stage: Stage, inputs: Inputs) -> None:
    """Raise ArtefactError unless the inputs are those that the stage declares, each of a kind that it takes."""
    roles = stage.roles()
    if unknown := sorted(set(inputs) - set(roles)):
        raise ArtefactError(f"{stage.name}: unknown input {unknown[0]!r}", f"It takes: {', '.join(roles) or 'none'}.")
    for role in roles.values():
        if role.name not in inputs:
            if not role.optional and not role.many:
                raise ArtefactError(f"{stage.name}: the input {role.name!r} is missing", f"Give a {role} artefact.")
            continue
        if isinstance(inputs[role.name], list) and not role.many:
            raise ArtefactError(f"{stage.name}: the input {role.name!r} takes one artefact, not a list", None)
    for name, artefact in flatten(inputs):
        if not roles[name].accepts(artefact.kind):
            raise ArtefactError(
                f"{stage.name}: the input {name!r} is {artefact.path}, a {artefact.kind} artefact",
                f"It must be a {roles[name]} artefact.",
            )


def _sources(stage: Stage, config: Config) -> list[SourceInput]:
    return list(resolve(stage.sources)(config)) if stage.sources else []


def _input_digests(stage: Stage, inputs: Inputs, sources: Sequence[SourceInput]) -> dict[str, object]:
    digests: dict[str, object] = {}
    for role, value in inputs.items():
        digests[role] = [artefact.digest for artefact in value] if isinstance(value, list) else value.digest
    if stage.sources:
        digests["raw sources"] = [source.digest for source in sources]
    return digests


def _recorded(inputs: Inputs, sources: Sequence[SourceInput], out: Path) -> tuple[Input, ...]:
    artefacts = [
        Input(role=role, kind=a.kind, name=a.name, digest=a.digest, path=relative_path(a.path, out))
        for role, a in flatten(inputs)
    ]
    raw = [
        Input(
            role="source",
            kind="raw",
            name=source.path.name,
            digest=source.digest,
            path=relative_path(source.path, out),
            bytes=source.bytes,
            count=source.count,
        )
        for source in sources
    ]
    return (*artefacts, *raw)


def relative_path(target: Path, folder: Path) -> str:
    """`target` as seen from `folder`, both with their links resolved; with forward slashes."""

    try:
        return Path(os.path.relpath(real(target), real(folder))).as_posix()
    except ValueError:  # Windows: on another drive
        return real(target).as_posix()


def _existing(
    out: Path, key: str, stage: Stage, config: Config, inputs: tuple[Input, ...], *, replace: bool
) -> Artefact | None:
    """What stands at `out` if it can be used; None if the way is free (or may be freed)."""
    there = standing(out)
    if there is None:
        return None
    if there.key == key:
        try:
            there.check()
        except ArtefactError:
            if replace:
                return None
            raise
        return there
    if replace:
        return None
    raise made_differently(there, stage, config, inputs)


def _finished(partial: Path, key: str) -> bool:
    """Whether an earlier attempt got as far as its manifest, so that only the rename is missing."""
    if (partial / REMOVED).is_file():  # killed while it was being removed: of no use to anybody
        remove_tree(partial)
    if not (partial / MANIFEST).is_file():
        return False
    manifest = read_manifest(partial)
    if manifest.key != key:
        # A kill in the middle of a swap leaves the artefact that was replaced under this name.
        remove_tree(partial)
        return False
    try:
        Artefact(partial, manifest).check()
    except ArtefactError:  # damaged since: the stage has another look at what is there
        (partial / MANIFEST).unlink()
        return False
    return True


def _clean(out: Path, partial: Path, key: str) -> None:
    """Remove what a kill in the middle of a swap left: the artefact that was replaced."""
    for left in replaced(out):
        remove_tree(left)
    if (partial / MANIFEST).is_file() and read_manifest(partial).key != key:
        remove_tree(partial)
