"""tiktoken's files: a token's bytes in base64 and its rank on each line, and nothing of how text is split."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bedplate.codecs.byte_alphabet import spelt
from bedplate.errors import TokenizerError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} [0-9]{1,9}")
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MOST_BYTES = 1 << 28
MOST_TOKEN_BYTES = 512
"""Of a token: published ones have up to 128, runs of spaces. What a token costs grows with the square of it."""
MOST_MERGES = 1 << 21
"""The largest published vocabularies have a quarter of that."""


def is_tiktoken(content: bytes) -> bool:
    """Whether a file begins as tiktoken's do."""
    return _LINE.fullmatch(content[:4096].split(b"\n", 1)[0].rstrip(b"\r")) is not None


def read_tiktoken(
    content: bytes, pattern: str, special_tokens: Mapping[str, int] | None = None, *, origin: str = "tiktoken"
) -> Tokenizer:
    """The `tokenizers` object of a tiktoken file: the ids of `tiktoken.Encoding` with this pattern.

    pattern: the regular expression that splits text, which the file doesn't say; possessive quantifiers as written
    for tiktoken. special_tokens: token -> id, which continue the ranks. Raises TokenizerError for a broken file, ranks
    with a gap, a byte without a token, and special tokens that leave a gap or take a rank.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    ranks = _ranks(content, origin)
    vocabulary = {spelt(token): rank for token, rank in ranks.items()}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=_merges(ranks, origin), ignore_merges=True))
    try:
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    except Exception as error:  # the library raises bare Exception
        raise TokenizerError(f"{origin}: the pattern isn't one: {error}", "Correct the pattern.") from error
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    in_order = sorted((special_tokens or {}).items(), key=lambda pair: pair[1])
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token, _ in in_order])
    for token, number in in_order:
        if made.token_to_id(token) != number:
            raise TokenizerError(
                f"{origin}: special token {token!r} has the id {number}, which isn't the next after {len(ranks)} ranks",
                "Give every id from the last rank on, reserved ones too.",
            )
    return made


def _ranks(content: bytes, origin: str) -> dict[bytes, int]:
    def broken(problem: str) -> TokenizerError:
        return TokenizerError(f"{origin}: {problem}", "Take an undamaged copy of the file.")

    if len(content) > MOST_BYTES:
        raise broken(f"{len(content)} bytes are no vocabulary")
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line:
            continue
        if not _LINE.fullmatch(line):
            raise broken(f"line {number} isn't a token in base64 and its rank: {line[:60]!r}")
        encoded, _, rank = line.partition(b" ")
        try:
            token = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise broken(f"line {number}: {error}") from error
        if len(token) > MOST_TOKEN_BYTES:
            raise broken(f"line {number}: a token of {len(token)} bytes, more than {MOST_TOKEN_BYTES}")
        if token in ranks:
            raise broken(f"line {number}: the token {token!r} for the second time")
        ranks[token] = int(rank)
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise broken("its ranks aren't 0, 1, 2, ... each once")
    if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
        raise broken(f"no token for byte {missing[0]} ({len(missing)} in all)")
    return ranks


def _merges(ranks: Mapping[bytes, int], origin: str) -> list[tuple[str, str]]:
    """tiktoken joins whichever neighbours make the token of the lowest rank: every cut of a token in two is a merge."""
    merges: list[tuple[int, int, int, tuple[str, str]]] = []
    for token, rank in ranks.items():
        for at in range(1, len(token)):
            left, right = ranks.get(token[:at]), ranks.get(token[at:])
            if left is not None and right is not None:
                if len(merges) == MOST_MERGES:
                    raise TokenizerError(
                        f"{origin}: tokens that can be cut in two in more than {MOST_MERGES} ways are no vocabulary",
                        "Take an undamaged copy of the file.",
                    )
                merges.append((rank, left, right, (spelt(token[:at]), spelt(token[at:]))))
    merges.sort(key=lambda merge: merge[:3])
    return [merge[3] for merge in merges]
