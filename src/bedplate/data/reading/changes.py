"""Which files of a plan are no longer what they were when it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bedplate.data.reading.files import UNKNOWN, SourceFile, local_file, marks, store
from bedplate.errors import InputError


def changed_since(files: Sequence[SourceFile]) -> list[SourceFile]:
    """Those of the files, as `find` gave them, that are gone or in another state now.

    What git holds never changes. A store says what it says: where it named neither size nor version (a listing over
    http), nothing can be told but that a file is gone. Raises InputError where a store can't be reached.
    """
    asked: set[int] = set()
    changed = []
    for file in files:
        if file.url is not None:
            system, path = store(file.url)
            if id(system) not in asked:  # it keeps what it was told
                asked.add(id(system))
                system.invalidate_cache()
            same = _is_as_found(system, path, file)
        else:
            same = file.version is not None or _unchanged(file)
        if not same:
            changed.append(file)
    return changed


def _unchanged(file: SourceFile) -> bool:
    try:
        return local_file(file.path, file.name).state[1:] == file.state[1:]
    except OSError:
        return False


def _is_as_found(system: Any, path: str, file: SourceFile) -> bool:
    try:
        if _fits(system.info(path), file):
            return True
        # What a listing says and what is said of the one file needn't be the same.
        listed = system.ls(path.rpartition("/")[0], detail=True)
    except FileNotFoundError:
        return False
    except Exception as error:  # a store's own errors
        raise InputError(f"{file.url}: can't be looked at: {error}", "Check the network and the right.") from error
    return any(entry["name"] == path and _fits(entry, file) for entry in listed)


def _fits(entry: Mapping[str, Any], file: SourceFile) -> bool:
    size = entry.get("size")
    if file.bytes and size is not None and int(size) != file.bytes:
        return False
    said = marks(entry)
    return file.version == UNKNOWN or not said or file.version in said
