"""In what two requests for one folder differ: the lines of an error, or of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bedplate.config import Config
from bedplate.ledger.manifest import Input, Manifest
from bedplate.ledger.stage import Stage


def difference(there: Manifest, stage: Stage, config: Config, inputs: Sequence[Input]) -> list[str]:
    """What is asked for now against what `there` was made from, a line each: "steps: 300 there, 400 asked for". Empty
    where they are the same."""
    lines: list[str] = []
    if there.stage != stage.name:
        return [f"made by {there.stage}, and {stage.name} is asked for"]
    if there.stage_version != stage.version:
        lines.append(f"made by version {there.stage_version} of {stage.name}; now it is version {stage.version}")
    old, new = dict(_leaves(there.semantic)), dict(_leaves(config.semantic()))
    for name in [*new, *(name for name in old if name not in new)]:
        if old.get(name, _ABSENT) != new.get(name, _ABSENT):
            lines.append(f"{name}: {_shown(old, name)} there, {_shown(new, name)} asked for")
    lines += _inputs(there.inputs, inputs)
    return lines


class _Absent:
    """No such field."""


_ABSENT = _Absent()


def _shown(values: dict[str, object], name: str) -> str:
    text = repr(values[name]) if name in values else "nothing"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _leaves(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{prefix}.{index}")
    else:
        yield prefix, value


def _inputs(old: Sequence[Input], new: Sequence[Input]) -> Iterator[str]:
    roles = dict.fromkeys(item.role for item in (*new, *old))
    for role in roles:
        before = [item for item in old if item.role == role]
        after = [item for item in new if item.role == role]
        if [item.digest for item in before] == [item.digest for item in after]:
            continue
        if len(before) != len(after):
            yield f"input {role}: {len(before)} there, {len(after)} asked for"
        for one, other in zip(before, after, strict=False):
            if one.digest != other.digest:
                yield f"input {role} ({other.name}): {one.digest[:12]} there, {other.digest[:12]} now"
