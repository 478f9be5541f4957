"""What sites say in files of their own: robots.txt, ai.txt and TDMRep's tdmrep.json, from folders or WARC files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bedplate.data.documents import Document
from bedplate.data.reading.crawled import SITE_FILES, site_file
from bedplate.data.reading.files import local_file
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.warc import read_warc
from bedplate.data.rights.hosts import ascii_host, host_of
from bedplate.data.rights.robots import LARGEST, Robots, fits, normal_path, path_of
from bedplate.errors import InputError

_TEXT_SUFFIXES = (".html", ".htm", ".txt", ".pdf", ".xml", ".md", ".php", ".asp", ".aspx", ".jsp")
_RESERVED = {"1": True, "true": True, "0": False, "false": False}


@dataclass
class Site:
    """What one host says."""

    robots: Robots | None = None
    ai: Robots | None = None
    tdm: tuple[tuple[str, bool], ...] = ()
    """(pattern of paths, whether text and data mining is reserved there); the first that fits counts."""

    def read(self, name: str, data: bytes) -> None:
        """Take in one of its files: robots.txt, ai.txt or tdmrep.json."""
        if name == "robots.txt":
            self.robots = Robots(data)
        elif name == "ai.txt":
            self.ai = Robots(data)
        else:
            self.tdm = _tdm_rules(data)

    def reserves(self, url: str) -> bool | None:
        """What tdmrep.json says of a URL; None where nothing."""
        path = path_of(url)
        return next((reserved for pattern, reserved in self.tdm if fits(pattern, path)), None)

    def ai_forbidden(self, agents: Iterable[str], url: str) -> tuple[str, ...]:
        """The agents that ai.txt forbids the URL as text: its rules go by suffixes (`Disallow: *.html`), and a page
        that has none counts as .html and .txt."""
        if self.ai is None:
            return ()
        path = path_of(url).partition("?")[0]
        texts = [path] if path.lower().endswith(_TEXT_SUFFIXES) else [f"{path}.html", f"{path}.txt", path]
        ai = self.ai
        return tuple(agent for agent in agents if not all(ai.allowed(agent, text) for text in texts))


@lru_cache(maxsize=64)
def site_that_says(files: tuple[tuple[str, bytes], ...]) -> Site:
    """The site with these files: (("robots.txt", its bytes), ...)."""
    site = Site()
    for name, data in files:
        site.read(name, data)
    return site


class SiteFiles:
    """Sites by host. Memory: the rules themselves, about 100 bytes each."""

    def __init__(self) -> None:
        self._sites: dict[str, Site] = {}

    @classmethod
    def read(cls, places: Iterable[str]) -> SiteFiles:
        """From folders that hold HOST/robots.txt, HOST/ai.txt, HOST/tdmrep.json or HOST.txt (a robots.txt), and from
        WARC files that hold records of such files, such as the crawl's own.

        Raises InputError where a place isn't there, or a file is none.
        """
        files = cls()
        for place in places:
            path = Path(place)
            if path.is_dir():
                files._read_folder(path)
            elif path.is_file():
                files._read_warc(path)
            else:
                raise InputError(f"rights.site_files: {place}: there is no such file or folder", "Check the path.")
        return files

    def of(self, host: str | None) -> Site | None:
        """What a host says; None where nothing is known."""
        return None if host is None else self._sites.get(ascii_host(host) or "")

    def add(self, host: str, name: str, data: bytes) -> None:
        """name: robots.txt, ai.txt or tdmrep.json."""
        self._sites.setdefault(ascii_host(host) or host.lower(), Site()).read(name, data)

    def _read_folder(self, folder: Path) -> None:
        for entry in sorted(folder.iterdir()):
            if entry.is_dir():
                for name in SITE_FILES.values():
                    if (file := entry / name).is_file():
                        self.add(entry.name, name, _head(file))
            elif entry.suffix == ".txt":
                self.add(entry.stem, "robots.txt", _head(entry))

    def _read_warc(self, path: Path) -> None:
        records = 0
        try:
            for found in read_warc(local_file(path, path.name), Limits()):
                records += isinstance(found, Document)
                if isinstance(found, Document) and found.data is not None:
                    host, name = host_of(found.url), site_file(found.url)
                    if host is not None and name is not None:
                        self.add(host, name, found.data)
        except OSError as error:
            raise InputError(f"rights.site_files: {path}: {error}", "Name WARC files and folders.") from error
        if not records:
            raise InputError(f"rights.site_files: {path}: no WARC file", "Name WARC files and folders.")


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(LARGEST)


def _tdm_rules(data: bytes) -> tuple[tuple[str, bool], ...]:
    """As in [{"location": "/articles/*", "tdm-reservation": 1}], or one such object; what isn't, means nothing. A file
    that goes on beyond LARGEST, of which the beginning alone can't be read, reserves everything. Of two rules for the
    same location the one that reserves counts."""
    try:
        rules: Any = json.loads(data)
    except (ValueError, RecursionError):
        return (("/", True),) if len(data) >= LARGEST and data.lstrip()[:1] in (b"[", b"{") else ()
    found: dict[str, bool] = {}
    for rule in rules if isinstance(rules, list) else [rules]:
        if not isinstance(rule, dict) or not isinstance(location := rule.get("location"), str):
            continue
        reserved = _RESERVED.get(str(rule.get("tdm-reservation")).strip().lower())
        if reserved is not None and (location := location.strip()):
            if location.lower().startswith(("http://", "https://")):
                location = path_of(location)
            pattern = normal_path(location if location[0] in "/*" else f"/{location}")
            found[pattern] = found.get(pattern, False) or reserved
    return tuple(found.items())
