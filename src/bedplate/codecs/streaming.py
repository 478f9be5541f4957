"""Decoding while tokens are still coming: text that, once shown, never changes."""

from __future__ import annotations

import codecs

from bedplate.codecs.text import TextTokenizer


class StreamDecoder:
    """Turns token ids into text one at a time. The pieces, `flush()` included, add up to `tokenizer.decode(all ids)`.

    A character that spans several tokens is held back until it is whole, so no U+FFFD flickers on the screen.
    """

    def __init__(self, tokenizer: TextTokenizer, *, skip_special: bool = True) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace") if tokenizer.byte_level else None
        # For other decoders (SentencePiece's joins words by a mark and strips the first space), text depends on the
        # token before; so decode a short window [start of the piece before last, now) and take what is new.
        self._ids: list[int] = []
        self._start = 0
        self._shown = 0

    def push(self, token: int) -> str:
        """The text that this token completes; empty while a character is unfinished."""
        if self._skip_special and self._tokenizer.is_special(token):
            return ""
        if self._bytes is not None:
            return self._bytes.decode(self._tokenizer.token_bytes(token))
        self._ids.append(token)
        return self._window(final=False)

    def flush(self) -> str:
        """What was held back; an unfinished character gives U+FFFD. The decoder is then as new."""
        if self._bytes is not None:
            text = self._bytes.decode(b"", final=True)
            self._bytes.reset()
            return text
        text = self._window(final=True)
        self._ids, self._start, self._shown = [], 0, 0
        return text

    def _window(self, final: bool) -> str:
        before = self._tokenizer.decode(self._ids[self._start : self._shown], skip_special=self._skip_special)
        now = self._tokenizer.decode(self._ids[self._start :], skip_special=self._skip_special)
        if len(now) <= len(before) or (now.endswith("�") and not final):
            return ""
        self._start, self._shown = self._shown, len(self._ids)
        return now[len(before) :]
