"""The kinds of personal data, what stands in the place of each, and which of two overlapping findings wins."""

from __future__ import annotations

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


def resolve(spans: Iterable[Span]) -> list[Span]:
    """Those that stand, none overlapping another, in order of the text: the longest first, then by the kind's
    priority, then the one further left."""
    ordered = sorted(spans, key=lambda s: (s.start - s.end, _RANK[s.kind], s.start, s.rule))
    if len(ordered) < 2:
        return ordered
    from bisect import bisect_left

    kept: list[Span] = []
    starts: list[int] = []
    for span in ordered:
        place = bisect_left(starts, span.start)
        if place < len(kept) and kept[place].start < span.end:
            continue
        if place and kept[place - 1].end > span.start:
            continue
        kept.insert(place, span)
        starts.insert(place, span.start)
    return kept


def mask(text: str, spans: Iterable[Span]) -> str:
    """The text with each span replaced by its placeholder. spans: as `resolve` gives them."""
    parts, at = [], 0
    for span in spans:
        placeholder = PLACEHOLDERS.get(span.kind) or f"<{span.rule}>"
        parts += [text[at : span.start], placeholder]
        at = span.end
    return "".join([*parts, text[at:]])
