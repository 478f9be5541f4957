"""`Request` and `Answer`, and the journal by which no answer is asked for twice."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from bedplate.ledger.digests import sha256_json

Messages = tuple[tuple[str, str], ...]
"""(role, content), in order."""


@dataclass(frozen=True)
class Request:
    """One conversation to answer. Equal requests are one: they get one answer."""

    messages: Messages
    seed: int

    @property
    def key(self) -> str:
        return sha256_json([self.messages, self.seed])

    def openai(self) -> list[dict[str, str]]:
        """The messages as chat completions have them."""
        return [{"role": role, "content": content} for role, content in self.messages]


@dataclass(frozen=True)
class Answer:
    """What a model wrote. cut: whether it ended at the most tokens that it may write. Tokens are None where the server
    doesn't say."""

    text: str
    cut: bool
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True)
class Unanswered:
    """Why there is no answer: a short reason, and what happened."""

    reason: str
    problem: str


class Writer(Protocol):
    """Whoever answers."""

    name: str

    def answers(self, requests: Sequence[Request], journal: Journal) -> list[Answer | Unanswered]:
        """One for each request, in order: from the journal, or asked for and put there. Raises UserError where asking
        on is pointless: a server that is gone, a key that is refused."""


class Journal:
    """Answers in a file, each on the disk once `add` returns. A line that a kill cut short is as if never written."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._places: dict[str, int] = {}
        end = 0
        if path.exists():
            with path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._places[line[:64].decode("ascii")] = end
                    end += len(line)
            os.truncate(path, end)
        self._file = path.open("ab")
        self._end = end

    def __len__(self) -> int:
        return len(self._places)

    def find(self, request: Request) -> Answer | None:
        """The answer to a request, if it has come."""
        place = self._places.get(request.key)
        if place is None:
            return None
        with self._path.open("rb") as file:
            file.seek(place)
            return Answer(**json.loads(file.readline()[65:]))

    def add(self, answered: Iterable[tuple[Request, Answer]]) -> None:
        """Put answers on record, together."""
        with self._lock:
            for request, answer in answered:
                key = request.key
                line = f"{key} {json.dumps(asdict(answer), ensure_ascii=True)}\n".encode("ascii")
                self._file.write(line)
                self._places[key] = self._end
                self._end += len(line)
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def remove(self) -> None:
        """Close it and take it away: its answers are in the corpus."""
        self.close()
        self._path.unlink()
