"""SentencePiece models (Kudo and Richardson, 2018): `.model` files read, and as `tokenizers` objects.

Unigram and BPE give the ids of SentencePiece's own encoder, with these exceptions, which ordinary text hardly meets:
of two spellings that are as likely within its fp32 sums it may take the other (in 1 of 240 paragraphs of XQuAD); a
character map is applied to whole user-perceived characters, as `tokenizers` does it; equally good merges of overlapping
pieces are taken by length, not from the left; with user-defined symbols in a BPE, a text that begins with one, or with
a character that the map removes, gets no space before it. Control pieces and bytes that are spelt in a text stay text.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bedplate.codecs.charsmap import check_charsmap
from bedplate.codecs.wire_format import fields
from bedplate.errors import TokenizerError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Normalizer

SPACE = "▁"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM, BPE = 1, 2
MOST_BYTES = 1 << 28
MOST_PIECES = 1 << 22
MOST_CHARACTERS = 512
"""Of a piece: published ones have up to 128, runs of spaces. What a BPE piece costs grows with the square of it."""
MOST_MERGES = 1 << 21
"""The largest published vocabularies have a quarter of that."""


@dataclass(frozen=True)
class Piece:
    """A piece of the vocabulary; score: natural log-probability (unigram), or minus its rank (BPE)."""

    text: str
    score: float = 0.0
    kind: int = NORMAL


@dataclass(frozen=True)
class SentencePiece:
    """What a `.model` file says. algorithm: UNIGRAM or BPE. charsmap: the normaliser's compiled table, empty where
    there is none. names: role ("bos_token") -> piece, of those that the vocabulary has."""

    pieces: Sequence[Piece]
    algorithm: int
    charsmap: bytes = b""
    add_prefix: bool = True
    remove_extra_spaces: bool = True
    byte_fallback: bool = False
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def unknown(self) -> int:
        """The id of the piece for what the others can't spell."""
        return next(i for i, piece in enumerate(self.pieces) if piece.kind == UNKNOWN)


def read_sentencepiece(content: bytes, origin: str) -> SentencePiece:
    """The model in the bytes of a `.model` file. Raises TokenizerError, naming `origin`, for a broken file and for one
    that means something that isn't supported."""
    try:
        found = _parse(content)
        _check(found)
    except ValueError as error:
        fix = "Take an undamaged copy of the file, or a tokenizer.json in its place."
        raise TokenizerError(f"{origin}: not a SentencePiece model we can read: {error}", fix) from error
    return found


def _parse(content: bytes) -> SentencePiece:
    if len(content) > MOST_BYTES:
        raise ValueError(f"{len(content)} bytes")
    pieces: list[Piece] = []
    trainer: dict[int, int | bytes] = {}
    normal: dict[int, int | bytes] = {}
    for number, value in fields(content):
        if number == 1:
            pieces.append(_piece(_message(value)))
            if len(pieces) > MOST_PIECES:
                raise ValueError(f"more than {MOST_PIECES} pieces")
        elif number == 2:
            trainer |= dict(fields(_message(value)))
        elif number == 3:
            normal |= dict(fields(_message(value)))
        elif number == 5 and dict(fields(_message(value))).get(2):
            raise ValueError("a denormaliser isn't supported")
    if not normal.get(5, 1) or trainer.get(24):
        raise ValueError("spaces that aren't escaped or end a word aren't supported")
    spelt = {piece.text for piece in pieces}
    usual = {
        "unk_token": (45, b"<unk>"),
        "bos_token": (46, b"<s>"),
        "eos_token": (47, b"</s>"),
        "pad_token": (48, b"<pad>"),
    }
    names = {role: _message(trainer.get(number, name)).decode() for role, (number, name) in usual.items()}
    algorithm = trainer.get(3, UNIGRAM)
    if algorithm not in (UNIGRAM, BPE):
        raise ValueError(f"model type {algorithm!r}; unigram (1) and BPE (2) are supported")
    return SentencePiece(
        pieces, int(algorithm), _message(normal.get(2, b"")), bool(normal.get(3, 1)), bool(normal.get(4, 1)),
        bool(trainer.get(35, 0)), {role: name for role, name in names.items() if name in spelt},
    )  # fmt: skip


def _message(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message is expected")
    return value


def _piece(content: bytes) -> Piece:
    found = dict(fields(content))
    score, kind = found.get(2, 0), found.get(3, NORMAL)
    if not isinstance(score, int) or score >> 32 or not isinstance(kind, int):
        raise ValueError("a piece whose score or type is no number")
    return Piece(_message(found.get(1, b"")).decode(), struct.unpack("<f", struct.pack("<I", score))[0], kind)


def _check(model: SentencePiece) -> None:
    seen: dict[str, int] = {}
    for number, piece in enumerate(model.pieces):
        if not piece.text:
            raise ValueError(f"piece {number} is empty")
        if len(piece.text) > MOST_CHARACTERS:
            raise ValueError(f"piece {number} has {len(piece.text)} characters, more than {MOST_CHARACTERS}")
        if seen.setdefault(piece.text, number) != number:
            raise ValueError(f"pieces {seen[piece.text]} and {number} are both {piece.text!r}")
        if not math.isfinite(piece.score):
            raise ValueError(f"piece {number} ({piece.text!r}) has the score {piece.score}")
        if not NORMAL <= piece.kind <= BYTE or piece.kind == UNUSED:
            raise ValueError(f"piece {number} ({piece.text!r}) is of type {piece.kind}, which isn't supported")
        if piece.kind in (CONTROL, UNKNOWN) and len(piece.text) < 2:
            raise ValueError(f"piece {number} ({piece.text!r}) is a control of one character")
    if sum(piece.kind == UNKNOWN for piece in model.pieces) != 1:
        raise ValueError("not one unknown piece")
    spelt = [piece.text for piece in model.pieces if piece.kind == BYTE]
    if (model.byte_fallback or spelt) and set(spelt) != {f"<0x{byte:02X}>" for byte in range(256)}:
        raise ValueError("its bytes aren't all there")
    if model.charsmap:
        check_charsmap(model.charsmap)


def backend(model: SentencePiece, before: Sequence[Normalizer] = ()) -> Tokenizer:
    """The `tokenizers` object of a model; its control pieces are special tokens. before: normalisers that act before
    the model's own."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    texts = [piece.text for piece in model.pieces]
    own = [piece.text for piece in model.pieces if piece.kind == USER_DEFINED]
    prefix_later = model.algorithm == BPE and bool(own) and model.add_prefix
    if model.algorithm == UNIGRAM:
        made = Tokenizer(models.Unigram(_scores(model), model.unknown, byte_fallback=model.byte_fallback))
        cuts = [pre_tokenizers.Split(Regex(_out_of_reach(model)), "merged_with_previous")]
        if not any(SPACE in text[1:] for text in texts):
            cuts.append(pre_tokenizers.Split(SPACE, "merged_with_next"))
        made.pre_tokenizer = pre_tokenizers.Sequence(cuts)
    else:
        spelt = {p.text: (i, p.score) for i, p in enumerate(model.pieces) if p.kind in (NORMAL, USER_DEFINED)}
        made = Tokenizer(
            models.BPE(
                vocab={text: i for i, text in enumerate(texts)},
                merges=merges_from_scores(spelt),
                unk_token=texts[model.unknown],
                fuse_unk=True,
                byte_fallback=model.byte_fallback,
            )
        )
        if prefix_later:
            made.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="first", split=False)
    made.normalizer = _normaliser(model, before, prefix=model.add_prefix and not prefix_later)
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence([*steps, decoders.Strip(content=" ", left=1)] if model.add_prefix else steps)
    control = [piece.text for piece in model.pieces if piece.kind in (CONTROL, UNKNOWN)]
    made.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in control])
    if model.algorithm == BPE:
        made.add_tokens([AddedToken(text, normalized=True, special=False) for text in own])
    return made


def _normaliser(model: SentencePiece, before: Sequence[Normalizer], *, prefix: bool) -> Normalizer:
    from tokenizers import Regex, normalizers

    steps: list[Normalizer] = list(before)
    if model.charsmap:
        steps.append(normalizers.Precompiled(model.charsmap))
    if model.remove_extra_spaces:
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
        # What puts a space before the first word later looks where the text began, and leaves one that is there.
        leading = r"\A +|" if prefix or not model.add_prefix else ""
        steps.append(normalizers.Replace(Regex(rf"{leading}[ {SPACE}]+\z"), ""))
    if prefix:
        steps.append(normalizers.Prepend(SPACE))
    steps.append(normalizers.Replace(" ", SPACE))
    return normalizers.Sequence(steps) if len(steps) > 1 else steps[0]


def _scores(model: SentencePiece) -> list[tuple[str, float]]:
    """The pieces' scores, a user-defined one's so that it is always taken, as SentencePiece has it."""
    best = max((piece.score for piece in model.pieces if piece.kind == NORMAL), default=0.0)
    return [
        (p.text, len(p.text) * best - 0.1 if p.kind == USER_DEFINED else p.score if p.kind == NORMAL else 0.0)
        for p in model.pieces
    ]


def _out_of_reach(model: SentencePiece) -> str:
    """Where to cut a text that spells a control piece or a byte, so that it is never found whole."""
    control = [piece.text for piece in model.pieces if piece.kind in (CONTROL, UNKNOWN)]
    patterns = [f"{re.escape(text[0])}(?={re.escape(text[1:])})" for text in control]
    return "|".join([*patterns, "<(?=0x[0-9A-F]{2}>)"])


def merges_from_scores(pieces: Mapping[str, tuple[int, float]]) -> list[tuple[str, str]]:
    """Merges under which BPE joins as SentencePiece does, which takes whichever neighbours make the piece of the
    highest score: every cut of a piece into two, ranked by its score, then the longer left half, the longer right half
    and the order of the vocabulary. pieces: text -> (id, score). Raises TokenizerError where there would be more than
    `MOST_MERGES`."""
    merges: list[tuple[tuple[float, int, int], tuple[str, str]]] = []
    for piece, (_, score) in pieces.items():
        cuts = ((piece[:at], piece[at:]) for at in range(1, len(piece)))
        pairs = [(left, right) for left, right in cuts if left in pieces and right in pieces]
        if len(merges) + len(pairs) > MOST_MERGES:
            raise TokenizerError(
                f"pieces that can be cut in two in more than {MOST_MERGES} ways are no vocabulary",
                "Take an undamaged copy of the file, or a tokenizer.json in its place.",
            )
        pairs.sort(key=lambda pair: (pieces[pair[0]][0], pieces[pair[1]][0]))
        merges.extend(((score, len(left), len(right)), (left, right)) for left, right in pairs)
    merges.sort(key=lambda merge: merge[0], reverse=True)
    return [pair for _, pair in merges]
