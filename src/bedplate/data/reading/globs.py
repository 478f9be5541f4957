"""Globs of relative paths: `*` and `?` within a name, `**/` any folders; one without / is tried on the last name."""

from __future__ import annotations

import functools
import re


class Matcher:
    """Whether a relative path matches any of some globs."""

    def __init__(self, globs: tuple[str, ...]) -> None:
        self._whole = [_pattern(glob.strip("/")) for glob in globs if "/" in glob.rstrip("/")]
        self._name = [_pattern(glob.rstrip("/")) for glob in globs if "/" not in glob.rstrip("/")]

    def __call__(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        return any(p.fullmatch(path) for p in self._whole) or any(p.fullmatch(name) for p in self._name)

    def any_part(self, path: str) -> bool:
        """Whether the path or a folder on the way to it matches."""
        parts = path.split("/")
        return any(self("/".join(parts[: i + 1])) for i in range(len(parts)))


@functools.cache
def _pattern(glob: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts), re.DOTALL)
