"""SPDX licence identifiers and expressions (SPDX specification 2.3, annex D), the common ones of the list.

`parse` gives an expression its canonical spelling; `permits` says what a list of licences makes of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

_PERMISSIVE = """
0BSD AFL-2.1 AFL-3.0 Apache-1.0 Apache-1.1 Apache-2.0 Artistic-1.0 Artistic-1.0-Perl Artistic-2.0 BlueOak-1.0.0
BSD-1-Clause BSD-2-Clause BSD-2-Clause-Patent BSD-3-Clause BSD-3-Clause-Clear BSD-3-Clause-LBNL BSD-4-Clause
BSD-4-Clause-UC BSD-Source-Code BSL-1.0 bzip2-1.0.6 CNRI-Python curl ECL-2.0 EFL-2.0 FSFAP FSFUL FTL HPND
HPND-sell-variant ICU ImageMagick Info-ZIP ISC JSON Libpng libpng-2.0 libtiff MIT MIT-0 MIT-CMU MIT-Modern-Variant MirOS
MS-PL MulanPSL-2.0 NAIST-2003 NCSA NTP OLDAP-2.8 OpenSSL PHP-3.01 PostgreSQL PSF-2.0 Python-2.0 Ruby SGI-B-2.0
SSH-OpenSSH TCL Unicode-3.0 Unicode-DFS-2016 UPL-1.0 Vim W3C X11 Xnet Zend-2.0 Zlib zlib-acknowledgement ZPL-2.1
Unlicense WTFPL
CC0-1.0 CC-PDM-1.0
"""
_COPYLEFT = """
AGPL-1.0-only AGPL-1.0-or-later AGPL-3.0-only AGPL-3.0-or-later APSL-2.0 CDDL-1.0 CDDL-1.1 CECILL-2.1 CECILL-B CECILL-C
CERN-OHL-P-2.0 CERN-OHL-S-2.0 CERN-OHL-W-2.0 CPAL-1.0 CPL-1.0 EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2 GFDL-1.1-only
GFDL-1.1-or-later GFDL-1.2-only GFDL-1.2-or-later GFDL-1.3-only GFDL-1.3-or-later GPL-1.0-only GPL-1.0-or-later
GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later IPL-1.0 LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1-only
LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later LPPL-1.3c MPL-1.0 MPL-1.1 MPL-2.0 MPL-2.0-no-copyleft-exception MS-RL
OFL-1.0 OFL-1.1 OSL-3.0 QPL-1.0 Sleepycat SPL-1.0 SSPL-1.0 BUSL-1.1 Elastic-2.0 PolyForm-Noncommercial-1.0.0 ODbL-1.0
ODC-By-1.0 PDDL-1.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0 CDLA-Sharing-1.0 OGL-UK-2.0 OGL-UK-3.0 etalab-2.0
DL-DE-BY-2.0
"""
_OLD_NAMES = "AGPL-3.0 GFDL-1.2 GFDL-1.3 GPL-1.0 GPL-2.0 GPL-3.0 LGPL-2.0 LGPL-2.1 LGPL-3.0"
_CC_KINDS = ("BY", "BY-SA", "BY-ND", "BY-NC", "BY-NC-SA", "BY-NC-ND")
_CC_VERSIONS = ("1.0", "2.0", "2.5", "3.0", "4.0")
_CC_PORTED = """
CC-BY-2.5-AU CC-BY-3.0-AT CC-BY-3.0-AU CC-BY-3.0-DE CC-BY-3.0-IGO CC-BY-3.0-NL CC-BY-3.0-US CC-BY-NC-3.0-DE
CC-BY-NC-ND-3.0-DE CC-BY-NC-ND-3.0-IGO CC-BY-NC-SA-2.0-DE CC-BY-NC-SA-2.0-FR CC-BY-NC-SA-2.0-UK CC-BY-NC-SA-3.0-DE
CC-BY-NC-SA-3.0-IGO CC-BY-ND-3.0-DE CC-BY-SA-2.0-UK CC-BY-SA-2.1-JP CC-BY-SA-3.0-AT CC-BY-SA-3.0-DE CC-BY-SA-3.0-IGO
"""
_EXCEPTIONS = """
Autoconf-exception-2.0 Autoconf-exception-3.0 Bison-exception-2.2 Classpath-exception-2.0 eCos-exception-2.0
Font-exception-2.0 GCC-exception-2.0 GCC-exception-3.1 Libtool-exception Linux-syscall-note LLVM-exception
LZMA-exception OCaml-LGPL-linking-exception OpenJDK-assembly-exception-1.0 openvpn-openssl-exception
Qt-LGPL-exception-1.1 Swift-exception u-boot-exception-2.0 Universal-FOSS-exception-1.0 WxWindows-exception-3.1
"""

LICENSES = frozenset(
    f"{_PERMISSIVE} {_COPYLEFT} {_CC_PORTED}".split()
    + [f"CC-{kind}-{version}" for kind in _CC_KINDS for version in _CC_VERSIONS]
)
_SPELLING = {name.lower(): name for name in LICENSES} | {
    # Deprecated identifiers, which say nothing of later versions.
    name.lower(): f"{name}-only"
    for name in _OLD_NAMES.split()
}
_EXCEPTION_SPELLING = {name.lower(): name for name in _EXCEPTIONS.split()}
_OWN = re.compile(r"(?:DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+")
_TOKEN = re.compile(r"[()]|[A-Za-z0-9.:+-]+")
_MOST_TOKENS = 60
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Expression:
    """`operator` is AND, OR or "" for a single licence, whose identifier and exception are `name`."""

    operator: str
    name: str = ""
    parts: tuple[Expression, ...] = ()

    def __str__(self) -> str:
        if not self.operator:
            return self.name
        inner = (f"({part})" if part.operator and part.operator != self.operator else str(part) for part in self.parts)
        return f" {self.operator} ".join(inner)


def parse(text: str | None) -> Expression | None:
    """The expression, its identifiers spelled as in the list; None for what is no valid expression of known ones.

    Case doesn't matter. `GPL-2.0` and `GPL-2.0+`, which the list has replaced, are GPL-2.0-only and GPL-2.0-or-later.
    """
    if not text:
        return None
    tokens = _TOKEN.findall(text)
    if not tokens or len(tokens) > _MOST_TOKENS or "".join(tokens) != "".join(text.split()):
        return None
    reader = _Reader(tokens)
    found = reader.either()
    return found if found is not None and reader.done else None


def canonical(text: str | None) -> str | None:
    """The canonical spelling of an expression, or None."""
    found = parse(text)
    return None if found is None else str(found)


def known(pattern: str) -> bool:
    """Whether an entry of a list of licences means anything: `unknown`, an identifier, or a pattern that fits one."""
    if pattern.lower() == UNKNOWN or _OWN.fullmatch(pattern) or canonical(pattern):
        return True
    return any(fnmatchcase(name, pattern.lower()) for name in _SPELLING)


def permits(patterns: Sequence[str], license: str | None) -> bool:
    """Whether a list permits that licence: of `A AND B` both, of `A OR B` either one.

    Patterns as in `CC-BY-*`, case aside. `unknown` stands for no licence and for what is no SPDX expression.
    """
    found = parse(license)
    if found is None:
        return any(pattern.lower() == UNKNOWN for pattern in patterns)
    wanted = [(canonical(pattern) or pattern).lower() for pattern in patterns]

    def good(expression: Expression) -> bool:
        if expression.operator:
            return (all if expression.operator == "AND" else any)(good(part) for part in expression.parts)
        names = {expression.name.lower(), expression.name.partition(" WITH ")[0].lower()}
        return any(fnmatchcase(name, pattern) for name in names for pattern in wanted)

    return good(found)


def forbids(patterns: Sequence[str], license: str | None) -> bool:
    """Whether a list forbids that licence: of `A AND B` either one, of `A OR B` both."""
    found = parse(license)
    if found is None:
        return any(pattern.lower() == UNKNOWN for pattern in patterns)

    def bad(expression: Expression) -> bool:
        if expression.operator:
            return (any if expression.operator == "AND" else all)(bad(part) for part in expression.parts)
        return permits(patterns, str(expression))

    return bad(found)


class _Reader:
    """Recursive descent; OR binds least, then AND, then WITH. The number of tokens bounds the depth."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at == len(self._tokens)

    def either(self) -> Expression | None:
        return self._row("OR")

    def _row(self, operator: str) -> Expression | None:
        parts = list(self._parts(operator))
        if None in parts:
            return None
        good = [part for part in parts if part is not None]
        return good[0] if len(good) == 1 else Expression(operator, "", tuple(good))

    def _parts(self, operator: str) -> Iterator[Expression | None]:
        yield self._row("AND") if operator == "OR" else self._single()
        while self._next(operator):
            yield self._row("AND") if operator == "OR" else self._single()

    def _next(self, word: str) -> bool:
        if not self.done and self._tokens[self._at].upper() == word:
            self._at += 1
            return True
        return False

    def _single(self) -> Expression | None:
        if self._next("("):
            inner = self.either()
            return inner if self._next(")") else None
        if self.done:
            return None
        name = _license(self._tokens[self._at])
        self._at += 1
        if name is None or not self._next("WITH"):
            return None if name is None else Expression("", name)
        if self.done:
            return None
        exception = _EXCEPTION_SPELLING.get(self._tokens[self._at].lower())
        self._at += 1
        return None if exception is None else Expression("", f"{name} WITH {exception}")


def _license(token: str) -> str | None:
    if _OWN.fullmatch(token):
        return token
    name = token.lower()
    if name.endswith("+"):
        base = name[:-1].removesuffix("-only")
        return _SPELLING.get(f"{base}-or-later") or _SPELLING.get(name[:-1])
    return _SPELLING.get(name)
