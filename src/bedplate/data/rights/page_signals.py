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
from bedplate.data.rights.config import AGENTS
from bedplate.data.rights.creative_commons import license_by_url
from bedplate.data.rights.directives import LONGEST, Directives, reserves
from bedplate.data.rights.page_license import Reach, own_licenses, where_it_stands
from bedplate.data.rights.robots import refuses_training

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree

_MOST_LINKS = 50
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
_AGENT = re.compile(r"robots?|[a-z0-9_.-]*(?:bot|crawler|spider|-extended|-ai)(?:[-_.][a-z0-9]+)?")
_AGENTS = frozenset(agent.lower() for agent in AGENTS)
_LONGEST_USAGE = 500


@dataclass
class PageSignals:
    """All of it optional. Agents' names and directives are in lower case; "*" is every agent."""

    licenses: dict[str, str] = field(default_factory=dict)
    """{SPDX identifier: where it stands}: of the page as a whole ("rel-license", "footer", "notice", "meta")."""
    mentions: tuple[str, ...] = ()
    """Licences that the page links to in its text or for one picture: not its own."""
    robots: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """{agent: words} of <meta name=robots> or another agent's name, and of <meta http-equiv=X-Robots-Tag>."""
    x_robots: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """{agent: words} of the X-Robots-Tag header."""
    tdm_reservation: bool | None = None
    """TDMRep (W3C Community Group report, 2024): True where any of the page's <meta>s or the header reserves."""
    content_usage: str | None = None
    """The Content-Usage header (draft-ietf-aipref-attach) as it stands, or of a long one what it refuses."""

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
    def from_metadata(cls, values: object) -> PageSignals:
        """The inverse of `as_metadata`. What isn't of that shape, as a record may bring it along, says nothing."""
        if not isinstance(values, Mapping):
            return cls()
        licenses, mentions, usage = values.get("licenses"), values.get("mentions"), values.get("content_usage")
        reserved = values.get("tdm_reservation")
        return cls(
            licenses={str(name): str(where) for name, where in licenses.items()} if isinstance(licenses, dict) else {},
            mentions=_strings(mentions),
            robots=_by_agent(values.get("robots")),
            x_robots=_by_agent(values.get("x_robots")),
            tdm_reservation=reserved if isinstance(reserved, bool) else None,
            content_usage=usage if isinstance(usage, str) else None,
        )


def _strings(value: object) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list | tuple) else ()


def _by_agent(value: object) -> dict[str, tuple[str, ...]]:
    return {str(agent): _strings(said) for agent, said in value.items()} if isinstance(value, dict) else {}


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
    robots = Directives()
    for meta in metas:
        _read_meta(meta, signals, robots)
    signals.robots = robots.all()
    for thing in json_ld:
        for name in own_licenses(thing):
            _add(signals, name, "meta")
    reach = Reach()
    for link in document.query_selector_all(_LINKS).values()[:_MOST_LINKS]:
        found = license_by_url(link.getattr("href") or "")
        if found is not None and (where := where_it_stands(link, reach)) is not None:
            _add(signals, found, where)
        elif found is not None and found not in signals.mentions:
            signals.mentions += (found,)
    signals.mentions = tuple(name for name in signals.mentions if name not in signals.licenses)
    return signals


def header_signals(headers: Mapping[str, str]) -> PageSignals:
    """What the HTTP headers say; names in lower case."""
    signals = PageSignals()
    robots = Directives()
    robots.header(headers.get("x-robots-tag", ""))
    signals.x_robots = robots.all()
    signals.tdm_reservation = reserves(headers.get("tdm-reservation", ""))
    if usage := headers.get("content-usage"):
        refused = len(usage) > LONGEST or refuses_training(usage)
        short = usage[:_LONGEST_USAGE]
        signals.content_usage = "train-ai=n" if refused and not refuses_training(short) else short
    return signals


def _read_meta(meta: Any, signals: PageSignals, robots: Directives) -> None:
    content = meta.getattr("content")
    if not content:
        return
    if (meta.getattr("http-equiv") or "").strip().lower() == "x-robots-tag":
        robots.header(content)
    name = (meta.getattr("name") or meta.getattr("property") or "").strip().lower()[:100]
    if name == "tdm-reservation":
        said = reserves(content)
        signals.tdm_reservation = signals.tdm_reservation or said if said is not None else signals.tdm_reservation
    elif name in _META_NAMES:
        _add(signals, license_by_url(content), "meta")
    elif name == "x-robots-tag":
        robots.header(content)
    elif name in _AGENTS or _AGENT.fullmatch(name):
        robots.meta("*" if name in ("robots", "robot") else name, content)
    elif name and {"noai", "noimageai"} & set(re.split(r"[,;\s]+", content[:LONGEST].lower())):
        robots.meta(name, content)  # any name may be an agent's


def _add(signals: PageSignals, name: str | None, where: str) -> None:
    if name is not None:
        signals.licenses.setdefault(name, where)
