"""`doctor`: what this machine can do."""

from __future__ import annotations

import typer

from bedplate.cli.answer import answer
from bedplate.console import Console


def doctor(context: typer.Context) -> None:
    """Measure this machine: cores, memory, matrix rates, bandwidth, compiler, accelerators; and what that allows.

    Example: bedplate doctor --json
    """
    from bedplate.machine.doctor import doctor as examine

    console: Console = context.obj
    answer(examine(console), console)
