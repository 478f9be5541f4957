"""How finely tokenizers cut a language: tokens per word (fertility) and per character, bytes per token.

Fertility and the share of words that are more than one token tell how well a language is served (Acs, 2019; Rust et
al., 2021, arXiv 2012.15613). A word here is a run of letters, digits and marks; of scripts that write no spaces (Han,
kana, Thai, Lao, Khmer, Burmese) each letter counts as one, so compare such a language with itself alone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bedplate.errors import InputError

if TYPE_CHECKING:
    from bedplate.codecs.text import TextTokenizer

_UNSPACED = ("CJK ", "HIRAGANA ", "KATAKANA ", "THAI ", "LAO ", "KHMER ", "MYANMAR ")


@dataclass(frozen=True)
class Fertility:
    """Counts over the texts of one language under one tokenizer, special tokens around the texts not counted.

    single: words that are one token, alone or after a space. unknown: tokens that stand for what the vocabulary
    lacks. changed: texts that aren't what their tokens spell.
    """

    tokenizer: str
    language: str
    texts: int
    words: int
    characters: int
    bytes: int
    tokens: int
    single: int
    unknown: int
    changed: int

    @property
    def per_word(self) -> float:
        """Tokens a word."""
        return self.tokens / self.words if self.words else float("nan")

    @property
    def per_character(self) -> float:
        """Tokens a character."""
        return self.tokens / self.characters

    @property
    def bytes_per_token(self) -> float:
        """Bytes of UTF-8 a token."""
        return self.bytes / max(self.tokens, 1)

    @property
    def split_words(self) -> float:
        """Share of the words that are more than one token."""
        return 1 - self.single / self.words if self.words else float("nan")

    def facts(self) -> dict[str, Any]:
        """Counts and ratios, as plain data."""
        ratios = ("per_word", "per_character", "bytes_per_token", "split_words")
        return {**asdict(self), **{name: getattr(self, name) for name in ratios}}


def measure_fertility(tokenizers: Mapping[str, TextTokenizer], texts: Mapping[str, Sequence[str]]) -> list[Fertility]:
    """One measurement for each tokenizer and language, languages first. texts: by language. Raises InputError for a
    language without a character."""
    found = []
    for language, written in texts.items():
        if not any(written):
            raise InputError(f"{language}: no text", "Give at least one text for each language.")
        words = [word for text in written for word in words_of(text)]
        different = list(dict.fromkeys(words))
        for name, tokenizer in tokenizers.items():
            encoded = tokenizer.encode_batch(list(written))
            alone, spaced = tokenizer.encode_batch(different), tokenizer.encode_batch([f" {w}" for w in different])
            whole = {w for w, a, b in zip(different, alone, spaced, strict=True) if min(len(a), len(b)) <= 1}
            back = [tokenizer.decode(ids, skip_special=False) for ids in encoded]
            unknown = tokenizer.unk_id
            found.append(
                Fertility(
                    tokenizer=name,
                    language=language,
                    texts=len(written),
                    words=len(words),
                    characters=sum(map(len, written)),
                    bytes=sum(len(text.encode()) for text in written),
                    tokens=sum(map(len, encoded)),
                    single=sum(word in whole for word in words),
                    unknown=0 if unknown is None else sum(ids.count(unknown) for ids in encoded),
                    changed=sum(a != b for a, b in zip(written, back, strict=True)),
                )
            )
    return found


def words_of(text: str) -> list[str]:
    """The words of a text."""
    words: list[str] = []
    inside = False
    for char in text:
        category = unicodedata.category(char)[0]
        if category == "L" and unicodedata.name(char, "").startswith(_UNSPACED):
            words.append(char)
            inside = False
        elif category == "M" and words:  # a mark goes with its letter, whatever the script
            words[-1] += char
        elif category in "LN":
            if inside:
                words[-1] += char
            else:
                words.append(char)
            inside = True
        else:
            inside = False
    return words


def fertility_table(measured: Sequence[Fertility]) -> str:
    """A Markdown table of several tokenizers, language by language."""
    head = ("language", "tokenizer", "tokens/word", "words split", "tokens/character", "bytes/token", "unknown")
    rows = [
        (m.language, m.tokenizer, f"{m.per_word:.3f}", f"{m.split_words:.1%}", f"{m.per_character:.3f}",
         f"{m.bytes_per_token:.3f}", str(m.unknown))
        for m in measured
    ]  # fmt: skip
    rules = ("---", "---", *["---:"] * 5)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rules, *rows)) + "\n"
