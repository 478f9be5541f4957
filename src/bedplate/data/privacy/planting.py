"""Personal data of nobody, for measuring what is found: every kind drawn at random and set into real text, beside
decoys of the same look (ISBNs, dates, versions, hashes, constants)."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bedplate.config.randomness import fold_in
from bedplate.data.privacy.checksums import luhn, mod97
from bedplate.data.privacy.kinds import Kind
from bedplate.data.privacy.national import _GAPS, NATIONAL_NUMBERS
from bedplate.data.privacy.numbers import IBAN_LENGTHS

Draw = Callable[[random.Random], str]
"""Gives an item; with "before|item" or "before|item|after" where something else must stand around it."""

_D, _U, _A = string.digits, string.ascii_uppercase, string.ascii_letters + string.digits


def _some(r: random.Random, alphabet: str, count: int) -> str:
    return "".join(r.choice(alphabet) for _ in range(count))


def _filled(r: random.Random, form: str) -> str:
    """# a digit, N one of 2 to 9, ? a capital, * a letter or digit."""
    signs = {"#": _D, "N": "23456789", "?": _U, "*": _A}
    return "".join(r.choice(signs[c]) if c in signs else c for c in form)


_NAMES = ("maria.lopez", "j_smith", "tim+news", "k.o'brien", "anna-lena.mueller", "x99", "wei.zhang", "info.desk", "b")
_HOSTS = (
    "gmail.com",
    "mail.uni-bonn.de",
    "acme-tools.co.uk",
    "proton.me",
    "sub.dept.example-corp.io",
    "orange.fr",
    "qq.com",
)


def _email(r: random.Random) -> str:
    return f"{r.choice(_NAMES)}{r.choice(('', str(r.randrange(100))))}@{r.choice(_HOSTS)}"


_PHONES = (
    "+1 (N##) N##-####", "+1-N##-N##-####", "(N##) N##-####", "N##-N##-####", "N##.N##.####", "+44 20 7### ####",
    "+44 (0)1## ### ####", "020 7### ####", "07### ######", "01N#N ######", "+49 30 #######", "+49 (0)40 ### ##-###",
    "+33 6 ## ## ## ##", "06 ## ## ## ##", "01.##.##.##.##", "+91 9#### #####", "+86 138 #### ####", "+81 3-####-####",
    "03-####-####", "+55 11 9####-####", "(NN) 9####-####", "+61 4## ### ###", "04## ### ###", "06-########",
    "+351 91# ### ###",
    "+7 9## ###-##-##", "tel. |0N#######",
    "Telefon: |0N# / ######", "phone |N##N######", "call |N## N## ####",
)  # fmt: skip


def _phone(r: random.Random) -> str:
    return _filled(r, r.choice(_PHONES))


def _ip(r: random.Random) -> str:
    if r.random() < 0.3:
        return "2a01:4f8:" + ":".join(f"{r.randrange(1, 1 << 16):x}" for _ in range(2)) + r.choice(("::1f", "::1:2a"))
    return ".".join(str(n) for n in (r.choice((23, 81, 93, 145, 194, 212)), *(r.randrange(10, 255) for _ in range(3))))


def _grouped(written: str, size: int, gap: str) -> str:
    return gap.join(written[i : i + size] for i in range(0, len(written), size))


def _iban(r: random.Random) -> str:
    country = r.choice(sorted(IBAN_LENGTHS))
    bank = _some(r, _D, IBAN_LENGTHS[country] - 4)
    if country in ("GB", "NL", "IE", "MT"):
        bank = _some(r, _U, 4) + bank[4:]
    check = next(c for c in (f"{n:02d}" for n in range(2, 99)) if mod97(country + c + bank))
    return _grouped(country + check + bank, 4, " ") if r.random() < 0.5 else country + check + bank


def _card(r: random.Random) -> str:
    prefix, length = r.choice(
        (("4", 16), ("51", 16), ("2345", 16), ("37", 15), ("6011", 16), ("3530", 16), ("36", 14), ("62", 16))
    )
    body = prefix + _some(r, _D, length - len(prefix) - 1)
    number = next(body + d for d in _D if luhn(body + d))
    if r.random() < 0.5 or length == 14:
        return number
    gap = r.choice(" -")
    return gap.join((number[:4], number[4:10], number[10:])) if length == 15 else _grouped(number, 4, gap)


_FORMS = {
    "US SSN": "###-##-####", "GB NINO": "AB######C", "ES DNI": "########?", "ES NIE": "X#######?",
    "IT codice fiscale": "RSSMRA##A1#H501?",
    "DE Steuer-ID": "Steuer-ID |###########", "FR NIR": "1 85 0# ## ### ### ##",
    "NL BSN": "BSN |#########", "PL PESEL": "PESEL: |##0###1####", "BR CPF": "###.###.###-##",
    "IN Aadhaar": "N### #### ####", "CN resident identity": "11010519#10#1#####", "SE personnummer": "##0#1#-####",
    "FI henkilötunnus": "1#0###-###?", "BE national register": "##.0#.1#-###.##", "CA SIN": "SIN |### ### ###",
    "AU TFN": "tax file number |### ### ###", "ZA identity": "##0#1####0##8", "KR RRN": "##0#1#-1######",
    "MX CURP": "HEGG##0#1#MVZRRL0#", "NO fødselsnummer": "1#0########", "TR kimlik": "T.C. kimlik no: |N##########",
    "CL RUT": "1#.###.###-#", "CH AHV": "756.####.####.##", "IE PPSN": "PPS number |#######?",
}  # fmt: skip
"""What stands before | is the word that announces the number."""


def national(r: random.Random, rule: str) -> str:
    """A number of that rule, with the word before it where it needs one, and | between; drawn until its check fits."""
    fits = next(number.fits for number in NATIONAL_NUMBERS if number.rule == rule)
    word, _, form = _FORMS[rule].rpartition("|")
    while True:
        number = _filled(r, form)
        if rule == "FR NIR":  # one in 97 would fit
            number = number[:-2] + f"{97 - int(number.replace(' ', '')[:13]) % 97:02d}"
        if rule == "BE national register":
            number = number[:-2] + f"{97 - int(number.replace('.', '').replace('-', '')[:9]) % 97:02d}"
        if fits(_GAPS.sub("", number).upper()):
            return f"{word}|{number}" if word else number


def _national(r: random.Random) -> str:
    return national(r, r.choice(sorted(_FORMS)))


_SECRETS: tuple[Draw, ...] = (
    lambda r: "AKIA" + _some(r, _U + "234567", 16),
    lambda r: "ghp_" + _some(r, _A, 36),
    lambda r: "glpat-" + _some(r, _A, 20),
    lambda r: f"xoxb-{_some(r, _D, 12)}-{_some(r, _D, 12)}-{_some(r, _A, 24)}",
    lambda r: "sk_live_" + _some(r, _A, 24),
    lambda r: "AIza" + _some(r, _A, 35),
    lambda r: "sk-proj-" + _some(r, _A, 48),
    lambda r: "hf_" + _some(r, _A, 34),
    lambda r: f"eyJ{_some(r, _A, 30)}.eyJ{_some(r, _A, 60)}.{_some(r, _A, 43)}",
    lambda r: f"postgres://admin:|{_some(r, _A, 12)}|@db.internal.acme.io/main",
    lambda r: f'api_key = "|{_some(r, _A, 32)}|"',
    lambda r: f"CLIENT_SECRET=|{_some(r, _A, 40)}",
    lambda r: "-----BEGIN RSA PRIVATE KEY-----\n" + "\n".join(_some(r, _A + "+/", 64) for _ in range(8))
    + "\n-----END RSA PRIVATE KEY-----",
)  # fmt: skip


def _crypto(r: random.Random) -> str:
    import hashlib

    data = b"\0" + r.randbytes(20)
    data += hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4]
    number, signs = int.from_bytes(data, "big"), "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    written = ""
    while number:
        number, rest = divmod(number, 58)
        written = signs[rest] + written
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + written


DRAWS: dict[Kind, Draw] = {
    "email": _email,
    "phone": _phone,
    "ip": _ip,
    "iban": _iban,
    "card": _card,
    "national_id": _national,
    "secret": lambda r: r.choice(_SECRETS)(r),
    "crypto": _crypto,
}

_DECOYS: tuple[Draw, ...] = (
    lambda r: f"ISBN 978-{_some(r, _D, 1)}-{_some(r, _D, 3)}-{_some(r, _D, 5)}-{_some(r, _D, 1)}",
    lambda r: f"ISBN {_some(r, _D, 10)}",
    lambda r: f"978{_some(r, _D, 10)}",
    lambda r: f"{r.randrange(1900, 2030)}-{r.randrange(1, 13):02d}-{r.randrange(1, 29):02d}",
    lambda r: f"{r.randrange(1, 29)}.{r.randrange(1, 13)}.{r.randrange(1900, 2030)}",
    lambda r: f"{r.randrange(1900, 2030)}{r.randrange(1, 13):02d}{r.randrange(1, 29):02d}" + _some(r, "012345", 6),
    lambda r: f"version {r.randrange(20)}.{r.randrange(40)}.{r.randrange(99)}.{r.randrange(99)}",
    lambda r: f"v{r.randrange(9)}.{r.randrange(9)}.{r.randrange(9)}.{r.randrange(9)}",
    lambda r: f"package=={r.randrange(9)}.{r.randrange(20)}.{r.randrange(20)}.{r.randrange(20)}",
    lambda r: f"section {r.randrange(9)}.{r.randrange(9)}.{r.randrange(20)}.{r.randrange(20)}",
    lambda r: _some(r, "0123456789abcdef", 40),
    lambda r: _some(r, "0123456789ABCDEF", 32),
    lambda r: "-".join(_some(r, "0123456789abcdef", n) for n in (8, 4, 4, 4, 12)),
    lambda r: f"0x{_some(r, '0123456789ABCDEF', 8)}",
    lambda r: f"{r.random() * 10:.14f}",
    lambda r: f"MASK = {r.randrange(10**9, 10**10)}",
    lambda r: str(r.randrange(10**10, 10**11)),
    lambda r: f"{r.randrange(1, 99)},{_some(r, _D, 3)},{_some(r, _D, 3)}",
    lambda r: " ".join(str(r.randrange(100)) for _ in range(12)),
    lambda r: f"RFC {r.randrange(1000, 9999)}, pp. {r.randrange(100, 999)}-{r.randrange(1000, 1999)}",
    lambda r: f"order #{_some(r, _D, 8)}",
    lambda r: f"icon@{r.randrange(2, 4)}x.png",
    lambda r: "git@github.com:acme/tools.git",
    lambda r: "@decorator.register",
    lambda r: f"doi:10.{_some(r, _D, 4)}/{_some(r, _D, 9)}",
    lambda r: f"{r.randrange(24):02d}:{r.randrange(60):02d}:{r.randrange(60):02d}.{_some(r, _D, 6)}",
    lambda r: "password = getpass.getpass()",
    lambda r: "token: Optional[AuthenticationTokenProvider]",
)  # fmt: skip

_SETTINGS = ("{}", "Write to {} today.", "({})", '"{}"', "see {}, and so on", "# {}", "value: {};", "<{}>", "{}.")


@dataclass(frozen=True)
class Planted:
    """kind None: a decoy, in which nothing is to be found. start, end: where it stands in the text."""

    start: int
    end: int
    kind: Kind | None


def plant(lines: Sequence[str], each: int, seed: int) -> tuple[str, list[Planted]]:
    """The lines with `each` findings of every kind, and twice as many decoys in all as one kind has, each set on a line
    of its own between them. The same arguments give the same text."""
    r = random.Random(fold_in(seed, "personal data"))
    items: list[tuple[Kind | None, str]] = [(kind, draw(r)) for kind, draw in DRAWS.items() for _ in range(each)]
    items += [(None, _DECOYS[n % len(_DECOYS)](r)) for n in range(2 * each)]
    r.shuffle(items)
    at = sorted(r.randrange(len(lines) + 1) for _ in items)
    return _joined(lines, _placed(at, items), r)


def _placed(at: Sequence[int], items: Sequence[tuple[Kind | None, str]]) -> dict[int, list[tuple[Kind | None, str]]]:
    """The items before each line."""
    placed: dict[int, list[tuple[Kind | None, str]]] = {}
    for place, item in zip(at, items, strict=True):
        placed.setdefault(place, []).append(item)
    return placed


def _joined(
    lines: Sequence[str], placed: dict[int, list[tuple[Kind | None, str]]], r: random.Random
) -> tuple[str, list[Planted]]:
    parts: list[str] = []
    planted: list[Planted] = []
    size = 0

    def add(text: str) -> None:
        nonlocal size
        parts.append(text)
        size += len(text)

    for number, line in _numbered(lines):
        for kind, written in placed.get(number, ()):
            before, _, after = r.choice(_SETTINGS).partition("{}")
            pieces = written.split("|") if kind is not None else [written]
            word, item, rest = ([*pieces, ""] if len(pieces) > 1 else ["", *pieces, ""])[:3]
            add(before + word)
            planted.append(Planted(size, size + len(item), kind))
            add(item + rest + after + "\n")
        add(line)
    return "".join(parts), planted


def _numbered(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    yield from enumerate(lines)
    yield len(lines), ""
