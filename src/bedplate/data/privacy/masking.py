"""`Masker`: personal data out of everything that is written of a document beside its text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_DEEPEST = 20
"""Levels of metadata; what lies deeper is left out."""
_LEAST_NUMBER = 10**6
"""Smaller numbers are nobody's."""
_KNOWN = 4096
_REACH, _MARGIN = 4096, 256


class Masker:
    """prose: masks titles and what people write; name: addresses, names of files, licences, by our own rules alone,
    where the names and places that a model finds would make them useless."""

    def __init__(self, prose: Callable[[str], str], name: Callable[[str], str]) -> None:
        self.prose = prose
        self.name = lru_cache(maxsize=_KNOWN)(name)  # a source's licence and label come again with each document

    def key(self, value: str) -> str:
        """What things are compared by, masked, and still different wherever it was: with a hash where it is masked."""
        masked = self.name(value)
        if masked == value:
            return value
        return f"{masked} {hashlib.sha256(value.encode(errors='surrogatepass')).hexdigest()[:24]}"

    def value(self, value: Any) -> Any:
        """Metadata with its texts, names and numbers masked. Of names that come to be one, each stays: "<EMAIL> 2"."""
        return self._within(value, self.prose, 0)

    def _within(self, value: Any, words: Callable[[str], str], depth: int) -> Any:
        if isinstance(value, str):
            return words(value)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            if abs(value) < _LEAST_NUMBER or value.bit_length() > 128:
                return value
            masked = self.name(str(value))
            return value if masked == str(value) else masked
        if depth == _DEEPEST:
            return None
        if isinstance(value, dict):
            found: dict[str, Any] = {}
            for key, item in value.items():
                called = name = self.name(str(key))
                number = 1
                while name in found:
                    number += 1
                    name = f"{called} {number}"
                found[name] = self._within(item, words, depth + 1)
            return found
        if isinstance(value, list | tuple):
            return [self._within(item, words, depth + 1) for item in value]
        return value

    def json(self, written: str) -> str:
        """JSON of names and paths, masked; as it is where there is nothing to mask."""
        try:
            value = json.loads(written)
        except (ValueError, RecursionError):
            return self.name(written)
        masked = self._within(value, self.name, 0)
        return written if masked == value else json.dumps(masked, ensure_ascii=False)

    def beginning(self, text: str, count: int) -> str:
        """The first `count` characters of the masked text; what may be a part of something longer isn't shown."""
        masked = self.prose(text[:_REACH])
        return (masked[:-_MARGIN] if len(text) > _REACH else masked)[:count]
