"""`CrawledDocument`: a page with what its site says to crawlers, as far as the same archive holds that before the page.

It stands beside the document, not in its metadata: it is as long as many a page, and nothing of the page itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bedplate.data.documents import Document

SITE_FILES = {"/robots.txt": "robots.txt", "/ai.txt": "ai.txt", "/.well-known/tdmrep.json": "tdmrep.json"}
"""Paths of the files in which sites speak to crawlers (RFC 9309, Spawning's ai.txt, TDMRep), and their names."""
LONGEST = 500 << 10
"""Bytes of such a file that are looked at: RFC 9309 wants no fewer."""
_HELD = 16 << 20


@dataclass
class CrawledDocument(Document):
    """site_files: {"robots.txt": its bytes, ...} of the page's site."""

    site_files: Mapping[str, bytes] = field(default_factory=dict)


class SiteFilesSeen:
    """The site files of an archive so far, by site. Holds 16 MB at most; the site that was longest out of use goes."""

    def __init__(self, held: int = _HELD) -> None:
        self._sites: OrderedDict[str, dict[str, bytes]] = OrderedDict()
        self._left = held

    def add(self, url: str | None, name: str, data: bytes) -> None:
        """What a site was found to say; the last time counts."""
        if (site := site_of(url)) is None:
            return
        files = self._sites.pop(site, {})
        self._left += len(files.get(name, b"")) - len(data)
        self._sites[site] = {**files, name: data}  # a new one, as pages keep the old
        while self._left < 0 and len(self._sites) > 1:
            _, gone = self._sites.popitem(last=False)
            self._left += sum(map(len, gone.values()))

    def of(self, url: str | None) -> Mapping[str, bytes]:
        """What the site of a page says."""
        site = site_of(url)
        if site is None or site not in self._sites:
            return {}
        self._sites.move_to_end(site)
        return self._sites[site]


def site_of(url: str | None) -> str | None:
    """Host and port, whatever the scheme: a site that moved to https says the same on both."""
    try:
        parts = urlsplit(url or "")
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.hostname if port in (None, 80, 443) else f"{parts.hostname}:{port}"


def site_file(url: str | None) -> str | None:
    """The name of the site file that is at that address, or None."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    return SITE_FILES.get(parts.path) if parts.hostname else None
