"""Licences by their addresses: Creative Commons deeds, and the few others that pages link to."""

from __future__ import annotations

import re

from bedplate.data.rights.spdx import LICENSES, canonical

_AT = r"\s*(?:(?:https?:)?//)?(?:www\.)?"
_DEED = re.compile(
    _AT + r"creativecommons\.org(?::\d+)?/(?:licenses|publicdomain)/(?P<kind>[a-z-]{2,12})/(?P<version>\d\.\d)"
    r"(?![\w.-])(?:/(?P<place>[a-z]{2,4})\b)?",
    re.IGNORECASE,
)
_OTHERS = tuple(
    (re.compile(_AT + pattern, re.IGNORECASE), name)
    for pattern, name in (
        (r"gnu\.org/(?:licenses|copyleft)/(?:old-licenses/)?fdl-(1\.[123])", "GFDL-{}-only"),
        (r"gnu\.org/licenses/(?:old-licenses/)?gpl-([23]\.0)", "GPL-{}-only"),
        (r"gnu\.org/licenses/(agpl)-3\.0", "AGPL-3.0-only"),
        (r"(apache)\.org/licenses/LICENSE-2\.0", "Apache-2.0"),
        (r"opensource\.org/licen[sc]es?/([a-z0-9.-]{2,30}?)(?:\.php)?/?$", "{}"),
        (r"spdx\.org/licenses/([a-z0-9.-]{2,40}?)(?:\.html)?/?$", "{}"),
        (r"opendatacommons\.org/licenses/(odbl)", "ODbL-1.0"),
        (r"nationalarchives\.gov\.uk/doc/open-government-licence/version/([23])", "OGL-UK-{}.0"),
    )
)
_LONGEST = 500


def license_by_url(url: str) -> str | None:
    """The SPDX identifier of the licence at that address, or None. An address that only has such a one inside, as that
    of a page that leads on to it, names no licence.

    A licence ported to a country has the identifier of its own where SPDX lists one, and that of the unported one else.
    A deed without a version names no licence.
    """
    url = url[:_LONGEST]
    if (found := _DEED.match(url)) is not None:
        kind, version, place = found["kind"].upper(), found["version"], (found["place"] or "").upper()
        if kind in ("ZERO", "MARK"):
            return {"ZERO": "CC0-1.0", "MARK": "CC-PDM-1.0"}[kind] if version == "1.0" else None
        for name in (f"CC-{kind}-{version}-{place}", f"CC-{kind}-{version}"):
            if name in LICENSES:
                return name
        return None
    for pattern, name in _OTHERS:
        if (other := pattern.match(url)) is not None:
            return canonical(name.format(other[1]))
    return None
