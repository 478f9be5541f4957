"""What `data why` and `data remove` found out, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bedplate.console.figures import bytes_text, counted

_NAMES = {
    "source": "source", "url": "URL", "date": "fetched", "title": "title", "license": "licence", "offset": "offset",
    "record_sha256": "record hash", "language": "language", "group": "group",
}  # fmt: skip
_WIDTH = 100
_STEPS = 12


def told(story: Mapping[str, Any]) -> str:
    """A document's story for people."""
    return "\n".join(_lines(story))


def listed(stories: Sequence[Mapping[str, Any]]) -> str:
    """Several documents, a line each."""
    lines = [f"{counted(len(stories), 'document')} of this name:"]
    for story in stories:
        fate = "kept" if story["kept"] else f"{story['ended']['status']}: {story['ended']['reason']}"
        lines.append(f"  {story['id'] or '(no text)':<24}  {fate:<30}  {story['from'].get('source', '')}")
    return "\n".join(lines)


def users_told(users: Iterable[Mapping[str, Any]]) -> list[str]:
    """Artefacts that were made from another, a line each, nearest first."""
    return [f"  {user['steps']}  {user['kind']:<10} {user['path']}  {user['digest'][:12]}" for user in users]


def _lines(story: Mapping[str, Any]) -> Iterator[str]:
    ended = story["ended"]
    fate = "kept" if story["kept"] else f"{ended['status']} by {ended['stage']}: {ended['reason']}"
    yield f"{story['id'] or story['from'].get('source')}: {fate}"
    yield ""
    yield "where it is from"
    yield from _origin(story["from"])
    yield f"  {'sha256':<14} {story['sha256'] or 'none: it never had a text'}, {bytes_text(story['bytes'])}"
    said = story["said"]
    yield ""
    yield "what each stage said"
    if not said:
        yield "  nothing: it didn't get so far"
    for stage, facts in said.items():
        yield from _rules(facts) if stage == "filters" else _facts(stage, facts)
    yield ""
    yield "where it ended"
    yield from _ended(story)
    if "used" in story:
        yield ""
        yield "what it went into"
        yield from _used(story["used"], story)


def _origin(origin: Mapping[str, Any]) -> Iterator[str]:
    for name, word in _NAMES.items():
        if name in origin:
            evidence = (
                f" (by {origin['license_evidence']})" if name == "license" and "license_evidence" in origin else ""
            )
            yield f"  {word:<14} {_short(origin[name])}{evidence}"
    if "declared_license" in origin and origin["declared_license"] != origin.get("license"):
        yield f"  {'declared':<14} {origin['declared_license']}, for all of source {origin.get('label')}"
    if "synthetic" in origin:
        yield f"  {'synthetic':<14} {_short(origin['synthetic'])}"
    for name, value in origin["highlights"].items():
        yield f"  {name:<14} {_short(value)}"


def _rules(judgements: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "  filters"
    for one in judgements:
        mark = {"passed": "ok", "failed": "FAILS"}.get(one["verdict"], one["verdict"])
        yield f"    {one['rule']:<36} {_number(one['value']):<12} {one['bound']:<36} {mark}"


def _facts(stage: str, facts: Mapping[str, Any]) -> Iterator[str]:
    if stage == "privacy":
        facts = {name.removeprefix("personal_"): count for name, count in facts.items() if count}
        facts = facts or {"personal data": "none found"}
    yield f"  {stage:<14} " + ", ".join(f"{name} {_number(value)}" for name, value in facts.items())


def _ended(story: Mapping[str, Any]) -> Iterator[str]:
    ended = story["ended"]
    if story["kept"]:
        yield f"  row {ended['row']} of {ended['file']}, split {ended['split']}"
        if story["copies"]:
            yield f"  {counted(len(story['copies']), 'copy').replace('copys', 'copies')} left out in its favour:"
            yield from (f"    {copy['source']} ({copy['stage']}: {copy['reason']})" for copy in story["copies"])
        return
    yield f"  {ended['status']} by {ended['stage']}: {ended['reason']}" + (
        f": {ended['detail']}" if ended["detail"] else ""
    )
    if ended["other"]:
        yield f"  a copy of {ended['other']}"
    yield f"  row {ended['row']} of {ended['file']}"


def _used(used: Mapping[str, Any], story: Mapping[str, Any]) -> Iterator[str]:
    if not any(used.values()):
        yield "  nothing that is known of"
    for tokens in used["tokens"]:
        yield f"  tokens  {tokens['path']}" + (f"  ({tokens['note']})" if "note" in tokens else "")
        for place in tokens["places"]:
            times = f", {place['copies']} times an epoch" if place["copies"] > 1 else ""
            yield f"    {place['shard']}: tokens {place['start']:,} to {place['end']:,}, split {place['split']}{times}"
    for run in used["runs"]:
        yield f"  run     {run['path']}"
        yield f"    {_seen(run, story)}"
    for other in used["others"]:
        yield f"  {other['kind']:<7} {other['path']}"


def _seen(run: Mapping[str, Any], story: Mapping[str, Any]) -> str:
    if "note" in run:
        return str(run["note"])
    if not run["count"]:
        why = " (set aside for validation)" if story["ended"].get("split") == "validation" else ""
        return f"seen in none of its {run['of']:,} steps{why}"
    shown = ", ".join(f"{step:,}" for step in run["steps"][:_STEPS])
    more = f" and {run['count'] - _STEPS:,} more" if run["count"] > _STEPS else ""
    return f"seen in {counted(run['count'], 'step')} of {run['of']:,}: {shown}{more}"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else _short(value)


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
