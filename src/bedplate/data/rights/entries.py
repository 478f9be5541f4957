"""Entries of lists of what is to be left out, in their normal spelling: addresses, domains, hashes, ids, owners."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from bedplate.data.rights.hosts import ascii_host, host_of
from bedplate.data.rights.robots import path_of
from bedplate.errors import InputError

Kind = Literal["url", "domain", "sha256", "id", "owner"]
KINDS: tuple[Kind, ...] = get_args(Kind)
HASHES = {"sha256": re.compile(r"[0-9a-f]{64}"), "id": re.compile(r"[0-9a-f]{24}")}
FORMAT = "Write url=..., domain=..., sha256=..., id=... or owner=..."

_OWNER_FIELDS = ("author", "authors", "creator", "creators", "dc.creator", "copyright_holder", "copyrightHolder")
_OF_THINGS = ("author", "creator", "copyrightHolder")
_BETWEEN = re.compile(r"\s*(?:;|\||&|\n|\b(?:and|und|et)\b)\s*")
_MOST_NAMES = 200


def entry(kind: str, value: str, where: str) -> tuple[Kind, str]:
    """A checked entry in its normal spelling. Raises InputError, naming `where`, for what could never match."""
    value = value.strip()
    problem = ""
    normal: str | None = None
    if kind == "url":
        below = value.endswith("/*")
        normal = normal_url(value.removesuffix("*") if below else value)
        normal = f"{normal.removesuffix('/')}/*" if below and normal else normal
        problem = f"{value!r} is no http or https address"
    elif kind == "domain":
        normal = ascii_host(value.removeprefix("*.").removeprefix("."))
        problem = f"{value!r} is no domain"
    elif kind in HASHES:
        normal = value.lower() if HASHES[kind].fullmatch(value.lower()) else None
        problem = f"{value[:80]!r} isn't {64 if kind == 'sha256' else 24} hexadecimal digits"
    elif kind == "owner":
        normal, problem = owner_name(value) or None, "an owner without a name"
    else:
        problem = f"{kind!r} is nothing to match by"
    if normal is None:
        raise InputError(f"{where}: {problem}", "Write a domain: example.org." if kind == "domain" else FORMAT)
    for known in KINDS:
        if known == kind:
            return known, normal
    raise AssertionError(kind)


def normal_url(url: str) -> str | None:
    """Host, path and query (RFC 3986, 6.2.2): http and https are one, and so are any ports; no fragment, dots resolved,
    escapes normalised, no slash at the end of the path. `www.` stays: it may be another site."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return None
    host = host_of(url.strip())
    if not host or parts.scheme.lower() not in ("http", "https"):
        return None
    path, mark, query = path_of(url.strip()).partition("?")
    return f"{host}{_resolved(path).rstrip('/') or '/'}{mark}{query}"


def places_above(normal: str) -> Iterator[str]:
    """What an entry may be that ends in `/*` and matches a normal URL: "a.org/*", "a.org/x/*" of a.org/x?y."""
    bare = normal.partition("?")[0].rstrip("/")
    for found in re.finditer("/", bare):
        yield f"{bare[: found.start()]}/*"
    yield f"{bare}/*"


def owner_name(name: str) -> str:
    """In one spelling: compatible forms, no case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).split())


def owners_of(metadata: Mapping[str, Any]) -> list[str]:
    """The names of those who wrote a document, as its metadata has them: authors and creators, one or a list, and those
    of its JSON-LD."""
    found: list[str] = []
    for field in _OWNER_FIELDS:
        found += _strings(metadata.get(field))
    things = metadata.get("json_ld")
    for thing in things if isinstance(things, list) else ():
        if isinstance(thing, Mapping):
            for field in _OF_THINGS:
                found += _strings(thing.get(field))
    return list(dict.fromkeys(found))[:_MOST_NAMES]


def names_in(owners: str | Iterable[str]) -> Iterator[str]:
    """The normal names in authors' lines: each line whole, and its parts: "Jane Doe and John Roe", "by Jane Doe". At
    commas only where every part has two words: "Doe, Jane" is one."""
    for line in [owners] if isinstance(owners, str) else owners:
        name = owner_name(line).removeprefix("by ")
        seen = {name: None}
        for part in _BETWEEN.split(name):
            seen.setdefault(part.removeprefix("by "))
            pieces = [piece.strip() for piece in part.split(",")]
            if all(" " in piece for piece in pieces):
                seen.update(dict.fromkeys(pieces))
        yield from (one for one in seen if one)


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return _strings(value.get("name"))
    if isinstance(value, list):
        return [name for item in value[:_MOST_NAMES] if not isinstance(item, list) for name in _strings(item)]
    return []


def _resolved(path: str) -> str:
    """Without `.` and `..`, as RFC 3986, 5.2.4, takes them out."""
    if "/." not in path:
        return path
    kept: list[str] = []
    for part in path.split("/")[1:]:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    slash = "/" if path.endswith(("/.", "/..")) else ""
    return f"/{'/'.join(kept)}{slash}"
