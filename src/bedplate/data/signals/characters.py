"""What every Unicode character is, as bits in one table."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

WORD = 1
"""Letters, digits, what combines with them, and the underscore."""
SPACE = 2
LETTER = 4
DIGIT = 8
UPPER = 16
ALONE = 32
"""A word of its own: a character of a script that is written without spaces."""
TERMINAL = 64
"""Ends a sentence."""
CLOSING = 128
"""May stand between a sentence's end and the space: quotes, brackets."""
JOINING = 256
"""Belongs to the word where it stands between two letters or digits: don't, 3.5, example.com."""
BETWEEN_DIGITS = 4096
"""Belongs to the word where it stands between two digits: 1,000, 10:30, 2024-05-01."""
COMBINING = 512
WIDE = 1024
"""Ends a sentence and needs no space after it."""
UNPRINTABLE = 2048

_ASSIGNED = 0x32400
"""Beyond are only tags, variation selectors and private use."""
_WITHOUT_SPACES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),
    (0x3040, 0x30FF),  # kana
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)
TERMINALS = ".!?։؟۔܀܁܂߹।॥၊။።፧។៕᠃᠉᥄᥅᭚᭛᭞᭟᰻᰼᱾᱿‼‽⁇⁈⁉⸮。꓿꘎꘏꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？｡"
"""The common ones with the property Sentence_Terminal (Unicode, PropList.txt)."""
_WIDES = "。！？｡．"
_CLOSINGS = "\"'”’»›)]}」』）】〉》"
_LISTED = (
    (TERMINALS, TERMINAL),
    (_WIDES, WIDE),
    (_CLOSINGS, CLOSING),
    (".'’", JOINING),
    (",:/-–", BETWEEN_DIGITS),
)


@lru_cache(maxsize=1)
def table() -> NDArray[np.uint16]:
    """The bits of every code point, uint16 [0x110000]; made in about 0.1 s, once a process."""
    bits = np.full(0x110000, UNPRINTABLE, dtype=np.uint16)
    bits[:_ASSIGNED] = [_bits(code) for code in range(_ASSIGNED)]
    bits[0xE0100:0xE01F0] = WORD | COMBINING
    for first, last in _WITHOUT_SPACES:
        here = bits[first : last + 1]
        here[(here & WORD != 0) & (here & (COMBINING | DIGIT) == 0)] |= ALONE
    for characters, bit in _LISTED:
        bits[[ord(character) for character in characters]] |= bit
    bits[ord("_")] |= WORD
    bits[0x200B] = SPACE  # zero-width space: it parts words where they aren't parted visibly
    bits[0xFFFD] |= UNPRINTABLE
    bits[[9, 10, 13]] = SPACE
    return bits


def _bits(code: int) -> int:
    character = chr(code)
    category = unicodedata.category(character)
    if character.isspace():
        return SPACE | (UNPRINTABLE if category == "Cc" else 0)
    match category[0]:
        case "L":
            return WORD | LETTER | (UPPER if category in ("Lu", "Lt") else 0)
        case "N":
            return WORD | DIGIT
        case "M":
            return WORD | COMBINING
        case "C":
            return WORD | COMBINING if category == "Cf" else UNPRINTABLE
        case _:
            return 0
