"""The words by which pages and their headers speak to robots, read for what they refuse: what is in doubt refuses."""

from __future__ import annotations

import re

LONGEST = 1 << 16
"""Bytes of one value that are read. What is longer is no honest value, and gets the word UNREAD."""
UNREAD = "unread"
"""Stands for words that weren't read; it counts as refusing."""
KNOWN = frozenset({"noai", "noimageai", "noindex", "none", "noarchive", "nosnippet", "notranslate", "nofollow"})
PERMITS = frozenset({"index", "follow", "all"})
"""What is so without being said: such words are not kept, and nobody opts out by them."""
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_PREFIX = re.compile(r"\s*([a-z0-9][a-z0-9_.-]*|\*)\s*:(.*)", re.DOTALL)
_WORD = re.compile(r"[^\s,;:]{1,40}")
_MOST_WORDS = 100
_MOST_AGENTS = 200
_YES = frozenset({"1", "true", "yes"})


class Directives:
    """{agent: words} as they are found; "*" is every agent. All in lower case."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, None]] = {}

    def meta(self, agent: str, content: str) -> None:
        """Of <meta name=agent content=...>: words set apart by commas, semicolons or spaces."""
        self._take(agent, _words(content))

    def header(self, value: str) -> None:
        """Of X-Robots-Tag, as in `noai, gptbot: noindex`. Values of a repeated header arrive as one, and nothing shows
        where one ends: words without an agent's name that follow one with a name are for that agent and for all."""
        agent = "*"
        for part in re.split("[,;]", value[:LONGEST].lower()):
            found = _PREFIX.match(part)
            if found is not None and found[1] in _VALUED:
                continue
            if found is not None:
                agent = found[1]
                self._take(agent, _words(found[2]))
            else:
                self._take("*", words := _words(part))
                self._take(agent, words)
        if len(value) > LONGEST:
            self._take("*", [UNREAD])

    def all(self) -> dict[str, tuple[str, ...]]:
        return {agent: tuple(words) for agent, words in self._found.items() if words}

    def _take(self, agent: str, words: list[str]) -> None:
        if not words:
            return
        if agent not in self._found and len(self._found) >= _MOST_AGENTS:
            agent, words = "*", [UNREAD]
        held = self._found.setdefault(agent, {})
        for word in words:
            held.setdefault(word if len(held) < _MOST_WORDS or word in KNOWN else UNREAD)


def says(words: set[str], directive: str) -> bool:
    """Whether a directive is among the words. "none" is noindex and nofollow."""
    return directive in words or UNREAD in words or (directive in ("noindex", "nofollow") and "none" in words)


def reserves(value: str) -> bool | None:
    """What a tdm-reservation says, of a header that came several times too: True where any does, None for nonsense."""
    words = set(re.split(r"[,;\s]+", value[:LONGEST].strip().lower()))
    return True if words & _YES else False if "0" in words else None


def _words(content: str) -> list[str]:
    found = [
        word
        for word in re.split(r"[,;\s]+", content[:LONGEST].lower())
        if _WORD.fullmatch(word) and word not in PERMITS
    ]
    return found + ([UNREAD] if len(content) > LONGEST else [])
