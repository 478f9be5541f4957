"""What a page says of itself: its title, description, author, date, language, address, Open Graph, Twitter card."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from bedplate.data.extract.json_ld import SCRIPTS, json_ld_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resiliparse.parse.html import HTMLTree

_LONGEST = 1000
_MOST_METAS = 500
_OPEN_GRAPH = ("title", "type", "description", "site_name", "locale", "image", "url")
_TWITTER = ("card", "title", "description", "site", "creator")
_AUTHOR = ("author", "article:author", "dc.creator", "dcterms.creator", "parsely-author", "sailthru.author")
_PUBLISHED = (
    *("article:published_time", "datepublished", "date", "dc.date", "dcterms.date", "dcterms.created", "pubdate"),
    *("parsely-pub-date", "sailthru.date", "publish-date", "citation_publication_date"),
)
_SELF = f'meta, {SCRIPTS}, link[rel~="canonical" i]'
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")


@dataclass(frozen=True)
class Tags:
    """The elements by which a page speaks of itself, in their order."""

    metas: list[Any] = field(default_factory=list)
    json_ld: list[Any] = field(default_factory=list)
    canonical: list[Any] = field(default_factory=list)


def tags_of(tree: HTMLTree) -> Tags:
    """Found together: a query goes through the whole page, whatever it asks for."""
    tags = Tags()
    if tree.document is None:
        return tags
    by_name = {"meta": tags.metas, "script": tags.json_ld, "link": tags.canonical}
    # values(): to go through the collection itself takes time by the square of its length.
    for element in tree.document.query_selector_all(_SELF).values():
        by_name[str(element.tag)].append(element)
    return tags


def page_metadata(
    tree: HTMLTree, url: str | None = None, headers: Mapping[str, str] | None = None, tags: Tags | None = None
) -> tuple[str | None, dict[str, Any]]:
    """The title (Open Graph's before the <title>, which often names the site too), and JSON for Document.metadata.

    Keys, each only where the page has it: description, author, published, language (html lang, content-language or the
    header of that name), canonical_url, keywords, open_graph, twitter, json_ld, invalid_json_ld.
    """
    document = tree.document
    if document is None:
        return None, {}
    tags = tags or tags_of(tree)
    metas, json_ld = _metas(tags.metas), json_ld_in(tags.json_ld)
    graph = {key: metas[name] for key in _OPEN_GRAPH if (name := f"og:{key}") in metas}
    card = {key: metas[name] for key in _TWITTER if (name := f"twitter:{key}") in metas}
    found: dict[str, Any] = {
        "description": metas.get("description") or graph.get("description") or json_ld.first("description"),
        "author": _author(metas) or json_ld.first("author") or json_ld.first("creator"),
        "published": next((metas[name] for name in _PUBLISHED if name in metas), None)
        or json_ld.first("datePublished"),
        "language": _language(document, metas, headers or {}),
        "canonical_url": _canonical(tags.canonical, url),
        "keywords": metas.get("keywords") or metas.get("news_keywords"),
        "open_graph": graph,
        "twitter": card,
        "json_ld": json_ld.things,
        "invalid_json_ld": json_ld.invalid,
    }
    title = graph.get("title") or clean(tree.title or "") or json_ld.first("headline")
    return title or None, {key: value for key, value in found.items() if value}


def clean(value: str) -> str:
    """On one line, without what no file can hold, and not without end."""
    return " ".join(value[: 10 * _LONGEST].replace("\0", "").encode("utf-8", "replace").decode().split())[:_LONGEST]


def _metas(elements: Sequence[Any]) -> dict[str, str]:
    """{name, property, itemprop or http-equiv in lower case: content}; the first of a name counts."""
    metas: dict[str, str] = {}
    for element in elements[:_MOST_METAS]:
        content = clean(element.getattr("content") or "")
        if not content:
            continue
        for attribute in ("name", "property", "itemprop", "http-equiv"):
            if name := element.getattr(attribute):
                metas.setdefault(name.strip().lower()[:100], content)
    return metas


def _author(metas: dict[str, str]) -> str | None:
    """Not the address of a profile, which article:author often is."""
    names = (metas[name] for name in _AUTHOR if name in metas)
    return next((name for name in names if not name.startswith(("http:", "https:", "/"))), None)


def _language(document: Any, metas: dict[str, str], headers: Mapping[str, str]) -> str | None:
    root = document.query_selector("html")
    of_root = (root.getattr("lang") or root.getattr("xml:lang") or "") if root is not None else ""
    for said in (of_root, metas.get("content-language", ""), headers.get("content-language", "")):
        first = said.partition(",")[0].strip()
        if _LANGUAGE.fullmatch(first):
            return first.replace("_", "-")
    return None


def _canonical(links: Sequence[Any], url: str | None) -> str | None:
    href = clean(links[0].getattr("href") or "") if links else ""
    if not href:
        return None
    try:
        joined = urljoin(url or "", href)
        return joined if urlsplit(joined).scheme in ("http", "https") else None
    except ValueError:
        return None
