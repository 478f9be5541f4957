"""`Takedown`: lists of what is to be left out or removed, by URL, domain, hash, id or owner; millions of entries.

One format in three spellings, plain or gzipped:

- lines `url=https://a.org/x`, `domain=a.org`, `sha256=...`, `id=...`, `owner=Jane Doe`; empty ones and # don't count;
- CSV (.csv) whose header names any of these columns;
- JSON Lines (.jsonl) whose objects have any of these keys.

Of a row with several of them, each matches by itself. A URL that ends in `/*` matches that place and all below it;
`www.a.org` and `a.org` are two hosts to `url=`, and `domain=a.org` is both. An owner is compared with the names of
authors and creators.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bedplate.data.corpus import identity
from bedplate.data.documents import Document
from bedplate.data.rights.config import RightsConfig
from bedplate.data.rights.entries import HASHES, KINDS, Kind, entry, names_in, normal_url, owners_of, places_above
from bedplate.data.rights.hosts import ascii_host, host_of, suffixes
from bedplate.data.rights.lists import halves, read_list

LATE_STAGE = "takedown_lists"


class Takedown:
    """Entries are held as 64-bit hashes, 8 bytes each: of a billion documents, a list of a million entries takes out
    one too many with a probability of 0.00005."""

    def __init__(self, entries: Iterable[tuple[Kind, str]]) -> None:
        """From (kind, value) pairs, which `entry` has checked."""
        hashes = array("Q")
        kinds: set[str] = set()
        for kind, value in entries:
            kinds.add("below" if value.endswith("/*") and kind == "url" else kind)
            hashes.append(_hash(kind, value))
        self._kinds = frozenset(kinds)
        self._hashes: npt.NDArray[np.uint64] = np.unique(np.frombuffer(hashes, dtype=np.uint64))

    @classmethod
    def read(cls, paths: Iterable[str], *, bare: Kind | None = None, kinds: Set[str] = frozenset(KINDS)) -> Takedown:
        """From files. `bare`: what a line without `kind=` is; `kinds`: the entries that are taken. Raises InputError,
        naming file and line."""
        return cls(found for path in paths for found in read_list(Path(path), bare) if found[0] in kinds)

    @classmethod
    def of(cls, matches: Iterable[str]) -> Takedown:
        """From `domain=a.org` and its like, as on a command line. Raises InputError."""
        return cls(entry(*halves(match, f"--match {match}", None), f"--match {match}") for match in matches)

    def __len__(self) -> int:
        return len(self._hashes)

    def matches(
        self,
        *,
        url: str | None = None,
        domain: str | None = None,
        sha256: str | None = None,
        id: str | None = None,
        owner: str | Iterable[str] | None = None,
    ) -> str | None:
        """The entry that matches what is known of a document, as `domain=a.org`; None where none does.

        `domain` is needed only where there is no URL; `owner` is a line that names authors, or several. An entry `id`
        also matches by the beginning of the text's hash.
        """
        for kind, value in self._asked(url, domain, sha256, id, owner):
            if self._has(_hash(kind, value)):
                return f"{kind}={value}"
        return None

    def match(self, document: Document) -> str | None:
        """The entry that matches a document by its URL, its text's or its record's hash, its id as it would be in a
        corpus or was in one, or who wrote it."""
        digest = name = None
        if self._kinds & HASHES.keys() and document.text is not None:
            digest = hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).hexdigest()
            name = identity(digest, _picture(document))
        owners = owners_of(document.metadata) if "owner" in self._kinds else None
        found = self.matches(url=document.url, sha256=digest, id=name, owner=owners)
        if found is None and document.record_sha256:
            found = self.matches(sha256=document.record_sha256)
        if found is None and (carried := document.columns.get("id")):
            found = self.matches(id=str(carried))
        return found

    def _asked(
        self,
        url: str | None,
        domain: str | None,
        sha256: str | None,
        id: str | None,
        owner: str | Iterable[str] | None,
    ) -> Iterator[tuple[Kind, str]]:
        kinds = self._kinds
        if url and kinds & {"url", "below"} and (normal := normal_url(url)) is not None:
            if "url" in kinds:
                yield "url", normal
            if "below" in kinds:
                for place in places_above(normal):
                    yield "url", place
        if "domain" in kinds and (host := host_of(url) or (ascii_host(domain) if domain else None)):
            for suffix in suffixes(host):
                yield "domain", suffix
        if "sha256" in kinds and sha256:
            yield "sha256", sha256.lower()
        if "id" in kinds and (id or sha256):
            yield "id", (id or sha256 or "").lower()[:24]
        if "owner" in kinds and owner:
            for name in names_in(owner):
                yield "owner", name

    def _has(self, value: int) -> bool:
        place = int(np.searchsorted(self._hashes, np.uint64(value)))
        return place < len(self._hashes) and int(self._hashes[place]) == value


class LateTakedown:
    """The step that looks at hashes and ids again when texts are as a corpus has them: `rights` comes before personal
    data is masked, and a corpus publishes the ids of what came after. The lists' reasons are those of `rights`."""

    name = LATE_STAGE
    columns: Mapping[str, str] = {}

    def __init__(self, lists: Iterable[tuple[str, Takedown]]) -> None:
        """lists: (reason, entries), in the order in which they are asked."""
        self._lists = [(reason, entries) for reason, entries in lists if len(entries)]

    def __bool__(self) -> bool:
        return bool(self._lists)

    def __call__(self, documents: list[Document]) -> None:
        """Drops what a list names."""
        for document in documents:
            for reason, entries in self._lists:
                if (found := entries.match(document)) is not None:
                    document.drop(LATE_STAGE, reason, found)
                    break


def late_step(config: RightsConfig) -> LateTakedown | None:
    """To come after the last step that changes texts; None where no list has a hash or an id. Raises InputError for
    lists that are missing or wrong."""
    kinds = HASHES.keys()
    found = LateTakedown(
        (
            ("taken_down", Takedown.read(config.taken_down, kinds=kinds)),
            ("opted_out", Takedown.read(config.opted_out, kinds=kinds)),
            ("blocked", Takedown.read(config.blocked, bare="domain", kinds=kinds)),
        )
    )
    return found or None


def _picture(document: Document) -> str | None:
    """The hash of its picture; what came out of a corpus may have it as a column alone."""
    known = document.metadata.get("picture") if document.images else None
    found = known.get("sha256") if isinstance(known, dict) else document.columns.get("picture")
    return None if found is None else str(found)


def _hash(kind: str, value: str) -> int:
    data = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
