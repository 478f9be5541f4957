"""The kinds of personal data, what stands in the place of each, and what becomes of overlapping findings."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

Kind = Literal["secret", "iban", "card", "national_id", "crypto", "email", "ip", "phone", "presidio"]
"""In order of priority: of two findings of one length at one place the earlier kind stands."""

Action = Literal["mask", "drop", "detect", "off"]

KINDS: tuple[Kind, ...] = get_args(Kind)

PLACEHOLDERS: dict[str, str] = {
    "secret": "<SECRET>",
    "iban": "<IBAN>",
    "card": "<PAYMENT_CARD>",
    "national_id": "<NATIONAL_ID>",
    "crypto": "<CRYPTO_ADDRESS>",
    "email": "<EMAIL>",
    "ip": "<IP_ADDRESS>",
    "phone": "<PHONE>",
}
"""What `mask` writes. What Presidio finds is written by Presidio's own name for it: <PERSON>, <LOCATION>."""

_RANK = {kind: number for number, kind in enumerate(KINDS)}


class Span(NamedTuple):
    """A finding: text[start:end]. rule: which form of the kind it has ("PL PESEL", "github", "international")."""

    start: int
    end: int
    kind: Kind
    rule: str


def resolve(spans: Iterable[Span], text: str) -> list[Span]:
    """Those that stand, none overlapping another, in order of the text; together they cover whatever a finding covers.

    The longest stand first, then by the kind's priority, then the one further left. What lies within others is another
    reading of the same characters. Of one that reaches beyond, the part beyond stands too, if it has a letter or digit:
    as a finding of its own kind, or if the other is of the same kind as more of that.
    """
    ordered = sorted(spans, key=lambda s: (s.start - s.end, _RANK[s.kind], s.start, s.rule))
    if len(ordered) < 2:
        return ordered
    kept: list[Span] = []
    starts: list[int] = []
    for span in ordered:
        place = bisect_left(starts, span.start)
        if place and kept[place - 1].end > span.start:
            place -= 1
        end = place
        while end < len(kept) and kept[end].start < span.end:
            end += 1
        parts = _beside(span, kept[place:end], text)
        kept[place:end] = parts
        starts[place:end] = [part.start for part in parts]
    return kept


def _beside(span: Span, others: list[Span], text: str) -> list[Span]:
    """The others, which rise and all overlap the span, with the parts of it that they leave."""
    if not others:
        return [span]
    found: list[Span] = []
    at = span.start
    for other in others:
        if at < other.start and _says_something(text[at : other.start]):
            found.append(Span(at, other.start, span.kind, span.rule))
        found.append(other)
        at = other.end
    if at < span.end and _says_something(text[at : span.end]):
        found.append(Span(at, span.end, span.kind, span.rule))
    joined: list[Span] = []
    for one in found:
        if joined and joined[-1].end == one.start and joined[-1].kind == one.kind == span.kind != "presidio":
            joined[-1] = Span(joined[-1].start, one.end, one.kind, joined[-1].rule)
        else:
            joined.append(one)
    return joined


def _says_something(written: str) -> bool:
    return any(character.isalnum() for character in written)


def mask(text: str, spans: Iterable[Span]) -> str:
    """The text with each span replaced by its placeholder. spans: as `resolve` gives them."""
    parts, at = [], 0
    for span in spans:
        placeholder = PLACEHOLDERS.get(span.kind) or f"<{span.rule}>"
        parts += [text[at : span.start], placeholder]
        at = span.end
    return "".join([*parts, text[at:]])
