"""Ctrl-C and SIGTERM during training: the step is finished and kept before the process stops."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_CAUGHT = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """While this is entered, the first signal is only remembered; a second one acts at once, as it would outside.

    One that nobody acted on does so at the end, unless an error ends it.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.received = 0
        """The signal's number; 0 where none has come."""
        self._say = say
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _CAUGHT}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._restore()
        if error is None and self.received:
            signal.raise_signal(self.received)

    def act(self, number: int) -> None:
        """Do now what signal `number` does outside."""
        self.received = 0
        self._restore()
        signal.raise_signal(number)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = number
        self._restore()
        # RuntimeError: the signal came in the middle of writing to the same stream. The message isn't worth the run.
        with contextlib.suppress(RuntimeError):
            self._say(f"{signal.Signals(number).name}: finishing this step and keeping it; once more stops at once")

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
