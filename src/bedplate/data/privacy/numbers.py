"""IBANs and payment cards: written in one piece or in the usual groups, of a known length, with a right check digit."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bedplate.data.privacy.checksums import luhn, mod97
from bedplate.data.privacy.kinds import Span

IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip
"""Characters of an IBAN by country: the SWIFT IBAN registry (ISO 13616)."""

_IBAN = re.compile(r"[A-Z](?<![A-Za-z0-9].)[A-Z][0-9]{2}(?:[ \-\u00a0]?[A-Z0-9]){11,29}")
_GAP = re.compile(r"[ .\-\u00a0]")
_GROUPED = re.compile(r"[A-Z0-9]{15,34}|[A-Z0-9]{4}([ \-\u00a0])(?:[A-Z0-9]{4}\1)*[A-Z0-9]{1,4}")

_CARD = re.compile(
    r"(?<![A-Za-z0-9_])(?<![0-9][.,\-/])(?:[0-9]{13,19}"
    r"|[0-9]{4}([ \-\u00a0])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3})?"
    r"|[0-9]{4}([ \-\u00a0])[0-9]{6}\2[0-9]{4,5})(?![A-Za-z0-9_]|[.,\-/][0-9])"
)

ISSUERS: tuple[tuple[str, int, int, frozenset[int]], ...] = (
    ("visa", 4, 4, frozenset({16, 19})),
    ("mastercard", 51, 55, frozenset({16})),
    ("mastercard", 2221, 2720, frozenset({16})),
    ("american express", 34, 34, frozenset({15})),
    ("american express", 37, 37, frozenset({15})),
    ("discover", 6011, 6011, frozenset(range(16, 20))),
    ("discover", 644, 659, frozenset(range(16, 20))),
    ("jcb", 3528, 3589, frozenset(range(16, 20))),
    ("diners club", 300, 305, frozenset({14, 16})),
    ("diners club", 36, 36, frozenset({14})),
    ("diners club", 38, 39, frozenset({14, 16})),
    ("unionpay", 62, 62, frozenset(range(16, 20))),
    ("maestro", 5018, 5018, frozenset(range(13, 20))),
    ("maestro", 5020, 5020, frozenset(range(13, 20))),
    ("maestro", 5038, 5038, frozenset(range(13, 20))),
    ("maestro", 6304, 6304, frozenset(range(13, 20))),
    ("maestro", 6759, 6763, frozenset(range(13, 20))),
)
"""Issuer, first and last prefix, lengths: the issuers' published ranges (ISO/IEC 7812)."""


def ibans(text: str, start: int, end: int) -> Iterator[Span]:
    """IBANs that begin in text[start:end]: of the country's length, with the check digits of ISO 13616."""
    at = start
    while (found := _IBAN.search(text, at, end)) is not None:
        at = found.start() + 1
        length = IBAN_LENGTHS.get(found.group()[:2])
        last = None if length is None else _nth_character(found.group(), length)
        if last is None:
            continue
        stop = found.start() + last
        if stop < len(text) and text[stop].isalnum():
            continue
        written = text[found.start() : stop]
        compact = _GAP.sub("", written)
        if _GROUPED.fullmatch(written) and mod97(compact):
            yield Span(found.start(), stop, "iban", compact[:2])
            at = stop


def _nth_character(written: str, count: int) -> int | None:
    """Where the count-th character that isn't a gap ends; None where there are fewer."""
    for place, character in enumerate(written, 1):
        count -= character not in " -\u00a0"
        if not count:
            return place
    return None


def cards(text: str, start: int, end: int) -> Iterator[Span]:
    """Card numbers in text[start:end]: of an issuer's prefix and length, with the check digit of ISO/IEC 7812."""
    for found in _CARD.finditer(text, start, end):
        digits = _GAP.sub("", found.group())
        issuer = card_issuer(digits)
        if issuer is not None and luhn(digits) and len(set(digits)) > 1:
            yield Span(found.start(), found.end(), "card", issuer)


def card_issuer(digits: str) -> str | None:
    """Whose prefix and length the number has."""
    for issuer, first, last, lengths in ISSUERS:
        if len(digits) in lengths and first <= int(digits[: len(str(first))]) <= last:
            return issuer
    return None
