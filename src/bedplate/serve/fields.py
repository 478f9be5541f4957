"""`Fields`: a request's JSON object, read field by field; what nobody has asked for is refused by name.

A field that is null counts as absent, as the OpenAI API has it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from bedplate.serve.api_error import ApiError, refused

MAX_DEPTH = 64
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_HALF = re.compile("[\ud800-\udfff]")


def parsed(body: bytes) -> Fields:
    """The fields of a request's body. Raises a 400 `ApiError` where it isn't a JSON object of harmless depth, in
    UTF-8 (RFC 8259, section 8.1)."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refused(f"the body isn't JSON: {_reason(error)}") from None
    depth = deepest = 0
    for found in _BRACKETS.finditer(text):
        if (bracket := found.group()) in ("[", "{"):
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in ("]", "}"):
            depth -= 1
    if deepest > MAX_DEPTH:
        raise refused(f"the body is JSON nested {deepest} deep, and the limit is {MAX_DEPTH}")
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise refused(f"the body isn't JSON: {_reason(error)}") from None
    if not isinstance(content, dict):
        raise refused("the body is JSON, but no object")
    if _has_surrogate(content):
        where = _surrogate(content)
        raise refused(f"{where}: has lone surrogates, which aren't Unicode text", where)
    return Fields(content)


class Fields:
    """One JSON object; `where` is how messages name it, with a dot behind."""

    def __init__(self, content: Mapping[str, Any], where: str = "") -> None:
        self._content, self._where = content, where
        self._known: set[str] = set()

    def name(self, field: str) -> str:
        """The field's name from the body's root: "stream_options.include_usage"."""
        return self._where + field

    def has(self, field: str) -> bool:
        return self._content.get(field) is not None

    def take(self, field: str) -> Any:
        """Its value, whatever it is; None where absent."""
        self._known.add(field)
        return self._content.get(field)

    def need(self, field: str) -> Any:
        """Its value. Raises where absent."""
        value = self.take(field)
        if value is None:
            raise refused(f"{self.name(field)} is missing", self.name(field), "missing_required_parameter")
        return value

    def text(self, field: str) -> str | None:
        value = self.take(field)
        if value is not None and not isinstance(value, str):
            raise self.wrong(field, value, "a string")
        return value

    def flag(self, field: str) -> bool:
        """False where absent."""
        value = self.take(field)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(field, value, "true or false")
        return bool(value)

    def whole(self, field: str, low: int, high: int) -> int | None:
        value = self.take(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(field, value, f"a whole number from {low} to {high}")
        return value

    def number(self, field: str, low: float, high: float) -> float | None:
        value = self.take(field)
        if value is None:
            return None
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not good or not low <= value <= high:
            raise self.wrong(field, value, f"a number from {low:g} to {high:g}")
        return float(value)

    def object(self, field: str) -> Fields | None:
        value = self.take(field)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(field, value, "an object")
        return Fields(value, f"{self.name(field)}.")

    def neutral(self, field: str, *harmless: Any) -> None:
        """Raises unless it is absent, or says what would happen anyway."""
        value = self.take(field)
        if value is not None and not any(
            value == h and isinstance(value, bool) == isinstance(h, bool) for h in harmless
        ):
            but = f" (but {', '.join(map(json.dumps, harmless))})" if harmless else ""
            raise refused(f"{self.name(field)} isn't supported here{but}", self.name(field), "unsupported_parameter")

    def ignore(self, field: str, kinds: tuple[type, ...]) -> None:
        """A field without a bearing on the answer: only its type is looked at."""
        value = self.take(field)
        if value is not None and not isinstance(value, kinds):
            raise self.wrong(field, value, "a string" if str in kinds else "an object")

    def close(self, hint: str = "") -> None:
        """Raises for fields that nobody took."""
        strangers = sorted(set(self._content) - self._known)
        if strangers:
            names = ", ".join(self.name(_shown(s)) for s in strangers[:5])
            plural = "unknown fields" if len(strangers) > 1 else "unknown field"
            raise refused(f"{plural}: {names}{hint}", self.name(_shown(strangers[0])), "unknown_parameter")

    def wrong(self, field: str, value: Any, wanted: str) -> ApiError:
        return refused(
            f"{self.name(field)} is {_shown(value)}, and must be {wanted}", self.name(field), "invalid_value"
        )


def one_of(fields: Fields, field: str, allowed: Collection[str], default: str) -> str:
    """A field that is one of a few words."""
    value = fields.text(field)
    if value is not None and value not in allowed:
        raise fields.wrong(field, value, f"one of {', '.join(allowed)}")
    return default if value is None else value


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno} column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} isn't UTF-8"
    return "nested too deep" if isinstance(error, RecursionError) else str(error)[:100]


def _has_surrogate(value: Any) -> bool:
    """Whether a text in it has half a character, which JSON can write."""
    if isinstance(value, str):
        return _HALF.search(value) is not None
    if isinstance(value, dict):
        return any(map(_has_surrogate, value)) or any(map(_has_surrogate, value.values()))
    return isinstance(value, list) and any(map(_has_surrogate, value))


def _surrogate(value: Any, where: str = "") -> str:
    """The path from the root to the first text that has one."""
    if isinstance(value, dict) and not any(map(_has_surrogate, value)):
        key = next(key for key, inner in value.items() if _has_surrogate(inner))
        return _surrogate(value[key], f"{where}.{_shown(key)}" if where else _shown(key))
    if isinstance(value, list):
        index = next(i for i, inner in enumerate(value) if _has_surrogate(inner))
        return _surrogate(value[index], f"{where}[{index}]")
    return where or "the body"
