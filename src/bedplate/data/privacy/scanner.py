"""All rules over one text: cheap tests first, so that clean text is passed over quickly; each takes linear time."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from bedplate.data.privacy.addresses import crypto, emails, ips
from bedplate.data.privacy.config import COUNTRIES
from bedplate.data.privacy.kinds import KINDS, Span, resolve
from bedplate.data.privacy.national import NationalFinder
from bedplate.data.privacy.numbers import cards, ibans
from bedplate.data.privacy.phones import phones
from bedplate.data.privacy.secrets import secrets

_RUN = re.compile(r"[A-Z0-9](?:[ .()/\-+\u00a0\u2011]{0,3}[A-Z0-9]){6,}")
"""A row of capitals and digits with little between them: no IBAN, card, telephone or national number is elsewhere."""
_DIGIT = re.compile(r"[0-9]")
_LEAST_DIGITS = 6
_MARGIN = 3
"""Characters around a row that a rule may look at: the + or ( before, what may not follow."""


class Scanner:
    """Finds personal data by our own rules. kinds: which; countries: whose national numbers; private: whether IP
    addresses of private ranges count."""

    def __init__(
        self, kinds: Collection[str] = KINDS, countries: Sequence[str] = COUNTRIES, *, private: bool = False
    ) -> None:
        self._kinds, self._private = frozenset(kinds), private
        self._national = NationalFinder(countries)

    def find(self, text: str) -> list[Span]:
        """What there is, none overlapping another (`resolve`), in order of the text."""
        return resolve(self._all(text), text)

    def _all(self, text: str) -> Iterator[Span]:
        wanted = self._kinds
        if "email" in wanted:
            yield from emails(text)
        if "ip" in wanted:
            yield from ips(text, self._private)
        if "secret" in wanted:
            yield from secrets(text)
        if "crypto" in wanted:
            yield from crypto(text)
        if wanted & {"iban", "card", "national_id", "phone"}:
            for found in _RUN.finditer(text):
                digits = _DIGIT.findall(found.group())
                if len(digits) >= _LEAST_DIGITS:
                    yield from self._numbers(text, max(0, found.start() - _MARGIN), found.end() + _MARGIN, len(digits))

    def _numbers(self, text: str, start: int, end: int, digits: int) -> Iterator[Span]:
        wanted = self._kinds
        if "iban" in wanted and digits >= 8:
            yield from ibans(text, start, end)
        if "card" in wanted and digits >= 13:
            yield from cards(text, start, end)
        if "national_id" in wanted:
            yield from self._national.find(text, start, end)
        if "phone" in wanted and digits >= 7:
            yield from phones(text, start, end)
