"""`Console`: messages, tables and progress on stderr, in the form that the reader can use.

rich where stderr is a terminal, plain lines where it isn't, one JSON object a line for machines, nothing but warnings
when quiet. What a command answers goes to stdout and isn't the console's business.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Literal

from bedplate.console.figures import amount, duration, field_text, visible

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress as RichProgress

Mode = Literal["rich", "plain", "json", "quiet"]
PLAIN_INTERVAL_S = 5.0


class Console:
    """Speaks to whoever watches. Made once by the command line and handed down; tests make `quiet()` or `plain()`."""

    def __init__(self, mode: Mode | Literal["auto"] = "auto", stream: IO[str] | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.mode: Mode = _choose(self.stream) if mode == "auto" else mode
        self._rich: RichConsole | None = None
        self._live: RichProgress | None = None

    @classmethod
    def quiet(cls, stream: IO[str] | None = None) -> Console:
        """Says nothing but warnings."""
        return cls("quiet", stream)

    @classmethod
    def plain(cls, stream: IO[str] | None = None) -> Console:
        """Says everything in plain lines, whatever stderr is."""
        return cls("plain", stream)

    def say(self, text: str) -> None:
        """A line of news."""
        self._emit("say", text)

    def heading(self, text: str) -> None:
        """The start of something: a stage, a section."""
        self._emit("heading", text, style="bold")

    def warn(self, text: str) -> None:
        """Something that the user should know and may want to change. Shown even when quiet."""
        self._emit("warning", text, style="yellow", prefix="warning: ")

    def fail(self, problem: str, fix: str | None) -> None:
        """What went wrong and what to do about it: the last words of a command. Shown even when quiet."""
        if self.mode == "json":
            self._json({"event": "error", "problem": problem, "fix": fix})
            return
        self._emit("error", problem, style="bold red", prefix="error: ")
        if fix is not None:
            self._emit("error", fix)

    def table(self, rows: Iterable[Sequence[object]], headers: Sequence[str]) -> None:
        """A small table. Columns that hold only numbers are set to the right."""
        if self.mode == "quiet":
            return
        if self.mode == "json":
            self._json({"event": "table", "rows": [dict(zip(headers, row, strict=True)) for row in rows]})
            return
        for line in _layout([[_cell(value) for value in row] for row in rows], headers):
            self._emit("say", line)

    @contextlib.contextmanager
    def progress(self, what: str, total: float | None, unit: str = "") -> Iterator[Progress]:
        """Progress of `what` towards `total` (None: unknown) in `unit` ("B" for bytes).

            with console.progress("pretrain", total=300, unit="steps") as progress:
                progress.update(step, loss=2.31)

        Progress is shown at once on a terminal, and as a line at most every five seconds elsewhere.
        """
        progress = Progress(self, what, total, unit)
        progress.start()
        try:
            yield progress
        finally:
            progress.stop()

    # -- how each mode writes -------------------------------------------------------------------------------------

    def _emit(self, event: str, text: str, *, style: str = "", prefix: str = "") -> None:
        if self.mode == "quiet" and event not in ("warning", "error"):
            return
        if self.mode == "json":
            self._json({"event": event, "text": text})
        elif self.mode == "rich":
            self._terminal().print(
                visible(prefix + text), style=style or None, markup=False, highlight=False, soft_wrap=True
            )
        else:
            self._line(visible(prefix + text))

    def _line(self, text: str) -> None:
        # Whoever read our stderr may have gone, or the disk that it goes to may be full; the work goes on.
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(text + "\n")
            self.stream.flush()

    def _json(self, event: dict[str, object]) -> None:
        self._line(json.dumps({**event, "time": round(time.time(), 3)}, ensure_ascii=False, default=str))

    def _terminal(self) -> RichConsole:
        if self._rich is None:
            from rich.console import Console as RichConsole

            self._rich = RichConsole(file=self.stream)
        return self._rich

    def _bars(self) -> RichProgress:
        """The one live display that all of this console's progress bars share."""
        if self._live is None:
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as RichProgress

            self._live = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[line]}", markup=False),
                console=self._terminal(),
                transient=True,
            )
        return self._live


class Progress:
    """One thing under way. `update(done, **fields)` says how far it is and shows the fields beside it."""

    def __init__(self, console: Console, what: str, total: float | None, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self._console = console
        self._fields: dict[str, object] = {}
        self._done = 0.0
        self._began = self._shown = time.monotonic()
        self._first: float | None = None  # where the first update stood: resumed work doesn't count as speed
        self._first_at = self._began
        self._task: int | None = None
        self._unshown = False

    def start(self) -> None:
        """Show it. `Console.progress` calls this."""
        if self._console.mode == "rich":
            bars = self._console._bars()
            self._task = bars.add_task(visible(self.what), total=self.total, line="")
            bars.start()

    def update(self, done: float, **fields: object) -> None:
        """`done` of `total` is done by now. Floats are shown with four figures, other fields as they are."""
        now = time.monotonic()
        self._done, self._fields = done, fields
        if self._first is None:
            self._first, self._first_at = done, now
        if self._task is not None:
            self._console._bars().update(self._task, completed=done, line=visible(self._status(now)))  # type: ignore[arg-type]
            return
        if now - self._shown >= PLAIN_INTERVAL_S:
            self._show(now)
        else:
            self._unshown = True

    def stop(self) -> None:
        """Take the bar away, or write the last line. `Console.progress` calls this."""
        now = time.monotonic()
        if self._task is not None:
            bars = self._console._bars()
            bars.remove_task(self._task)  # type: ignore[arg-type]
            self._task = None
            if not bars.tasks:
                bars.stop()
            if self._first is not None:
                self._console.say(f"{self.what}: {self._status(now)} in {duration(now - self._began)}")
        elif self._unshown:
            self._show(now)

    def _show(self, now: float) -> None:
        self._shown, self._unshown = now, False
        if self._console.mode == "json":
            event = {"event": "progress", "what": self.what, "done": self._done, "total": self.total, "unit": self.unit}
            self._console._json({**event, **self._fields})
        elif self._console.mode == "plain":
            self._console._line(visible(f"{self.what}: {self._status(now)}"))

    def _status(self, now: float) -> str:
        done = amount(self._done, self.unit)
        parts = [done if self.total is None else f"{amount(self._done, '')}/{amount(self.total, self.unit)}"]
        if self.unit == "B" and self.total is not None:
            parts = [f"{done} of {amount(self.total, self.unit)}"]
        parts += [field_text(name, value) for name, value in self._fields.items()]
        left = self._left(now)
        if left is not None and "left" not in self._fields:
            parts.append(f"left {duration(left)}")
        return "  ".join(parts)

    def _left(self, now: float) -> float | None:
        """Seconds to go at the speed so far, or None while nobody can tell."""
        if self.total is None or self._first is None or self._done <= self._first or self._done >= self.total:
            return None
        return (now - self._first_at) * (self.total - self._done) / (self._done - self._first)


def _choose(stream: IO[str]) -> Mode:
    """Rich only for a terminal that can move its cursor."""
    try:
        terminal = stream.isatty()
    except ValueError:
        terminal = False
    return "rich" if terminal and os.environ.get("TERM") != "dumb" else "plain"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _layout(rows: list[list[str]], headers: Sequence[str]) -> list[str]:
    table = [list(headers), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(headers))]
    numeric = [bool(rows) and all(_is_number(row[column]) for row in rows) for column in range(len(headers))]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in table
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "").rstrip("%s"))
    except ValueError:
        return text in ("", "-")
    return True
