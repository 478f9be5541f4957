"""robots.txt (RFC 9309) and ai.txt: which agents may fetch which paths, and what content may be used for.

Patterns know `*` and `$`; the longest one that fits decides, and of two as long the one that allows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LARGEST = 500 * 1024
_MOST_RULES = 10_000
_LONGEST_PATTERN = 2000
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_REFUSED = re.compile(
    r"(?:^|[,\s])(?:train-ai|ai-train|train-genai|genai|tdm)\s*=\s*(?:n|no|\?0)\s*(?:$|[,;])", re.IGNORECASE
)


@dataclass
class _Group:
    """`rules`: (pattern, whether it allows)."""

    rules: list[tuple[str, bool]] = field(default_factory=list)
    usage: list[tuple[str, str]] = field(default_factory=list)


class Robots:
    """A robots.txt file. Never fails: lines that mean nothing are passed over, and so is what follows 500 KiB."""

    def __init__(self, text: str | bytes) -> None:
        if isinstance(text, str):
            text = text.encode("utf-8", "replace")
        self._groups: dict[str, _Group] = {}
        self._read(text[:LARGEST].decode("utf-8", "replace").removeprefix("\ufeff"))

    def allowed(self, agent: str, url: str) -> bool:
        """Whether the agent (its product token: "GPTBot") may fetch the URL, or path."""
        group = self._group(agent)
        return group is None or _allows(group.rules, path_of(url))

    def forbidden(self, agents: Sequence[str], url: str) -> tuple[str, ...]:
        """Those of the agents that may not fetch the URL."""
        return tuple(agent for agent in agents if not self.allowed(agent, url))

    def training_refused(self, agents: Sequence[str], url: str) -> bool:
        """Whether a Content-Usage or Content-Signal line of a group for one of the agents, or for all, says no to
        training (draft-ietf-aipref-attach; contentsignals.org). The longest path that fits decides."""
        path = path_of(url)
        for group in [self._groups.get("*"), *(self._group(agent) for agent in agents)]:
            fitting = [(len(pattern), said) for pattern, said in (group.usage if group else ()) if fits(pattern, path)]
            if fitting and refuses_training(max(fitting)[1]):
                return True
        return False

    def _group(self, agent: str) -> _Group | None:
        return self._groups.get(agent.lower()) or self._groups.get("*")

    def _read(self, text: str) -> None:
        groups: list[_Group] = []
        naming = False
        rules = 0
        for line in re.split(r"\r\n|\r|\n", text):
            key, colon, value = line.partition("#")[0].partition(":")
            key, value = key.strip().lower(), value.strip()
            if not colon:
                continue
            if key == "user-agent":
                groups = groups if naming else []
                naming = True
                groups.append(self._groups.setdefault(_product(value), _Group()))
            elif key in ("allow", "disallow"):
                naming = False
                if value and rules < _MOST_RULES and len(value) <= _LONGEST_PATTERN:
                    rules += 1
                    for group in groups:
                        group.rules.append((normal_path(value), key == "allow"))
            elif key in ("content-usage", "content-signal"):
                naming = False
                path, _, said = value.partition(" ") if value.startswith("/") else ("/", "", value)
                for group in groups:
                    group.usage.append((normal_path(path), said))


def refuses_training(usage: str | None) -> bool:
    """Whether a Content-Usage value says no to training: `train-ai=n`."""
    return usage is not None and _REFUSED.search(usage) is not None


def path_of(url: str) -> str:
    """Path and query of a URL, normalised. A bare path is its own."""
    try:
        parts = urlsplit(url) if not url.startswith("/") else None
    except ValueError:
        return "/"
    path = url.partition("#")[0] if parts is None else (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return normal_path(path)


def normal_path(path: str) -> str:
    """With everything but ASCII escaped, escapes of plain letters undone, and the others in upper case."""
    path = "".join(c if " " < c < "\x7f" else "".join(f"%{b:02X}" for b in c.encode("utf-8", "replace")) for c in path)

    def plain(found: re.Match[str]) -> str:
        byte = int(found[1], 16)
        return chr(byte) if byte in _UNRESERVED else f"%{byte:02X}"

    return _ESCAPE.sub(plain, path)


def fits(pattern: str, path: str) -> bool:
    """Whether a path begins as the pattern says: `*` is any characters, a `$` at the end is the path's end."""
    anchored = pattern.endswith("$")
    first, *others = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    if not others:
        return not anchored or at == len(path)
    if anchored:
        last = others.pop()
        if len(path) - len(last) < at or not path.endswith(last):
            return False
        path = path[: len(path) - len(last)]
    for part in others:
        found = path.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _allows(rules: Sequence[tuple[str, bool]], path: str) -> bool:
    best, allowed = -1, True
    for pattern, allows in rules:
        if len(pattern) >= best and (len(pattern) > best or (allows and not allowed)) and fits(pattern, path):
            best, allowed = len(pattern), allows
    return allowed


def _product(value: str) -> str:
    """`GPTBot/1.0` is gptbot. Digits are left in, though the RFC's token has none: there is an AI2Bot."""
    words = value.lower().partition("/")[0].split()
    return "" if not words else "*" if words[0].startswith("*") else words[0]
