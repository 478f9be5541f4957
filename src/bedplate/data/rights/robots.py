"""robots.txt (RFC 9309) and ai.txt: which agents may fetch which paths, and what content may be used for.

Patterns know `*` and `$`; the longest one that fits decides, and of two as long the one that allows. The first 500 KiB
of a file count, as the RFC has it, however many rules they hold. Slips that a person would understand are understood:
`Disallow /` without a colon, several agents on one line, a whole address for a path, UTF-16.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LARGEST = 500 * 1024
_LONGEST_PATTERN = 2000
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_TRAINING = re.compile(r"(?:^|[,;\s])(?:train-ai|ai-train|train-genai|genai|tdm)\s*=", re.IGNORECASE)
_REFUSED = re.compile(
    r"(?:^|[,;\s])(?:train-ai|ai-train|train-genai|genai|tdm)\s*=\s*(?:n|no|\?0)\s*(?:$|[,;\s])", re.IGNORECASE
)
_LINE = re.compile(r"[ \t]*([a-z]+(?:[- ](?:agent|usage|signal))?)[ \t]*(?::|[ \t](?=[ \t]*\S))(.*)", re.IGNORECASE)
_KEYS = {"user agent": "user-agent", "useragent": "user-agent"} | dict.fromkeys(
    ("dissallow", "dissalow", "disalow", "diasllow", "disallaw"), "disallow"
)
_MEANT = frozenset({"user-agent", "allow", "disallow", "content-usage", "content-signal"})


def lines_of(data: bytes) -> Iterator[tuple[str, str, str]]:
    """The lines of a file that mean something: (key, value, the line without comment)."""
    for line in re.split(r"\r\n|\r|\n", _text(data[:LARGEST])):
        line = line.partition("#")[0].strip()
        if (found := _LINE.match(line)) is not None:
            key = found[1].lower()
            if (key := _KEYS.get(key, key)) in _MEANT:
                yield key, found[2].strip(), line


def short_form(data: bytes) -> bytes:
    """The same rules without comments and whatever else means nothing here, in UTF-8."""
    return "\n".join(line for _, _, line in lines_of(data)).encode("utf-8", "replace")


@dataclass
class _Group:
    """{pattern: whether it allows}: `plain` those without `*` and `$`, which are found by the path's beginnings."""

    plain: dict[str, bool] = field(default_factory=dict)
    lengths: set[int] = field(default_factory=set)
    wild: dict[str, bool] = field(default_factory=dict)
    usage: list[tuple[str, str]] = field(default_factory=list)

    def add(self, pattern: str, allows: bool) -> None:
        """Of two equal patterns the one that allows counts."""
        rules = self.wild if "*" in pattern or pattern.endswith("$") else self.plain
        rules[pattern] = rules.get(pattern, False) or allows
        if rules is self.plain:
            self.lengths.add(len(pattern))

    def allows(self, path: str) -> bool:
        best, allowed = -1, True
        for length in self.lengths:
            if length > best and length <= len(path) and (said := self.plain.get(path[:length])) is not None:
                best, allowed = length, said
        for pattern, said in self.wild.items():
            if len(pattern) >= best and (len(pattern) > best or (said and not allowed)) and fits(pattern, path):
                best, allowed = len(pattern), said
        return allowed


class Robots:
    """A robots.txt file. Never fails: lines that mean nothing are passed over, and so is what follows 500 KiB."""

    def __init__(self, text: str | bytes) -> None:
        if isinstance(text, str):
            text = text.encode("utf-8", "replace")
        self._groups: dict[str, _Group] = {}
        self._read(text)

    def allowed(self, agent: str, url: str) -> bool:
        """Whether the agent (its product token: "GPTBot") may fetch the URL, or path."""
        group = self._group(agent)
        return group is None or group.allows(path_of(url))

    def forbidden(self, agents: Sequence[str], url: str) -> tuple[str, ...]:
        """Those of the agents that may not fetch the URL."""
        path = path_of(url)
        known: dict[int, bool] = {}
        for group in map(self._group, agents):
            if group is not None and id(group) not in known:
                known[id(group)] = group.allows(path)
        return tuple(agent for agent in agents if not known.get(id(self._group(agent)), True))

    def training_refused(self, agents: Sequence[str], url: str) -> bool:
        """Whether a Content-Usage or Content-Signal line of a group for one of the agents, or for all, says no to
        training (draft-ietf-aipref-attach; contentsignals.org). Of the lines that speak of training those with the
        longest path that fits decide, and of these any that refuses."""
        path = path_of(url)
        for group in [self._groups.get("*"), *(self._group(agent) for agent in agents)]:
            fitting = [(len(pattern), said) for pattern, said in (group.usage if group else ()) if fits(pattern, path)]
            longest = max((length for length, _ in fitting), default=0)
            if any(length == longest and refuses_training(said) for length, said in fitting):
                return True
        return False

    def _group(self, agent: str) -> _Group | None:
        return self._groups.get(agent.lower()) or self._groups.get("*")

    def _read(self, data: bytes) -> None:
        groups: list[_Group] = []
        naming = False
        for key, value, _ in lines_of(data):
            if key == "user-agent":
                groups = groups if naming else []
                naming = True
                groups += [self._groups.setdefault(name, _Group()) for name in _products(value)]
                continue
            naming = False
            if key in ("allow", "disallow"):
                if (pattern := _pattern(value, key == "allow")) is not None:
                    for group in groups:
                        group.add(pattern, key == "allow")
            elif _TRAINING.search(value):
                path, _, said = value.partition(" ") if value.startswith("/") else ("/", "", value)
                # Before any agent is named it is said to all.
                for group in groups or [self._groups.setdefault("*", _Group())]:
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


def _pattern(value: str, allows: bool) -> str | None:
    """A rule's path. One that is too long to be looked for allows nothing, and its beginning forbids."""
    if value.lower().startswith(("http://", "https://")):
        value = path_of(value)
    elif value and not allows and value[0] not in "/*$":
        value = f"/{value}"
    if len(value) > _LONGEST_PATTERN:
        value = "" if allows else value[:_LONGEST_PATTERN]
    return normal_path(value) if value else None


def _products(value: str) -> list[str]:
    """`GPTBot/1.0, CCBot` are gptbot and ccbot. Digits are left in, though the RFC's token has none: there is an
    AI2Bot."""
    words = (word.partition("/")[0] for word in re.split(r"[,;\s]+", value.lower()))
    return list(dict.fromkeys("*" if word.startswith("*") else word for word in words if word))


def _text(data: bytes) -> str:
    """UTF-8, or UTF-16 with a mark at its beginning or zeros between its letters."""
    for marks, name in (((b"\xff\xfe",), "utf-16-le"), ((b"\xfe\xff",), "utf-16-be")):
        if data.startswith(marks):
            return data[2:].decode(name, "replace")
    head = data[:200]
    if head.count(0) > len(head) // 3:
        return data.decode("utf-16-le" if head[1::2].count(0) >= head[::2].count(0) else "utf-16-be", "replace")
    return data.replace(b"\0", b"").decode("utf-8", "replace").removeprefix("\ufeff")
