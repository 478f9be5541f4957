"""What a Markdown file says of itself at its top: YAML between lines of ---, or TOML between lines of +++."""

from __future__ import annotations

import datetime
import math
import re
import tomllib
from typing import Any

import yaml

_YAML = re.compile(r"---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_TOML = re.compile(r"\+\+\+[ \t]*\r?\n(.*?)^\+\+\+[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_LONGEST = 1 << 16
_DEEPEST = 20


class _Loader(yaml.SafeLoader):
    """Refuses aliases, by which a small file may come to a huge one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """(fields, the text below them). No fields where there is nothing of the kind, or what there is can't be read."""
    found = _YAML.match(text[:_LONGEST])
    parse: Any = _yaml
    if found is None:
        found, parse = _TOML.match(text[:_LONGEST]), tomllib.loads
    if found is None:
        return {}, text
    try:
        fields = parse(found[1])
        if isinstance(fields, dict):
            return {str(key): _json(value, _DEEPEST) for key, value in fields.items()}, text[found.end() :]
    except (yaml.YAMLError, tomllib.TOMLDecodeError, ValueError, RecursionError, OverflowError):
        pass
    return {}, text  # a rule and a paragraph look like that too


def _yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def _json(value: Any, depth: int) -> Any:
    """The value in what JSON has. Raises ValueError where it is nested too deeply."""
    if depth == 0:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        return {str(key): _json(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item, depth - 1) for item in value]
    if isinstance(value, set):
        return sorted(str(item) for item in value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)
