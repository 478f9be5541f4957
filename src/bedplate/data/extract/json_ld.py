"""What a page says of itself in JSON-LD, as far as it may matter to a corpus: bounded, and broken blocks counted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree

SCRIPTS = 'script[type="application/ld+json" i]'
"""Selects the elements that hold it."""
MOST_BLOCKS = 20
LONGEST_BLOCK = 200_000
_MOST_THINGS = 50
_LONGEST_VALUE = 500
_MOST_VALUES = 10
_KEPT = (
    *("@type", "name", "headline", "description", "author", "creator", "publisher", "copyrightHolder", "license"),
    *("usageInfo", "datePublished", "dateModified", "inLanguage", "isAccessibleForFree", "keywords", "genre", "url"),
)
_NAMES = ("name", "@id", "url")


@dataclass
class JsonLd:
    """The things that a page describes, each with the few fields that are kept; how many blocks couldn't be read."""

    things: list[dict[str, Any]] = field(default_factory=list)
    invalid: int = 0

    def first(self, key: str) -> str | None:
        """The first value of that field as a string."""
        for thing in self.things:
            value = thing.get(key)
            value = value[0] if isinstance(value, list) and value else value
            if isinstance(value, str) and value:
                return value
        return None


def read_json_ld(blocks: Iterable[str]) -> JsonLd:
    """The things in the blocks (https://www.w3.org/TR/json-ld11/), lists and @graph resolved; no context is fetched."""
    found = JsonLd()
    for number, block in enumerate(blocks):
        if number >= MOST_BLOCKS or len(block) > LONGEST_BLOCK:
            found.invalid += 1
            continue
        try:
            value = json.loads(_bare(block), strict=False)
        except (ValueError, RecursionError):
            found.invalid += 1
            continue
        for thing in _things(value):
            if len(found.things) >= _MOST_THINGS:
                break
            kept = {key: short for key in _KEPT if (short := _short(thing.get(key))) not in (None, "", [])}
            if kept.keys() - {"@type"}:
                found.things.append(kept)
    return found


def json_ld_of(tree: HTMLTree) -> JsonLd:
    """What a parsed page says."""
    document = tree.document
    return JsonLd() if document is None else json_ld_in(document.query_selector_all(SCRIPTS).values())


def json_ld_in(scripts: Sequence[Any]) -> JsonLd:
    """What a page's SCRIPTS say."""
    return read_json_ld(script.text_content or "" for script in scripts[: MOST_BLOCKS + 1])


def _bare(block: str) -> str:
    """Without the comments and CDATA marks that old templates put around scripts."""
    block = block.strip()
    for start, end in (("<!--", "-->"), ("//<![CDATA[", "//]]>"), ("<![CDATA[", "]]>")):
        block = block.removeprefix(start).removesuffix(end).strip()
    return block.removesuffix(";")


def _things(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in value[:_MOST_THINGS]:
            yield from _things(item) if isinstance(item, dict) else ()
    elif isinstance(value, dict):
        yield value
        if isinstance(graph := value.get("@graph"), list | dict):
            items = graph[:_MOST_THINGS] if isinstance(graph, list) else [graph]
            yield from (item for item in items if isinstance(item, dict))


def _short(value: Any) -> Any:
    """A string, number or bool; of a thing, its name; of a list, the first few of these."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool | int | float):
        return value if abs(value) < 1e15 else None
    if isinstance(value, dict):
        return next((_text(value[key]) for key in _NAMES if isinstance(value.get(key), str)), None)
    if isinstance(value, list):
        return [
            short
            for item in value[:_MOST_VALUES]
            if not isinstance(item, list) and (short := _short(item)) not in (None, "")
        ]
    return None


def _text(value: str) -> str:
    # JSON can spell half a surrogate pair, which no file can hold.
    return " ".join(value.encode("utf-8", "replace").decode().replace("\0", "").split())[:_LONGEST_VALUE]
