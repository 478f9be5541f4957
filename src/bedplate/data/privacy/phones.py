"""Telephone numbers: with a country code, in the punctuation of a country, or after a word that announces one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bedplate.data.privacy.kinds import Span
from bedplate.data.privacy.nearby import named

_TWO = frozenset({
    "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48", "49", "51",
    "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65", "66", "81", "82", "84", "86", "90",
    "91", "92", "93", "94", "95", "98",
})  # fmt: skip
_THREE_FIRST = ("21", "22", "23", "24", "25", "26", "29", "35", "37", "38", "42", "50", "59", "67", "68", "69", "80",
                "85", "87", "88", "96", "97", "99")  # fmt: skip
"""Country codes of E.164 (ITU-T, list of assigned codes); those of three digits by their first two."""

_GAP = r"[ .\-/()\u00a0\u2011]"
_BEFORE = r"(?<![A-Za-z0-9_+])(?<![0-9][ .,\-/:)])"
_AFTER = r"(?![A-Za-z0-9_]|[.,\-/:][0-9])"

_INTERNATIONAL = re.compile(rf"(?<![A-Za-z0-9_+)\]])(?:\+|00 ?)\(?[1-9](?:{_GAP}{{0,3}}[0-9]){{6,13}}[0-9]{_AFTER}")

_NATIONAL: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(_BEFORE + form + _AFTER))
    for name, form in (
        # North American Numbering Plan (NANPA): area and exchange begin with 2 to 9.
        ("north american", r"(?:1[ .\-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}([.\-]))"
         r"[2-9][0-9]{2}(?(1)\1|[ .\-])[0-9]{4}"),
        # Ofcom, National Telephone Numbering Plan.
        ("united kingdom", r"(?:\(0(?:[1-3][0-9]{2,4})\) ?|0[1-3][0-9]{2,4} |07[0-9]{3} |02[0-9] )"
         r"[0-9]{3,4} ?[0-9]{3,4}"),
        # Arcep, plan national de numérotation.
        ("france", r"0[1-9]([ .\-])[0-9]{2}\1[0-9]{2}\1[0-9]{2}\1[0-9]{2}"),
        # Anatel, plano geral de numeração.
        ("brazil", r"\([1-9]{2}\) ?9?[0-9]{4}-[0-9]{4}"),
        # MIC, Japan, telephone numbering plan.
        ("japan", r"0(?:[1-9]-[0-9]{4}|[1-9][0-9]-[0-9]{3,4}|[1-9][0-9]{2}-[0-9]{2,3})-[0-9]{4}"),
        # ACMA, numbering plan.
        ("australia", r"(?:04[0-9]{2} [0-9]{3} [0-9]{3}|\(0[2378]\) ?[0-9]{4} ?[0-9]{4})"),
        # ACM, nummerplan.
        ("netherlands", r"06-[0-9]{8}"),
    )
)  # fmt: skip

_ANNOUNCED = re.compile(rf"{_BEFORE}\(?[0-9](?:{_GAP}{{0,3}}[0-9]){{6,13}}{_AFTER}")
_WORDS = (
    r"tel(?:ephone|efon|éfono|efono|éphone|f)?\.?", r"phones?(?:\s+(?:number|no\.?))?", "call(?:ed|ing)?", "cell",
    "mobile", "fax", "whatsapp", "sms", "dial", "hotline", "mobil", "handy", "móvil", "celular", "telefone",
    "telefoon", "telefono", "cellulare", "text me",
)  # fmt: skip
_REACH = 20

_OTHER_NUMBER = (
    "isbn", "issn", "doi", "ean", "upc", "serial", "order", "invoice", "rfc", "id", "account", "pmid", "lccn", "oclc",
)  # fmt: skip
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[ .\-/][0-9]{1,2}[ .\-/][0-9]{1,2}|[0-9]{1,2}[.\-/][0-9]{1,2}[.\-/](?:19|20)[0-9]{2}"
    r"|(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:[0-9]{4}(?:[0-9]{2})?)?$"
)
_DOTTED = re.compile(r"\(?[0-9]{1,3}(?:\.[0-9]{1,3}){3}$")
_ISBN_START = re.compile(r"97[89][ \-]?[0-9]")


def phones(text: str, start: int, end: int) -> Iterator[Span]:
    """Telephone numbers in text[start:end]. ISBNs, dates and numbers that another word announces don't count."""
    for found in _INTERNATIONAL.finditer(text, start, end):
        written = found.group()
        # 00 is also how zeros begin: it needs the punctuation of a telephone number.
        if (written[0] == "+" or " " in written or "-" in written) and _assigned(_digits(written)):
            yield _span(found, "international")
    for name, form in _NATIONAL:
        for found in form.finditer(text, start, end):
            count = len(_digits(found.group()))
            if name == "united kingdom" and count not in (10, 11):
                continue
            if not _announced_otherwise(text, found):
                yield _span(found, name)
    for found in _ANNOUNCED.finditer(text, start, end):
        if named(text, found.start(), _WORDS, _REACH) and not _announced_otherwise(text, found):
            yield _span(found, "announced")


def _assigned(digits: str) -> bool:
    """Whether the digits, without + or 00, begin with an assigned country code and have a possible length."""
    if digits.startswith("00"):
        digits = digits[2:]
    if not 8 <= len(digits) <= 15:
        return False
    if digits[0] == "1":
        return len(digits) == 11 and digits[1] in "23456789" and digits[4] in "23456789"
    if digits[0] == "7":
        return len(digits) == 11
    return digits[:2] in _TWO or digits[:2] in _THREE_FIRST


def _announced_otherwise(text: str, found: re.Match[str]) -> bool:
    written = found.group()
    return (
        _DATE.match(written) is not None
        or _DOTTED.match(written) is not None
        or _ISBN_START.match(written) is not None
        or (named(text, found.start(), _OTHER_NUMBER, _REACH) and not named(text, found.start(), _WORDS, _REACH))
    )


def _digits(written: str) -> str:
    return "".join(c for c in written if c in "0123456789")


def _span(found: re.Match[str], rule: str) -> Span:
    opened = found.group().startswith("(") and ")" not in found.group()  # of a remark around the number
    return Span(found.start() + opened, found.end(), "phone", rule)
