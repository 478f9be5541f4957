"""Which licence a text is, or speaks of: whole licences in LICENSE files, notices and SPDX tags in sources' headers.

By sentences that stand in one licence and no other. Letters and digits alone are compared, so that wrapping, comment
signs and punctuation don't matter.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from bedplate.data.rights.spdx import canonical

_HEADER = 6000
_TEXT = 40_000
_SPDX = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+:() -]{2,200})")
_FILE = re.compile(r"(?:un)?licen[cs]e|copying|(?:(?:un)?licen[cs]e|copying)[._-][a-z0-9._-]{1,40}", re.IGNORECASE)
_NOT_LICENSE_FILES = (".py", ".js", ".ts", ".c", ".h", ".go", ".rs", ".java", ".cpp", ".cc", ".rb", ".json", ".html")


class _Mark(NamedTuple):
    name: str
    phrases: tuple[str, ...]
    without: tuple[str, ...] = ()


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
    _Mark("AGPL-3.0-only", ("gnu affero general public license version 3 19 november 2007",)),
    _Mark("LGPL-3.0-only", ("gnu lesser general public license version 3 29 june 2007",)),
    _Mark("LGPL-2.1-only", ("gnu lesser general public license version 2 1 february 1999",)),
    _Mark("LGPL-2.0-only", ("gnu library general public license version 2 june 1991",)),
    _Mark("GPL-3.0-only", ("gnu general public license version 3 29 june 2007",)),
    _Mark("GPL-2.0-only", ("gnu general public license version 2 june 1991",)),
    _Mark("GFDL-1.3-only", ("gnu free documentation license version 1 3 3 november 2008",)),
    _Mark("GFDL-1.2-only", ("gnu free documentation license version 1 2 november 2002",)),
    _Mark("Apache-2.0", ("apache license version 2 0 january 2004",)),
    _Mark("MPL-2.0", ("mozilla public license version 2 0 1 definitions",)),
    _Mark(
        "MPL-2.0", ("mozilla public license version 2 0", "covered software is provided under this license on an as is")
    ),
    _Mark("MPL-1.1", ("mozilla public license version 1 1",)),
    _Mark("EPL-2.0", ("eclipse public license v 2 0 the accompanying program",)),
    _Mark("EPL-1.0", ("eclipse public license v 1 0 the accompanying program",)),
    _Mark("CDDL-1.0", ("common development and distribution license cddl version 1 0",)),
    _Mark("EUPL-1.2", ("european union public licence v 1 2",)),
    _Mark("Artistic-2.0", ("the artistic license 2 0",)),
    _Mark("BSL-1.0", ("boost software license version 1 0", "machine executable object code")),
    _Mark("OFL-1.1", ("sil open font license version 1 1",)),
    _Mark("PSF-2.0", ("python software foundation license version 2",)),
    _Mark("CC0-1.0", ("cc0 1 0 universal",)),
    *(
        _Mark(f"CC-{kind}-{version}", (f"creative commons {words} {version.replace('.', ' ')} international",))
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
_GNU = (
    ("AGPL", ("gnu affero general public license", "gnu agpl")),
    ("LGPL", ("gnu lesser general public license", "gnu library general public license", "gnu lgpl")),
    ("GPL", ("gnu general public license", "gnu gpl")),
)
_GNU_VERSION = re.compile(r"(?:version|v|gpl) ?([123])(?: (0|1)\b)?")


def spdx_tag(text: str) -> str | None:
    """The expression of the SPDX-License-Identifier in the header of a source file; None where there is no valid one.
    Several tags hold together."""
    tags = [canonical(tag.strip().removesuffix("*").strip()) for tag in _SPDX.findall(text[:_HEADER])]
    found = [tag for tag in dict.fromkeys(tags) if tag]
    if len(found) > 1:
        return canonical(" AND ".join(f"({tag})" for tag in found))
    return found[0] if found else None


def header_notice(text: str) -> str | None:
    """The licence that the notice in the header of a source file names or spells out, or None."""
    words = _words(text[:_HEADER])
    return _gnu_notice(words) or _first(_NOTICES, words) or _first(_GRANTS, words)


def license_of(text: str) -> str | None:
    """The identifier of the licence that a LICENSE or COPYING file holds, or None. The GNU licences alone don't say
    whether later versions will do: then it is that version only."""
    words = _words(text[:_TEXT])
    return _first(_TEXTS, words) or _first(_GRANTS, words) or _first(_NOTICES, words)


def is_license_file(name: str) -> bool:
    """Whether a file of that name holds a licence: LICENSE, LICENSE.txt, LICENSE-MIT, COPYING.LESSER."""
    base = name.rpartition("/")[2].partition("#")[0]
    return bool(_FILE.fullmatch(base)) and not base.lower().endswith(_NOT_LICENSE_FILES)


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
    return next(
        (
            mark.name
            for mark in marks
            if all(phrase in words for phrase in mark.phrases) and not any(phrase in words for phrase in mark.without)
        ),
        None,
    )


def _words(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower())
