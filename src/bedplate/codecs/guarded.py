"""Encoding a text in which some special tokens count and others, written out just alike, are plain text.

A chat prompt needs it: the template's end-of-turn tokens count, one that a user typed doesn't. `tokenizers` knows only
all or none. So a twin of the tokenizer is made whose special tokens are spelt with a guard character on either side;
those that count are put in that spelling before the text is encoded, and the twin takes the rest for plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bedplate.errors import InputError, TokenizerError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Span = tuple[int, int]
"""Characters of a text: the first and the one after the last."""

_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
"""Unicode's noncharacters: never in a text that anyone exchanges."""


@lru_cache(maxsize=64)
def any_of(tokens: tuple[str, ...]) -> re.Pattern[str]:
    """Finds any of some tokens, the longest first, as tokenizers do."""
    longest = sorted((t for t in tokens if t), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest)) or "(?!)")


class GuardedEncoder:
    """definition: the text of `tokenizer.json`. special: content -> id of the tokens to tell apart."""

    def __init__(self, definition: str, special: dict[str, int]) -> None:
        from tokenizers import Tokenizer

        content = json.loads(definition)
        guarded = [
            {**token, "content": _OPEN + token["content"] + _CLOSE} if token["content"] in special else token
            for token in content.get("added_tokens", [])
        ]
        content |= {"added_tokens": guarded, "post_processor": None}
        self._twin: Tokenizer = Tokenizer.from_str(json.dumps(content))
        # The twin may number what isn't in its model's vocabulary anew.
        self._id_of = {self._twin.token_to_id(_OPEN + token + _CLOSE): number for token, number in special.items()}
        self._special, self._finder = frozenset(special.values()), any_of(tuple(special))
        self._guarded = any_of(tuple(_OPEN + token + _CLOSE for token in special))

    def encode(self, text: str, plain: Sequence[Span]) -> tuple[list[int], npt.NDArray[np.int64]]:
        """Ids and offsets [T, 2] of a text, special tokens parsed but for those at `plain`.

        Raises InputError for a text with a guarded token in it, TokenizerError where the tokenizer makes a
        special token of plain text.
        """
        if self._guarded.search(text):
            raise InputError(
                "the text holds special tokens between the noncharacters U+FDD0 and U+FDD1",
                "Take these out: they mean nothing.",
            )
        spared = set(plain)
        genuine = [m.span() for m in self._finder.finditer(text) if m.span() not in spared]
        pieces, inserted, at = [], [], 0
        for number, (begin, end) in enumerate(genuine):
            pieces += [text[at:begin], _OPEN, text[begin:end], _CLOSE]
            inserted += [begin + 2 * number, end + 2 * number + 1]
            at = end
        encoding = self._twin.encode("".join([*pieces, text[at:]]), add_special_tokens=False)
        ids = [self._id_of.get(i, i) for i in encoding.ids]
        if sum(i in self._special for i in ids) != len(genuine):
            raise TokenizerError(
                "the tokenizer makes special tokens of plain text, so what was typed can't be told from what counts",
                "Take the special tokens out of the messages, or pass parse_content_specials=True.",
            )
        offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        return ids, offsets - np.searchsorted(np.array(inserted, dtype=np.int64), offsets, side="left")
