"""Hosts and domains of URLs, offline: the public suffixes are those of the list inside a package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import urlsplit

from bedplate.data.extra import require

_ADDRESS = re.compile(r"[0-9.]+|.*:.*|\[.*\]")
_LONGEST_LABEL = 63
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


def host_of(url: str | None) -> str | None:
    """The host of a URL in lower case, in its ASCII form and without a closing dot; None where there is none."""
    if not url:
        return None
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return None if not host else ascii_host(host)


def ascii_host(host: str) -> str | None:
    """`Bücher.example.` is xn--bcher-kva.example, and `straße.de` isn't strasse.de (IDNA 2008, mapped by UTS 46). None
    for what is no host's name."""
    host = host.strip().rstrip(".").lower()
    if not host.isascii():
        host = _encoded(host) or ""
    return host if _HOST.fullmatch(host) or _ADDRESS.fullmatch(host) else None


def _encoded(host: str) -> str | None:
    import idna

    try:
        return idna.encode(host, uts46=True, transitional=False).decode("ascii").rstrip(".").lower()
    except (idna.IDNAError, UnicodeError):
        pass
    try:  # names that were never to be given out, but were: with emoji or underscores
        labels = idna.uts46_remap(host, std3_rules=False, transitional=False).split(".")
        encoded = [name if name.isascii() else f"xn--{name.encode('punycode').decode('ascii')}" for name in labels]
    except (idna.IDNAError, UnicodeError):
        return None
    return ".".join(encoded).rstrip(".").lower() if all(len(name) <= _LONGEST_LABEL for name in encoded) else None


@lru_cache(maxsize=10_000)
def domain_of(host: str) -> str:
    """The registrable domain: example.co.uk of a.b.example.co.uk. A host that has none (an address, `localhost`, a
    public suffix itself) is its own."""
    if _ADDRESS.fullmatch(host) or "." not in host:
        return host
    get_fld = require("tld", "rights, for domains").get_fld
    return get_fld(f"http://{host}/", fail_silently=True, search_private=False) or host


def suffixes(host: str) -> Iterator[str]:
    """The host and every domain that it is in: a.b.org, b.org, org."""
    while host:
        yield host
        host = host.partition(".")[2] if not _ADDRESS.fullmatch(host) else ""
