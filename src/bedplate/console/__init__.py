"""What a person, or a machine that reads JSON lines, sees while a stage works. Everything goes to stderr."""

from __future__ import annotations

from bedplate.console.terminal import Console, Progress

__all__ = ["Console", "Progress"]
