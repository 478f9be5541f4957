"""`CrawledDocument`: a page with what its site says to crawlers, as far as the same archive holds that before the page.

It stands beside the document, not in its metadata: it is as long as many a page, and nothing of the page itself.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bedplate.data.documents import Document
from bedplate.data.rights.hosts import host_of
from bedplate.data.rights.robots import short_form

SITE_FILES = {"/robots.txt": "robots.txt", "/ai.txt": "ai.txt", "/.well-known/tdmrep.json": "tdmrep.json"}
"""Paths of the files in which sites speak to crawlers (RFC 9309, Spawning's ai.txt, TDMRep), and their names."""
LONGEST = 500 << 10
"""Bytes of such a file that are looked at: RFC 9309 wants no fewer."""
LARGEST_RECORD = 16 << 20
"""Bytes of a record that are read to find the beginning of such a file, however small documents have to be."""
_HELD = 16 << 20
_SMALL = 1 << 10
"""Bytes of a site's files, packed, that are always held."""
_AT_HAND = 64
_REFUSED = b"User-agent: *\nDisallow: /"
_RESERVED = b'[{"location": "/", "tdm-reservation": 1}]'


@dataclass
class CrawledDocument(Document):
    """site_files: {"robots.txt": its bytes, ...} of the page's site."""

    site_files: Mapping[str, bytes] = field(default_factory=dict)


class SiteFilesSeen:
    """The site files of an archive so far, of every site: robots.txt and ai.txt without what means nothing, packed.

    No refusal is ever forgotten. When `held` bytes are used up, files that are long even when packed are not kept any
    more: their sites count as having refused everything, and `lost` counts them. Memory: `held`, and 1 KB a site.
    """

    def __init__(self, held: int = _HELD) -> None:
        self._sites: dict[str, dict[str, bytes]] = {}
        self._at_hand: OrderedDict[str, dict[str, bytes]] = OrderedDict()
        self._left = held
        self.lost = 0

    def add(self, url: str | None, name: str, data: bytes) -> bool:
        """What a site was found to say; the last time counts. False where it couldn't be kept."""
        if (site := site_of(url)) is None:
            return True
        packed = zlib.compress(data[:LONGEST] if name == "tdmrep.json" else short_form(data))
        files = self._sites.setdefault(site, {})
        before = len(files.get(name, b""))
        kept = len(packed) <= max(_SMALL, self._left + before)
        if not kept:
            self.lost += 1
            packed = zlib.compress(_RESERVED if name == "tdmrep.json" else _REFUSED)
        files[name] = packed
        self._left += before - len(packed)
        self._at_hand.pop(site, None)
        return kept

    def refuse(self, url: str | None, name: str) -> None:
        """A file of a site is there, but can't be read: it counts as refusing everything."""
        self.add(url, name, _RESERVED if name == "tdmrep.json" else _REFUSED)

    def of(self, url: str | None) -> Mapping[str, bytes]:
        """What the site of a page says."""
        site = site_of(url)
        if site is None or site not in self._sites:
            return {}
        if (files := self._at_hand.get(site)) is None:
            files = {name: zlib.decompress(data) for name, data in self._sites[site].items()}
            self._at_hand[site] = files
            if len(self._at_hand) > _AT_HAND:
                self._at_hand.popitem(last=False)
        else:
            self._at_hand.move_to_end(site)
        return files


def site_of(url: str | None) -> str | None:
    """Host and port, whatever the scheme: a site that moved to https says the same on both. a.org. is a.org."""
    try:
        port = urlsplit(url or "").port
    except ValueError:
        return None
    host = host_of(url)
    return host if host is None or port in (None, 80, 443) else f"{host}:{port}"


def site_file(url: str | None) -> str | None:
    """The name of the site file that is at that address, or None."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    return SITE_FILES.get(parts.path) if parts.hostname else None
