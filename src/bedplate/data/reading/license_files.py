"""A repository's licence files, and for each of its other files the ones that hold for it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence

from bedplate.data.reading.text import decode
from bedplate.data.rights.license_text import is_license_file, license_of
from bedplate.data.rights.spdx import canonical

LARGEST = 256 << 10
_WHOLE = re.compile(r"(?:(?:un)?licen[cs]e|copying)(?:\.(?:txt|md|rst))?", re.IGNORECASE)


class LicenseFiles:
    """By the folders that have licence files: {folder: their objects' names}, the plainly named ones first.

    Those of the nearest folder above a file hold for it, and none further up.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self._folders: dict[str, list[tuple[bool, str, str]]] = {}
        for path, sha in files.items():
            if is_license_file(path):
                folder, name = posixpath.split(path)
                self._folders.setdefault(folder, []).append((_WHOLE.fullmatch(name) is None, name, sha))
        self._nearest: dict[str, tuple[str, ...]] = {}

    def of(self, folder: str) -> tuple[str, ...]:
        """The objects of the licence files that hold for what is in a folder, with "=" before those of plain names."""
        if folder not in self._nearest:
            if folder in self._folders:
                found = tuple(("" if other else "=") + sha for other, _, sha in sorted(self._folders[folder]))
            else:
                found = self.of(posixpath.dirname(folder)) if folder else ()
            self._nearest[folder] = found
        return self._nearest[folder]


class Licenses:
    """What licence files say, each looked at once. load: gives an object's bytes, or None."""

    def __init__(self, load: Callable[[str], bytes | None]) -> None:
        self._load = load
        self._known: dict[str, str | None] = {}

    def of(self, objects: Sequence[str]) -> str | None:
        """The licence that `LicenseFiles.of` names: that of the files with plain names, or where there are none all of
        the others (LICENSE-MIT, LICENSE-APACHE), of which nothing says that one will do. None where a file with a plain
        name isn't understood, whatever lies beside it."""
        plain = [self._name(one[1:]) for one in objects if one.startswith("=")]
        if plain:
            return None if None in plain else plain[0]
        others = [name for one in objects if not one.startswith("=") and (name := self._name(one))]
        return canonical(" AND ".join(dict.fromkeys(others))) if others else None

    def _name(self, sha: str) -> str | None:
        if sha not in self._known:
            data = self._load(sha)
            self._known[sha] = None if data is None else license_of(decode(data) or data.decode("latin-1"))
        return self._known[sha]
