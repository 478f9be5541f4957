"""National numbers of persons: a table of their forms, checks and sources.

A form with punctuation of its own or with two check digits stands alone; a bare row of digits with one check digit fits
every tenth number, so that it counts only where a word before it says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bedplate.data.privacy import national_checks as check
from bedplate.data.privacy.kinds import Span
from bedplate.data.privacy.nearby import named

_BEFORE = r"(?<![A-Za-z0-9_])(?<![0-9][.,\-/])"
_AFTER = r"(?![A-Za-z0-9_]|[.,\-/][0-9])"
_GAPS = re.compile(r"[ .\-/+\u00a0]")


@dataclass(frozen=True)
class NationalNumber:
    """form: a regular expression of it as it is written; words: one of them must stand before it (none: needn't)."""

    country: str
    name: str
    form: str
    fits: Callable[[str], bool]
    source: str
    words: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        return f"{self.country} {self.name}"


NATIONAL_NUMBERS: tuple[NationalNumber, ...] = (
    NationalNumber("US", "SSN", r"[0-9]{3}-[0-9]{2}-[0-9]{4}", check.united_states, "SSA, POMS RM 10201.035"),
    NationalNumber(
        "US", "SSN", r"[0-9]{3} ?[0-9]{2} ?[0-9]{4}", check.united_states, "SSA, POMS RM 10201.035",
        ("ssn", r"social\s+security(?:\s+(?:number|no\.?|#))?"),
    ),
    NationalNumber(
        "GB", "NINO", r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?: ?[0-9]{2}){3} ?[A-D]", check.united_kingdom,
        "HMRC, NIM39110",
    ),
    NationalNumber("ES", "DNI", r"[0-9]{8}-?[A-Z]", check.spain, "Ministerio del Interior, DNI: letra de control"),
    NationalNumber("ES", "NIE", r"[XYZ]-?[0-9]{7}-?[A-Z]", check.spain, "Orden INT/2058/2008"),
    NationalNumber(
        "IT", "codice fiscale",
        r"[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]", check.italy, "D.M. 23/12/1976",
    ),
    NationalNumber("DE", "Steuer-ID", r"[0-9]{2} [0-9]{3} [0-9]{3} [0-9]{3}", check.germany, "BZSt, IdNr: Aufbau"),
    NationalNumber(
        "DE", "Steuer-ID", r"[0-9]{11}", check.germany, "BZSt, IdNr: Aufbau",
        (r"steuer\W?id(?:entifikationsnummer|nr)?", r"steuer(?:liche)?\W?identifikationsnummer", r"id\W?nr", "tin"),
    ),
    NationalNumber(
        "FR", "NIR", r"[1-478]( ?)[0-9]{2}\1[0-9]{2}\1(?:[0-9]{2}|2[AB])\1[0-9]{3}\1[0-9]{3} ?[0-9]{2}",
        check.france, "INSEE, Code de la sécurité sociale R161-1",
    ),
    NationalNumber(
        "NL", "BSN", r"[0-9]{9}|[0-9]{4}[. ][0-9]{2}[. ][0-9]{3}", check.netherlands, "RvIG, logisch ontwerp BSN",
        ("bsn", "burgerservicenummer", "sofinummer", r"citizen\s+service\s+number"),
    ),
    NationalNumber("PL", "PESEL", r"[0-9]{11}", check.poland, "Dz.U. 2010 nr 217 poz. 1427", ("pesel(?:u|em)?",)),
    NationalNumber("BR", "CPF", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", check.brazil, "Receita Federal, IN RFB 1548"),
    NationalNumber("BR", "CPF", r"[0-9]{11}", check.brazil, "Receita Federal, IN 1548/2015", ("cpf",)),
    NationalNumber("IN", "Aadhaar", r"[0-9]{4}([ \-])[0-9]{4}\1[0-9]{4}", check.india, "UIDAI, numbering scheme"),
    NationalNumber("IN", "Aadhaar", r"[0-9]{12}", check.india, "UIDAI, numbering scheme", ("aadhaa?r", "uidai", "uid")),
    NationalNumber("CN", "resident identity", r"[1-9][0-9]{16}[0-9Xx]", check.china, "GB 11643-1999"),
    NationalNumber("SE", "personnummer", r"[0-9]{6}[\-+][0-9]{4}", check.sweden, "Skatteverket, SKV 704"),
    NationalNumber(
        "SE", "personnummer", r"[0-9]{6}[0-9]{4}", check.sweden, "Skatteverket, SKV 704", ("person(?:nummer|nr)",)
    ),
    NationalNumber(
        "FI", "henkilötunnus", r"[0-9]{6}[\-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]", check.finland, "DVV, henkilötunnus"
    ),
    NationalNumber(
        "BE", "national register", r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", check.belgium,
        "KB/AR 3 April 1984",
    ),
    NationalNumber(
        "BE", "national register", r"[0-9]{11}", check.belgium, "KB/AR 3 April 1984",
        ("rijksregisternummer", r"registre\s+national", "insz", "niss"),
    ),
    NationalNumber(
        "CA", "SIN", r"[0-9]{3}([ \-]?)[0-9]{3}\1[0-9]{3}", check.canada, "ESDC, SIN code of practice",
        ("sin", r"social\s+insurance(?:\s+(?:number|no\.?|#))?", "nas"),
    ),
    NationalNumber(
        "AU", "TFN", r"[0-9]{3}([ \-]?)[0-9]{3}\1[0-9]{3}", check.australia, "ATO, TFN algorithm",
        ("tfn", r"tax\s+file(?:\s+(?:number|no\.?|#))?"),
    ),
    NationalNumber("ZA", "identity", r"[0-9]{13}", check.south_africa, "Identification Act 68 of 1997"),
    NationalNumber("KR", "RRN", r"[0-9]{6}-[1-8][0-9]{6}", check.korea, "Resident Registration Act, rule 2"),
    NationalNumber(
        "MX", "CURP", r"[A-Z][AEIOUX][A-Z]{2}[0-9]{6}[HMX][A-Z]{5}[A-Z0-9][0-9]", check.mexico,
        "RENAPO, Instructivo normativo CURP",
    ),
    NationalNumber("NO", "fødselsnummer", r"[0-9]{6} ?[0-9]{5}", check.norway, "Skatteetaten, fødselsnummer"),
    NationalNumber(
        "TR", "kimlik", r"[1-9][0-9]{10}", check.turkey, "NVI, T.C. kimlik numarası",
        ("tckn", r"t\.?c\.?", r"kimlik(?:\s+(?:no|numarası|numarasi)\.?)?"),
    ),
    NationalNumber("CL", "RUT", r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]", check.chile, "SII, RUT: dígito verificador"),
    NationalNumber("CH", "AHV", r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", check.switzerland, "ZAS/CdC, AHVN13 (EAN-13)"),
    NationalNumber(
        "IE", "PPSN", r"[0-9]{7}[A-W][A-IW]?", check.ireland, "Revenue, PPSN check character",
        (r"ppsn?(?:\s+(?:number|no\.?))?", r"personal\s+public\s+service(?:\s+number)?"),
    ),
)  # fmt: skip


class NationalFinder:
    """Finds the numbers of some countries."""

    def __init__(self, countries: Sequence[str]) -> None:
        rules = [number for number in NATIONAL_NUMBERS if number.country in countries]
        self._rules = [(number, re.compile(f"{_BEFORE}(?:{number.form}){_AFTER}")) for number in rules]

    def find(self, text: str, start: int, end: int) -> Iterator[Span]:
        """Those in text[start:end]. Time grows with its length: every form has a greatest length."""
        for number, form in self._rules:
            for found in form.finditer(text, start, end):
                if number.words and not named(text, found.start(), number.words):
                    continue
                if number.fits(_GAPS.sub("", found.group()).upper()):
                    yield Span(found.start(), found.end(), "national_id", number.rule)
