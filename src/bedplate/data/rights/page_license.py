"""Whether a licence that a page links to, or describes, is the page's own: where it stands, and what is said of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bedplate.data.rights.creative_commons import license_by_url

_HIGHEST = 200
_SET_APART_NAMES = """
footer site-footer page-footer main-footer copyright license licence legal colophon copyright-notice
license-notice licence-notice cc-license creative-commons
"""
_SET_APART = frozenset(_SET_APART_NAMES.split())
"""Whole class names and ids of the part in which pages state their own licence."""
_OF_OTHERS_NAMES = """
comment comments commentlist disqus footnote footnotes endnotes reference references reflist bibliography
caption captions figcaption gallery credit credits thumb thumbnail related quote blockquote embed
"""
_OF_OTHERS = frozenset(_OF_OTHERS_NAMES.split())
"""Words of class names and ids of what others wrote, or of what is about one picture or source."""
_TAGS_OF_OTHERS = frozenset({"figure", "figcaption", "picture", "blockquote", "q"})
_GRANTS = re.compile(
    r"(?i)(?:(?:is|are|available|published|released|shared|licensed|distributed)\b[^.]{0,80}\b(?:under|licen[sc]ed?)\b"
    r"|except where otherwise noted|unless otherwise (?:noted|stated|specified)|lizenziert|steht unter|sous licence"
    r"|bajo (?:una )?licencia|sob (?:a )?licença|con licenza|под лицензией)"
)
_DENIES = re.compile(
    r"(?i)all rights reserved|alle rechte vorbehalten|tous droits réservés|todos los derechos reservados"
    r"|todos os direitos reservados|tutti i diritti riservati|все права защищены"
    r"|(?:\bnot\b(?! (?:otherwise|noted|stated|specified|indicated|marked))|n[\u2019']t\b|\bnever\b"
    r"|\bnicht\b(?!(?: anders|[- ]?kommerz))|\bkeine?\w?\b(?! (?:bearbeitung|kommerz))"
    r"|\bn[oã]o?\b(?![- ]?(?:deriv|commerc|comerc|additional))|\bnon\b(?![- ]?(?:commerc|profit|opere|deriv|exclus))"
    r"|\bpas\b(?! (?:de modif|d[\u2019']utili))|\bне\b)[^.!?]{0,60}"
    r"(?:licen[sc]|lizen[sz]|лиценз|\bunder\b|\bavailable\b|\breleased\b|\bpublished\b|\bcovered\b)"
)
_OF_A_PART = re.compile(
    r"(?i)\b(?:photo\w*|images?|pictures?|icons?|illustrations?|figures?|fonts?|logos?|videos?|music|audio|sounds?|maps?"
    r"|artwork|graphics?|themes?|templates?|screenshots?|banner|header image|portions?|parts? of|third[- ]part\w+"
    r"|(?:source )?code|software|data ?sets?|data|fotos?|bild\w*|abbildung\w*|symbole?|im[aá]gen\w*|immagin\w*|imagens?"
    r"|icônes?|фото\w*|изображени\w*)\b"
)
_OF_THE_TEXT = re.compile(r"(?i)\b(?:texts?|contents?|contenus?|inhalte?|texte|contenidos?|conteúdos?|contenut\w)\b")
_LONGEST_NOTICE = 300
_LONGEST_PART = 5000
_OWN_TYPES_NAMES = """
CreativeWork WebSite Blog WebPage AboutPage CollectionPage ContactPage FAQPage ItemPage ProfilePage QAPage
MedicalWebPage Article AdvertiserContentArticle NewsArticle AnalysisNewsArticle AskPublicNewsArticle
BackgroundNewsArticle OpinionNewsArticle ReportageNewsArticle ReviewNewsArticle Report SatiricalArticle
ScholarlyArticle MedicalScholarlyArticle SocialMediaPosting BlogPosting LiveBlogPosting DiscussionForumPosting
TechArticle APIReference
"""
_OWN_TYPES = frozenset(_OWN_TYPES_NAMES.split())
"""schema.org's types of pages and texts: a Photograph, a Dataset or a VideoObject isn't what the page says."""


class Reach:
    """How much text of a page may still be looked at for notices: without end, links in long elements would take time
    by the square of the page's length. What lies beyond grants nothing."""

    def __init__(self, characters: int = 5_000_000) -> None:
        self._left = characters

    def text(self, node: Any) -> str | None:
        """The text of an element, or None where there's none left to look at."""
        if self._left <= 0:
            return None
        text: str = node.text_content or ""
        self._left -= len(text) + 100
        return " ".join(text.split()) if len(text) <= 4 * _LONGEST_PART else text


def own_licenses(thing: Mapping[str, Any]) -> Iterator[str]:
    """The licences that a thing of a page's JSON-LD has, where it is the page, its article or a work without a nearer
    kind."""
    kinds = thing.get("@type")
    names = {
        str(kind).rpartition("/")[2].rpartition(":")[2] for kind in (kinds if isinstance(kinds, list) else [kinds])
    }
    if names <= _OWN_TYPES:
        said = thing.get("license")
        for url in said if isinstance(said, list) else [said]:
            if isinstance(url, str) and (name := license_by_url(url)) is not None:
                yield name


def where_it_stands(link: Any, reach: Reach) -> str | None:
    """For a link by which a page states its own licence "footer", "rel-license" or "notice".

    None for one in running text, in what others wrote, about a picture or another part, and where all rights are
    reserved beside it.
    """
    above = _ancestors(link)
    if above is None or any(_of_others(node) for node in above):
        return None
    declared = "license" in (link.getattr("rel") or "").lower().split()
    said = f"{link.getattr('property') or ''} {link.getattr('itemprop') or ''}".lower()
    if link.tag in ("link", "meta"):
        return "rel-license" if declared or "license" in said else None
    apart = next((node for node in _within_its_part(above) if _is_set_apart(node)), None)
    notice = False
    for node in above[1:3]:
        if node.tag in ("html", "body", "main", "article"):
            break
        text = reach.text(node)
        if text is None or (len(text) <= 3 * _LONGEST_NOTICE and _is_denied(text)):
            return None
        notice = notice or (len(text) <= _LONGEST_NOTICE and bool(_GRANTS.search(text)))
    if apart is not None:
        text = reach.text(apart)
        if text is None or (len(text) <= _LONGEST_PART and _DENIES.search(text)):
            return None
        return "rel-license" if declared else "footer"
    if declared or "license" in said:
        return "rel-license"
    return "notice" if notice else None


def _ancestors(link: Any) -> list[Any] | None:
    """The element and what it is in, up to the root; None where that is further than pages nest."""
    above: list[Any] = []
    node = link
    while node is not None and node.tag is not None and not node.tag.startswith("#"):
        if len(above) == _HIGHEST:
            return None
        above.append(node)
        node = node.parent
    return above


def _within_its_part(above: list[Any]) -> Iterator[Any]:
    for node in above:
        if node.tag in ("html", "body"):
            return
        yield node
        if node.tag in ("article", "main"):
            return


def _names(node: Any) -> list[str]:
    if node.tag in ("html", "body"):
        return []
    return f"{node.getattr('id') or ''} {node.getattr('class') or ''}".lower()[:2000].split()


def _is_set_apart(node: Any) -> bool:
    return node.tag == "footer" or not _SET_APART.isdisjoint(_names(node))


def _of_others(node: Any) -> bool:
    if node.tag in _TAGS_OF_OTHERS:
        return True
    return any(not _OF_OTHERS.isdisjoint(re.split(r"[-_]+", name)) for name in _names(node))


def _is_denied(text: str) -> bool:
    """Whether a sentence or two take a licence back, or speak of something else that has it."""
    return bool(_DENIES.search(text)) or (bool(_OF_A_PART.search(text)) and not _OF_THE_TEXT.search(text))
