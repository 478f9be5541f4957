"""`Work`: what a stage's function is given: a folder to fill, a console, and a place for what it counted."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from bedplate.console import Console
from bedplate.ledger.resources import Meter


class Work:
    """One stage at work. The folder is the partial one: it may hold what an earlier, interrupted attempt left."""

    def __init__(self, path: Path, console: Console, meter: Meter, *, resumed: bool) -> None:
        self.path = path
        """Write everything here and nowhere else. Names beginning with ".bedplate-" are the ledger's."""
        self.console = console
        self.measures: dict[str, Any] = {}
        """JSON-able; goes into the manifest."""
        self.resumed = resumed
        """True if an earlier attempt left its work here."""
        self._meter = meter
        self._volatile: list[str] = []

    def add_flops(self, n: float, method: str) -> None:
        """Count `n` floating-point operations; `method` names the formula ("6 N D + attention")."""
        self._meter.add_flops(n, method)

    def volatile(self, *globs: str) -> None:
        """Outputs whose bytes differ from run to run (dates, index internals), by glob relative to the folder.

        They are hashed and checked like all others, but don't count in the artefact's digest. "*" doesn't cross a
        folder's border, "**" does.
        """
        self._volatile += globs

    def is_volatile(self, relative: str) -> bool:
        """Whether an output was declared volatile."""
        return any(_matches(PurePosixPath(relative).parts, PurePosixPath(glob).parts) for glob in self._volatile)


def _matches(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(path[skip:], pattern[1:] or ("*",)) for skip in range(len(path)))
    return bool(path) and PurePosixPath(path[0]).match(pattern[0]) and _matches(path[1:], pattern[1:])
