"""Clearing away what stands around a page's main text and isn't of it: lines of links, calls to share or subscribe,
notices, forms to comment, stubs.

After resiliparse's own choice of the main content, which goes by elements and their classes; this goes by the words and
links of each block. Rules of the kind in Kohlschuetter et al. 2010 (doi 10.1145/1718487.1718542): link density, number
of words, and where among the others a block stands.
"""

from __future__ import annotations

import re

from bedplate.data.extract.blocks import Block

_MOSTLY_LINKS = 0.5
_SHORT_OF_LINKS = 30
_SHORTEST_SENTENCE = 8
_LONGEST_NOTICE = 40
_STUB = 8
_LONGEST_ENDING = 12
_SENTENCE_ENDS = re.compile(r"[.!?…:;。！？][\"'”’»)\]]*\W{0,3}$")

_NOTICE = re.compile(
    r"""\W*(?:
      (?:your\ e-?mail\ address\ will\ not|required\ fields|this\ (?:web)?site\ uses)
    | (?:we\ use\ cookies|by\ continuing\ to\ use)
    | (?:all\ rights\ reserved|copyright\ (?:©|\(c\)|\d{4})|©|please\ (?:enable|log\ in|sign\ in)|notify\ me\ of)
    | save\ my\ name
    | (?:share|tweet|pin\ it|print|follow\ us|sign\ up|subscribe|newsletter|get\ the\ latest)\b.{0,120}$
    | (?:read|see|you\ (?:may|might))\ (?:also|more|next)\b.{0,120}$
    | (?:related|more\ (?:from|in|on|stories)|recommended|continue\ reading|click\ here|must\ read|trending)\b.{0,120}$
    | (?:advert(?:isement)?s?|sponsored(?:\ (?:links|content))?|publicidade?|anzeige|werbung|publicité|реклама)\W*$
    | (?:image|photo|slide)\ \d+\ of\ \d+
    | (?:filed\ under|tags?|posted\ (?:on|in|by)|tagged|categories)\b:?.{0,80}$
    | (?:close|caption|loading|reply|comments?|shares?|by|menu|search|skip\ to\ \w+)\W*$
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_COMMENTS = re.compile(
    r"""\W*(?:(?:leave|post|write|add)\ (?:a\ |your\ )?(?:comment|reply)|(?:\d+\ )?(?:comments?|replies|responses?)
    |join\ the\ (?:discussion|conversation)|kommentare?|commentaires?|comentarios?|comentários?|deixe\ uma\ resposta
    |schreibe\ einen\ kommentar|laisser\ un\ commentaire|deja\ una\ respuesta|комментарии)\W*$""",
    re.IGNORECASE | re.VERBOSE,
)


def without_boilerplate(blocks: list[Block], *, comments: bool = False) -> list[Block]:
    """The blocks of the main text. Never empty unless `blocks` is: where no rule leaves anything, all are returned."""
    kept = blocks if comments else _up_to_comments(blocks)
    kept = [block for block in kept if not _is_notice(block)]
    kept = _without_links(kept)
    kept = _without_edges(kept)
    kept = [block for block in kept if block.kind != "bare" or block.words >= _STUB or _is_sentence(block)]
    while kept and kept[-1].kind == "heading":
        kept.pop()
    return kept or blocks


def _up_to_comments(blocks: list[Block]) -> list[Block]:
    """Comments stand below: a heading or line that announces them, beyond the first third, ends the text."""
    for place, block in enumerate(blocks):
        if place and place >= len(blocks) * 0.3 and block.words <= 6 and _COMMENTS.match(block.text):
            return blocks[:place]
    return blocks


def _is_notice(block: Block) -> bool:
    return block.kind not in ("code", "table") and block.words < _LONGEST_NOTICE and bool(_NOTICE.match(block.text))


def _without_links(blocks: list[Block]) -> list[Block]:
    """Without short blocks that are mostly links, save a single one within the text."""

    def linked(place: int) -> bool:
        return 0 <= place < len(blocks) and blocks[place].linked > _MOSTLY_LINKS

    return [
        block
        for place, block in enumerate(blocks)
        if not linked(place)
        or block.kind == "heading"
        or block.words >= _SHORT_OF_LINKS
        or (block.kind == "paragraph" and not (linked(place - 1) or linked(place + 1) or place in (0, len(blocks) - 1)))
    ]


def _without_edges(blocks: list[Block]) -> list[Block]:
    """Before the first sentence only headings, lead paragraphs, tables, code; after the last no headings and stubs."""
    sentences = [place for place, block in enumerate(blocks) if _is_text(block)]
    if not sentences:
        return blocks
    first, last = sentences[0], sentences[-1]
    head = [
        block
        for block in blocks[:first]
        if block.kind in ("heading", "table", "code")
        or (block.kind == "paragraph" and block.linked < 0.3 and block.words > 4)
    ]
    tail = [
        block
        for block in blocks[last + 1 :]
        if block.kind in ("table", "code")
        or (block.kind in ("paragraph", "list") and block.linked < 0.3 and block.words > 2)
    ]
    return head + blocks[first : last + 1] + tail


def _is_text(block: Block) -> bool:
    return (
        block.kind in ("paragraph", "list", "bare")
        and block.words >= _SHORTEST_SENTENCE
        and block.linked < _MOSTLY_LINKS
        and _is_sentence(block)
    )


def _is_sentence(block: Block) -> bool:
    return bool(_SENTENCE_ENDS.search(block.lines[-1][-_LONGEST_ENDING:]))
