"""Mending text that went through a wrong decoding: "donâ€™t" is "don’t" again. By ftfy, where there is harm."""

from __future__ import annotations

import re
from collections.abc import Callable

from bedplate.data.extra import require

_HARMLESS = frozenset(map(chr, range(0x80))) | frozenset("\xa0©®™°·–—―‘’“”•…€′″→✓")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_NEAR = 8
_FEW = 20
_PLAIN = bytes(code for code in range(0x80) if not _CONTROL.match(chr(code)))


def repairer() -> Callable[[str], str]:
    """A function from a text to the text mended.

    Only wrong decodings, control characters, terminal escapes and halves of surrogate pairs are touched: quotes,
    ligatures, wide characters, entities and line ends stay as the author set them. Text without a sign of harm isn't
    worked on at all.
    """
    ftfy = require("ftfy", "extract.repair")
    signs = require("ftfy.badness", "extract.repair").BADNESS_RE
    how = ftfy.TextFixerConfig(
        unescape_html=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        normalization=None,
    )

    def repair(text: str) -> str:
        odd = _odd(text)
        if odd and (_CONTROL.search(odd) or (not _HARMLESS.issuperset(odd) and _bears(text, odd, signs))):
            fixed: str = ftfy.fix_text(text, how)
            return fixed
        return text

    return repair


def _odd(text: str) -> str:
    """The characters that aren't ASCII or that control something. By way of bytes, which are the fastest to go through:
    most texts have next to none."""
    return text.encode("utf-8", "surrogatepass").translate(None, _PLAIN).decode("utf-8", "surrogatepass")


def _bears(text: str, odd: str, signs: re.Pattern[str]) -> bool:
    """Whether the text bears one of the signs of harm. Each of these is some character beyond ASCII with at most a few
    others around, so where there are few, it is enough to look near them."""
    if len(odd) * _FEW > len(text):
        return signs.search(text) is not None
    return any(
        signs.search(text, max(0, found.start() - _NEAR), found.end() + _NEAR) is not None
        for found in _BEYOND_ASCII.finditer(text)
    )
