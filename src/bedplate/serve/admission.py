"""`Admission`: how many continuations a model may have on hand; who comes beyond is told when to come back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bedplate.serve.api_error import ApiError, refused

LONGEST_WAIT_S = 30


class Admission:
    """slots: continuations that are worked on at once. max_queue: more that may wait. Belongs to the event loop."""

    def __init__(self, slots: int, max_queue: int) -> None:
        self.slots, self.max_queue, self.load = slots, max_queue, 0

    def enter(self, count: int) -> Place:
        """Room for `count` continuations. Raises an `ApiError`: 429 where there isn't any now, 400 where there never
        is."""
        if count > self.slots + self.max_queue:
            raise refused(
                f"{count} answers are asked for at once, and this model takes on {self.slots + self.max_queue}: "
                "ask for fewer",
                "n",
                "too_many_answers",
            )
        if self.load + count > self.slots + self.max_queue:
            wait = min(LONGEST_WAIT_S, 1 + self.load // self.slots)
            raise ApiError(
                429,
                f"{self.load} requests are under way and no more can wait; come back in {wait} s",
                code="queue_full",
                headers={"Retry-After": str(wait)},
            )
        return Place(self, count)

    @contextmanager
    def entered(self, count: int) -> Iterator[None]:
        """`enter`, left at the end of the block."""
        place = self.enter(count)
        try:
            yield
        finally:
            place.leave()


class Place:
    """Room that was given; `leave` gives it back, once."""

    def __init__(self, admission: Admission, count: int) -> None:
        self._admission, self._count = admission, count
        admission.load += count

    def leave(self) -> None:
        self._admission.load -= self._count
        self._count = 0
