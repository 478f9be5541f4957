"""What a page and its headers say of rights: licences that it links to, and whether its text may be used for training.

Found while the page is still there, kept as JSON in `Document.metadata["rights"]`, judged by the rights step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bedplate.data.extra import require
from bedplate.data.extract.json_ld import json_ld_of
from bedplate.data.rights.creative_commons import license_by_url

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree

_MOST_LINKS = 50
_MOST_METAS = 500
_HIGHEST = 12
_DIRECTIVES = frozenset({"noai", "noimageai", "noindex", "none", "noarchive", "nosnippet", "notranslate", "nofollow"})
_LINKS = (
    'a[href*="creativecommons.org/"], [rel~="license" i][href], '
    '[property$="license" i][href], [itemprop="license" i][href]'
)
_META_NAMES = frozenset(
    {
        "license",
        "dc.rights",
        "dcterms.license",
        "dcterms.rights",
        "dc.rights.license",
        "cc:license",
        "rights",
        "copyright",
    }
)
_SET_APART = re.compile(r"foot|licen[sc]e|copyright|colophon|rights|creativecommons|\bcc\b", re.IGNORECASE)
_OF_A_PICTURE = frozenset({"figure", "figcaption", "picture"})
_GRANTS = re.compile(
    r"(?i)(?:(?:is|are|available|published|released|shared|licensed|distributed)\b[^.]{0,80}\b(?:under|licen[sc]ed?)\b"
    r"|except where otherwise noted|unless otherwise (?:noted|stated|specified)|lizenziert|steht unter|sous licence"
    r"|bajo (?:una )?licencia|sob (?:a )?licença|con licenza|под лицензией)"
)
_LONGEST_NOTICE = 300


@dataclass
class PageSignals:
    """All of it optional. Agents' names and directives are in lower case; "*" is every agent."""

    licenses: dict[str, str] = field(default_factory=dict)
    """{SPDX identifier: where it stands}: of the page as a whole ("rel-license", "footer", "notice", "meta")."""
    mentions: tuple[str, ...] = ()
    """Licences that the page links to in its text or for one picture: not its own."""
    robots: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """{agent: directives} of <meta name=robots> or another agent's name."""
    x_robots: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """{agent: directives} of the X-Robots-Tag header."""
    tdm_reservation: bool | None = None
    """TDMRep (W3C Community Group report, 2024): the page's <meta>, or else the header."""
    content_usage: str | None = None
    """The Content-Usage header (draft-ietf-aipref-attach) as it stands."""

    def as_metadata(self) -> dict[str, Any]:
        """JSON of what there is."""
        values: dict[str, Any] = {
            "licenses": self.licenses,
            "mentions": list(self.mentions),
            "robots": {agent: list(said) for agent, said in self.robots.items()},
            "x_robots": {agent: list(said) for agent, said in self.x_robots.items()},
            "tdm_reservation": self.tdm_reservation,
            "content_usage": self.content_usage,
        }
        return {name: value for name, value in values.items() if value not in (None, {}, [])}

    @classmethod
    def from_metadata(cls, values: Mapping[str, Any] | None) -> PageSignals:
        """The inverse of `as_metadata`."""
        values = values or {}
        return cls(
            licenses=dict(values.get("licenses", {})),
            mentions=tuple(values.get("mentions", ())),
            robots={agent: tuple(said) for agent, said in values.get("robots", {}).items()},
            x_robots={agent: tuple(said) for agent, said in values.get("x_robots", {}).items()},
            tdm_reservation=values.get("tdm_reservation"),
            content_usage=values.get("content_usage"),
        )


def page_signals(page: str | bytes, headers: Mapping[str, str] | None = None) -> PageSignals:
    """The signals of a page that isn't parsed yet; bytes count as UTF-8. Header names are in lower case."""
    text = page.decode("utf-8", "replace") if isinstance(page, bytes) else page
    tree: HTMLTree = require("resiliparse.parse.html", "an HTML page").HTMLTree.parse(text)
    return signals_of(tree, headers or {}, json_ld_of(tree).things)


def signals_of(
    tree: HTMLTree,
    headers: Mapping[str, str],
    json_ld: Iterable[Mapping[str, Any]] = (),
    metas: Sequence[Any] | None = None,
) -> PageSignals:
    """The signals of a parsed page, with what its JSON-LD says where that has been read, and of its headers.

    metas: its <meta> elements, where they have been found already.
    """
    signals = header_signals(headers)
    document = tree.document
    if document is None:
        return signals
    # values(): to go through the collection itself takes time by the square of its length.
    metas = document.query_selector_all("meta").values() if metas is None else metas
    for meta in metas[:_MOST_METAS]:
        _read_meta(meta, signals)
    for thing in json_ld:
        if isinstance(url := thing.get("license"), str) and "Object" not in str(thing.get("@type")):
            _add(signals, license_by_url(url), "meta")
    for link in document.query_selector_all(_LINKS).values()[:_MOST_LINKS]:
        name = license_by_url(link.getattr("href") or "")
        if name is not None and (where := _where(link)) is not None:
            _add(signals, name, where)
        elif name is not None and name not in signals.mentions:
            signals.mentions += (name,)
    signals.mentions = tuple(name for name in signals.mentions if name not in signals.licenses)
    return signals


def header_signals(headers: Mapping[str, str]) -> PageSignals:
    """What the HTTP headers say; names in lower case."""
    signals = PageSignals()
    if said := headers.get("x-robots-tag"):
        signals.x_robots = _x_robots(said[:2000])
    if (reserved := headers.get("tdm-reservation", "").strip()) in ("0", "1"):
        signals.tdm_reservation = reserved == "1"
    if usage := headers.get("content-usage"):
        signals.content_usage = usage[:500]
    return signals


def _read_meta(meta: Any, signals: PageSignals) -> None:
    name = (meta.getattr("name") or meta.getattr("property") or "").strip().lower()[:100]
    content = (meta.getattr("content") or "")[:1000]
    if not name or not content:
        return
    if name == "tdm-reservation" and content.strip() in ("0", "1"):
        signals.tdm_reservation = content.strip() == "1"
    elif name in _META_NAMES:
        _add(signals, license_by_url(content), "meta")
    elif (said := _directives(content)) and (name == "robots" or {"noai", "noimageai"} & set(said)):
        # Any name may be an agent's; "none" and its like may be the content of others too.
        agent = "*" if name == "robots" else name
        signals.robots[agent] = tuple(dict.fromkeys(signals.robots.get(agent, ()) + said))


def _directives(content: str) -> tuple[str, ...]:
    return tuple(word for part in content.lower().split(",") if (word := part.strip()) in _DIRECTIVES)


def _x_robots(value: str) -> dict[str, tuple[str, ...]]:
    """As in `noai, gptbot: noindex, nofollow`: an agent's name holds until the next."""
    found: dict[str, tuple[str, ...]] = {}
    agent = "*"
    for part in value.lower().split(","):
        name, colon, rest = part.partition(":")
        if colon and name.strip() not in ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"):
            agent, part = name.strip(), rest
        if said := _directives(part):
            found[agent] = found.get(agent, ()) + said
    return found


def _add(signals: PageSignals, name: str | None, where: str) -> None:
    if name is not None:
        signals.licenses.setdefault(name, where)


def _where(link: Any) -> str | None:
    """Where a link to a licence stands, if a page states its own there; None in running text or by a picture."""
    rel = (link.getattr("rel") or "").lower().split()
    notice = False
    node = link
    for height in range(_HIGHEST):
        node = node.parent if height else link
        if node is None or node.tag is None:
            break
        if node.tag in _OF_A_PICTURE:
            return None
        named = f"{node.getattr('id') or ''} {node.getattr('class') or ''}" if node.tag not in ("html", "body") else ""
        if node.tag == "footer" or _SET_APART.search(named[:300]):
            return "rel-license" if "license" in rel else "footer"
        if 1 <= height <= 2 and not notice:
            text = node.text_content or ""
            notice = len(text) <= _LONGEST_NOTICE and bool(_GRANTS.search(text))
        if node.tag in ("article", "main", "body"):
            break
    if "license" in rel or "license" in f"{link.getattr('property') or ''}{link.getattr('itemprop') or ''}".lower():
        return "rel-license"
    return "notice" if notice else None
