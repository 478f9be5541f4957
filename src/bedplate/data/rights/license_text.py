"""Which licence a text is, or speaks of: whole licences in LICENSE files, notices and SPDX tags in sources' headers.

By sentences that stand in one licence and no other. Letters and digits alone are compared, so that wrapping, comment
signs and punctuation don't matter.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from bedplate.data.rights.comments import comments_of
from bedplate.data.rights.spdx import canonical

_TEXT = 100_000
_SPDX = re.compile(
    r"^\W{0,12}(?:rem\b|dnl\b)?\W{0,4}SPDX-License-Identifier:[ \t]*(.{0,300})", re.MULTILINE | re.IGNORECASE
)
_AFTER_TAG = re.compile(r"\s*(?:\*/|-->|--%>|\*\)|-\}|#\}|\]\]|#>|\"\"\"|\'\'\'|\*+)?\s*$")
_FILE = re.compile(r"(?:un)?licen[cs]e|copying|(?:(?:un)?licen[cs]e|copying)[._-][a-z0-9._-]{1,40}", re.IGNORECASE)
_OF_OTHERS = re.compile(r"3rd|third|part(?:y|ies)|vendor|bundle|dependenc|notice|template|header", re.IGNORECASE)
_NOT_LICENSE_FILES = (".py", ".js", ".ts", ".c", ".h", ".go", ".rs", ".java", ".cpp", ".cc", ".rb", ".json", ".html")


class _Mark(NamedTuple):
    name: str
    phrases: tuple[str, ...]
    without: tuple[str, ...] = ()
    length: int = 300
    """How many words the licence has, about."""


_MIT_GRANT = (
    "permission is hereby granted free of charge to any person obtaining a copy of this software and associated"
)
_MIT_NOTICE = "permission notice shall be included in all copies or substantial portions"
_BSD = "redistribution and use in source and binary forms with or without modification are permitted"
_ISC = "to use copy modify and or distribute this software for any purpose with or without fee is hereby granted"

_GRANTS = (
    _Mark("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    _Mark("WTFPL", ("do what the fuck you want to public license",)),
    _Mark(
        "Zlib", ("this software is provided as is without any express or implied warranty", "altered source versions")
    ),
    _Mark("MIT", (_MIT_GRANT, _MIT_NOTICE)),
    _Mark("MIT-0", (_MIT_GRANT,), (_MIT_NOTICE, "subject to the following conditions")),
    _Mark("BSD-4-Clause", (_BSD, "all advertising materials mentioning features or use of this software")),
    _Mark("BSD-3-Clause", (_BSD, "to endorse or promote products derived from this software")),
    _Mark("BSD-2-Clause", (_BSD, "redistributions in binary form must reproduce")),
    _Mark("ISC", (_ISC, "provided that the above copyright notice and this permission notice appear in all copies")),
    _Mark("0BSD", (_ISC,), ("provided that",)),
)
"""Short enough to stand in a source file's header as a whole."""

_TEXTS = (
    _Mark("AGPL-3.0-only", ("gnu affero general public license version 3 19 november 2007",), length=5600),
    _Mark("LGPL-3.0-only", ("gnu lesser general public license version 3 29 june 2007",), length=1250),
    _Mark("LGPL-2.1-only", ("gnu lesser general public license version 2 1 february 1999",), length=4420),
    _Mark("LGPL-2.0-only", ("gnu library general public license version 2 june 1991",), length=4220),
    _Mark("GPL-3.0-only", ("gnu general public license version 3 29 june 2007",), length=5700),
    _Mark("GPL-2.0-only", ("gnu general public license version 2 june 1991",), length=2990),
    _Mark("GFDL-1.3-only", ("gnu free documentation license version 1 3 3 november 2008",), length=3750),
    _Mark("GFDL-1.2-only", ("gnu free documentation license version 1 2 november 2002",), length=3330),
    _Mark("Apache-2.0", ("apache license version 2 0 january 2004",), length=1610),
    _Mark("MPL-2.0", ("mozilla public license version 2 0 1 definitions",), length=2430),
    _Mark(
        "MPL-2.0",
        ("mozilla public license version 2 0", "covered software is provided under this license on an as is"),
        length=2430,
    ),
    _Mark("MPL-1.1", ("mozilla public license version 1 1",), length=3790),
    _Mark("EPL-2.0", ("eclipse public license v 2 0 the accompanying program",), length=2300),
    _Mark("EPL-1.0", ("eclipse public license v 1 0 the accompanying program",), length=1700),
    _Mark("CDDL-1.0", ("common development and distribution license cddl version 1 0",), length=2300),
    _Mark("EUPL-1.2", ("european union public licence v 1 2",), length=2300),
    _Mark("Artistic-2.0", ("the artistic license 2 0",), length=1500),
    _Mark("BSL-1.0", ("boost software license version 1 0", "machine executable object code"), length=230),
    _Mark("OFL-1.1", ("sil open font license version 1 1",), length=680),
    _Mark("PSF-2.0", ("python software foundation license version 2",), length=430),
    _Mark("CC0-1.0", ("cc0 1 0 universal",), length=1090),
    *(
        _Mark(
            f"CC-{kind}-{version}",
            (f"creative commons {words} {version.replace('.', ' ')} international",),
            length=2900,
        )
        for kind, words in (
            ("BY-NC-SA", "attribution noncommercial sharealike"),
            ("BY-NC-ND", "attribution noncommercial noderivatives"),
            ("BY-NC", "attribution noncommercial"),
            ("BY-SA", "attribution sharealike"),
            ("BY-ND", "attribution noderivatives"),
            ("BY", "attribution"),
        )
        for version in ("4.0",)
    ),
)

_NOTICES = (
    _Mark("Apache-2.0", ("licensed under the apache license version 2 0",)),
    _Mark("Apache-2.0", ("apache org licenses license 2 0",)),
    _Mark("MPL-2.0", ("subject to the terms of the mozilla public license v 2 0",)),
    _Mark("EPL-2.0", ("eclipse org legal epl 2 0",)),
    _Mark("EPL-2.0", ("made available under the terms of the eclipse public license 2 0",)),
    _Mark("EPL-1.0", ("terms of the eclipse public license v1 0",)),
    _Mark("BSL-1.0", ("distributed under the boost software license version 1 0",)),
    _Mark("CC0-1.0", ("creativecommons org publicdomain zero 1 0",)),
    _Mark("MIT", ("licensed under the mit license",)),
    _Mark("MIT", ("released under the mit license",)),
    _Mark("MIT", ("distributed under the mit license",)),
    _Mark("MIT", ("opensource org licenses mit license",)),
    _Mark("PSF-2.0", ("licensed to psf under a contributor agreement",)),
)
_LONGEST_PREAMBLE = 300
"""Words before a licence in its file: copyright lines, what the project is."""
_DOUBT = 30
"""Words by which copies of a licence differ in length, about."""
_HARMLESS = ("commercial or non commercial", "into proprietary programs", "linking proprietary applications")
"""Of the Unlicense, and of the end of the GNU licences."""
_FORBIDS_NOTICE = re.compile(
    r"\b(?:proprietary and confidential|confidential and proprietary|commons clause|trade secrets?|"
    r"proprietary (?:software|code|information|licen[sc]e|material|property|to)|"
    r"(?:strictly|company|highly) confidential|confidential (?:information|property)|"
    r"(?:not|never) (?:be )?(?:licensed|released|distributed|published|available|covered|made available|offered) "
    r"(?:under|by)|all rights reserved do not|"
    r"(?:may|must|shall|do) not (?:be )?(?:copy|copied|(?:re)?distributed?) (?:this|it|or|in whole|without)|"
    r"unauthori[sz]ed (?:copying|use|distribution|reproduction)|"
    r"(?:non ?commercial|academic|research|educational|evaluation|internal) (?:use|purposes?) only)\b"
)
_OF_A_PART = re.compile(
    r"(?<!substantial )\bportions\b|\bparts? (?:of|are|is|from|based|taken|adapted|copyright)\b|"
    r"\b(?:third|3rd) part(?:y|ies)\b|\b(?:bundled?|bundles|embeds|vendored)\b"
)
_RESTRICTS = re.compile(
    r"\b(?:commons clause|non ?commercial|proprietary|confidential|eula|end user licen[sc]e|trade secrets?|"
    r"(?:third|3rd) part(?:y|ies) (?:software |component |components |library |open source )?(?:notices?|licen[sc]es?)|"
    r"(?:may|must|shall|can|will) ?not (?:be )?(?:copy|copied|distribute[d]?|redistribute[d]?|modify|sell|resell|"
    r"sublicense|reproduce[d]?)|does not grant (?:to )?you|"
    r"(?:not|only) for (?:any )?(?:commercial|evaluation|personal|academic|research|educational)|"
    r"(?:academic|research|educational|evaluation|personal|internal) (?:use|purposes?) only|"
    r"commercial (?:use|licen[sc]e)s? (?:is|are|requires?|must|may)|additional (?:restrictions?|conditions?)|"
    r"(?:not|never) (?:be )?(?:licensed|released|published|available|made available))\b"
)
"""Words that take back what the open licences that are known here allow."""

_GNU = (
    ("AGPL", ("gnu affero general public license", "gnu agpl")),
    ("LGPL", ("gnu lesser general public license", "gnu library general public license", "gnu lgpl")),
    ("GPL", ("gnu general public license", "gnu gpl")),
)
_GNU_VERSION = re.compile(r"(?:version|v|gpl) ?([123])(?: (0|1)\b)?")


def spdx_tag(text: str) -> str | None:
    """The expression of the SPDX-License-Identifier in the comments at the head of a source file; None where there is
    none, or one of several isn't valid. Several tags hold together."""
    tags = [canonical(tag) for tag in _tags(text)]
    found = [tag for tag in dict.fromkeys(tags) if tag]
    if len(found) > 1 and None not in tags:
        return canonical(" AND ".join(f"({tag})" for tag in found))
    return found[0] if len(found) == 1 and None not in tags else None


def header_notice(text: str) -> str | None:
    """The licence that the notice in the comments at the head of a source file names or spells out, or None. A notice
    that speaks of portions, or of what others wrote, names no licence of the file."""
    words = _words(comments_of(text, leading=True))
    if _FORBIDS_NOTICE.search(words) or _OF_A_PART.search(words):
        return None
    return _gnu_notice(words) or _first(_NOTICES, words) or _first(_GRANTS, words)


def header_refuses(text: str) -> str | None:
    """What in a file's head forbids to take it for what its project is under: "proprietary", or a tag that isn't
    understood. None where there is no such thing."""
    if (tag := next((tag for tag in _tags(text) if canonical(tag) is None), None)) is not None:
        return f"SPDX-License-Identifier: {tag[:100]}"
    if _tags(text):
        return None
    found = _FORBIDS_NOTICE.search(_words(comments_of(text, leading=True)))
    return None if found is None else f"its head says: {found[0].strip()}"


def license_of(text: str) -> str | None:
    """The identifier of the licence that a LICENSE or COPYING file holds, or None. The GNU licences alone don't say
    whether later versions will do: then it is that version only.

    None too where the licence is the lesser part of the file, or words beside it restrict what it allows, as those of
    the Commons Clause do.
    """
    words = _words(text[:_TEXT])
    if len(text) > _TEXT:
        return None
    for marks, whole in ((_TEXTS, False), (_GRANTS, True), (_NOTICES, True)):
        if (mark := _mark(marks, words)) is not None:
            return mark.name if _is_most_of(mark, words, whole) else None
    return None


def _is_most_of(mark: _Mark, words: str, whole: bool) -> bool:
    """whole: look for restrictions among the licence's own words as well, of which it has none."""
    at = min(words.find(phrase) for phrase in mark.phrases)
    before = words[:at].split()
    after = words[at:].split()
    outside = [*before, *after[max(mark.length - _DOUBT, 0) :]]
    if len(before) > _LONGEST_PREAMBLE or len(outside) > max(mark.length, _LONGEST_PREAMBLE):
        return False
    # Where most of its words are missing it is an extract, beside whatever else.
    looked_at = words if whole or len(after) < mark.length / 2 else " ".join(outside)
    for phrase in (*_HARMLESS, *(() if whole else mark.phrases)):
        looked_at = looked_at.replace(phrase, "")
    return _RESTRICTS.search(looked_at) is None and "commons clause" not in words


def _tags(text: str) -> list[str]:
    return [_AFTER_TAG.sub("", tag) for tag in _SPDX.findall(comments_of(text))]


def is_license_file(name: str) -> bool:
    """Whether a file of that name holds a licence: LICENSE, LICENSE.txt, LICENSE-MIT, COPYING.LESSER; not that
    of what it brings along, LICENSE-THIRD-PARTY."""
    base = name.rpartition("/")[2].partition("#")[0]
    if not _FILE.fullmatch(base) or base.lower().endswith(_NOT_LICENSE_FILES):
        return False
    return _OF_OTHERS.search(base) is None


def _gnu_notice(words: str) -> str | None:
    """As in "either version 2 of the License, or (at your option) any later version"."""
    if "redistribute it and or modify" not in words and "under the terms of the gnu" not in words:
        return None
    for name, spellings in _GNU:
        place = next((at for spelling in spellings if (at := words.find(spelling)) >= 0), -1)
        if place < 0:
            continue
        found = _GNU_VERSION.search(words[place : place + 400])
        if found is None:
            return None
        version = f"{found[1]}.{found[2] or '0'}"
        later = "any later version" in words[place : place + 500] or "or later" in words[place : place + 500]
        return canonical(f"{name}-{version}-{'or-later' if later else 'only'}")
    return None


def _first(marks: tuple[_Mark, ...], words: str) -> str | None:
    mark = _mark(marks, words)
    return None if mark is None else mark.name


def _mark(marks: tuple[_Mark, ...], words: str) -> _Mark | None:
    return next(
        (
            mark
            for mark in marks
            if all(phrase in words for phrase in mark.phrases) and not any(phrase in words for phrase in mark.without)
        ),
        None,
    )


def _words(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower())
