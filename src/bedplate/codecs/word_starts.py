"""Which tokens begin a word: what whole-word masking keeps together."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from bedplate.codecs.text import TextTokenizer


class WordStarts:
    """Tables over a vocabulary: does a token begin a word, and does whatever comes after it?

    WordPiece: what doesn't continue ("##"). Byte-level and SentencePiece: what begins with white space ("Ġ", "▁") or
    comes after it; so a mark behind a word belongs to it, and where no spaces are written a whole line is one word.
    Characters (WordLevel): each. Special tokens are words of their own.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        model = json.loads(tokenizer.backend.to_str())["model"]
        prefix = model.get("continuing_subword_prefix") or "##"
        # Ids beyond the vocabulary (padded rows) are words of their own too.
        self._begins = np.ones(tokenizer.vocab_size + 1, dtype=bool)
        self._ends = np.ones(tokenizer.vocab_size + 1, dtype=bool)
        if model["type"] == "WordLevel":
            return
        for token in range(tokenizer.vocab_size):
            spelt = tokenizer.backend.id_to_token(token)
            if spelt is None or tokenizer.is_special(token):
                continue
            if model["type"] == "WordPiece":
                self._begins[token], self._ends[token] = not spelt.startswith(prefix), False
            else:
                content = tokenizer.token_bytes(token)
                self._begins[token], self._ends[token] = content[:1].isspace(), content[-1:].isspace()

    def __call__(self, ids: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """ids [..., T] -> bool [..., T]: where a word begins. The first token of a row always begins one."""
        tokens = np.minimum(np.asarray(ids, dtype=np.int64), len(self._begins) - 1)
        starts: npt.NDArray[np.bool_] = self._begins[tokens]
        starts[..., 1:] |= self._ends[tokens[..., :-1]]
        starts[..., :1] = True
        return starts
