"""`EvaluationIndex`: runs of words of evaluation items, and which items any text shares such runs with.

Words are runs of letters, digits and marks after case folding; all else, punctuation above all, only separates them
(Brown et al. 2020, arXiv 2005.14165, appendix C, strip it). An item is found by any `words` words in a row of any of
its passages; a passage of fewer words but at least `least` as a whole; and where no passage has that many, by all of
them in a row. Runs are compared by 64-bit hashes: with a million of them in the index, and a million million words
looked at, one chance hit in twenty such searches.

Brown et al. further pass over runs that more than ten training documents have, as common phrases. Here they count: a
rule that needs all documents can't say of one alone why it went, and the items that most leaked are those that most
pages copy. Nor are runs passed over that many items have, though they are rarely an item's own words: of a million runs
of MMLU, ARC, PIQA and GSM8K 45 are in more than ten items, turns like "construct a complete truth table for the
following argument", and elsewhere it is the passage that ten questions are asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bedplate.data.decontaminate.items import EvaluationItem, Origin
from bedplate.data.decontaminate.stored import read_index, write_index
from bedplate.data.words import Hashes, Numbers, WordReader, Words, ngrams
from bedplate.errors import ArtefactError, InputError

VERSION = 1
_SLICE = 1 << 20  # characters of a document at once


@dataclass(frozen=True)
class Match:
    """What a text shares with the items. items: their numbers in the index, sorted; ngrams: how many runs of the text
    are in the index; spans: the characters that these cover, disjoint, in order."""

    items: tuple[int, ...]
    ngrams: int
    spans: tuple[tuple[int, int], ...]


class EvaluationIndex:
    """Made by `build` or `load`.

    items: of each its task and id; hashes [H] uint64, sorted, and of each of them the items [offsets[i]:offsets[i+1]]
    of `owners`; lengths: the numbers of words that runs have; covered [items] bool: whether an item has any run.
    """

    def __init__(
        self,
        settings: tuple[int, int],
        items: Sequence[tuple[str, str]],
        origins: Sequence[Origin],
        lengths: Sequence[int],
        arrays: tuple[Hashes, Numbers, npt.NDArray[np.int32]],
    ) -> None:
        self.words, self.least = settings
        self.items, self.origins, self.lengths = tuple(items), tuple(origins), tuple(lengths)
        self.hashes, self.offsets, self.owners = arrays
        self.covered = np.zeros(len(self.items), dtype=np.bool_)
        self.covered[self.owners] = True
        # A bit more than one in sixteen of its places is taken: most runs of a text need no search.
        bits = min(max(16, len(self.hashes).bit_length() + 4), 26)
        self._shift = np.uint64(64 - bits)
        self._there = np.zeros(1 << bits, dtype=np.bool_)
        self._there[self.hashes >> self._shift] = True
        self._reader = WordReader("letters")

    @classmethod
    def build(
        cls, items: Sequence[EvaluationItem], origins: Sequence[Origin], *, words: int = 13, least: int = 8
    ) -> EvaluationIndex:
        """The index of these items. Raises InputError where none of them has words enough."""
        passages = [(number, passage) for number, item in enumerate(items) for passage in item.passages if passage]
        runs = list(_runs(passages, words, least))
        found = np.zeros(len(items), dtype=np.bool_)
        for _, owners, _ in runs:
            found[owners] = True
        short = [number for number in np.flatnonzero(~found).tolist() if len(items[number].passages) > 1]
        left = [(number, " ".join(items[number].passages)) for number in short]
        runs += _runs(left, words, least)
        if not runs:
            raise InputError(
                f"decontaminate: none of {len(items):,} evaluation items has {least} words or more",
                "Give items with longer texts, or a smaller `least`.",
            )
        every = np.concatenate([hashes for _, _, hashes in runs])
        owner: npt.NDArray[np.int32] = np.concatenate([owners for _, owners, _ in runs]).astype(np.int32)
        order = np.lexsort((owner, every))
        every, owner = every[order], owner[order]
        new = np.concatenate(([True], (every[1:] != every[:-1]) | (owner[1:] != owner[:-1])))
        every, owner = every[new], owner[new]
        different, begins = np.unique(every, return_index=True)
        arrays = different, np.append(begins, len(every)).astype(np.int64), owner
        named = [(item.task, item.id) for item in items]
        return cls((words, least), named, origins, sorted({length for length, _, _ in runs}), arrays)

    def matches(self, texts: Sequence[str]) -> list[Match | None]:
        """What each text shares with the items; None where that is nothing. A surrogate in a text separates words."""
        slices = [(number, first, end) for number, text in enumerate(texts) for first, end in _slices(text)]
        owner = np.array([number for number, _, _ in slices], dtype=np.int64)
        hits: dict[int, list[int]] = {}
        places: dict[int, list[tuple[int, int, int, int]]] = {}  # slice and byte of the first word, and of the last
        folded = ((piece, _folded(texts[number][a:b])) for piece, (number, a, b) in enumerate(slices))
        for block, first, last in self._reader.around(folded, max(self.lengths)):
            of = owner[block.document]
            for at, length, found in self._found(block, of, first, last):
                end = at + length - 1
                hits.setdefault(int(of[at]), []).append(found)
                places.setdefault(int(of[at]), []).append(
                    (int(block.document[at]), int(block.start[at]), int(block.document[end]), int(block.end[end]))
                )
        out: list[Match | None] = [None] * len(texts)
        for number, mine in hits.items():
            owners = [self.owners[self.offsets[found] : self.offsets[found + 1]] for found in sorted(set(mine))]
            items = tuple(np.unique(np.concatenate(owners)).tolist())
            out[number] = Match(items, len(mine), _spans(texts[number], slices, places[number]))
        return out

    def items_touched(self, text: str) -> list[tuple[str, str]]:
        """(task, id) of the items that a text shares runs with, in the index's order."""
        (match,) = self.matches([text])
        return [] if match is None else [self.items[item] for item in match.items]

    def _found(self, block: Words, of: Numbers, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """(where it begins, length, index of its hash) of each run in a block that begins within [first, last)."""
        for length in self.lengths:
            hashes = ngrams(block.hashes[0][first:], length)[: last - first]
            at = np.flatnonzero(self._there[hashes >> self._shift])
            where = np.searchsorted(self.hashes, hashes[at])
            where[where == len(self.hashes)] = 0
            same = self.hashes[where] == hashes[at]
            at, where = at[same] + first, where[same]
            whole = of[at] == of[at + length - 1]
            for begin, found in zip(at[whole].tolist(), where[whole].tolist(), strict=True):
                yield begin, length, found

    def save(self, path: Path) -> None:
        """Write it as one .npz file, the same bytes for the same index."""
        about = {
            "version": VERSION,
            "words": self.words,
            "least": self.least,
            "lengths": self.lengths,
            "origins": [asdict(origin) for origin in self.origins],
            "items": self.items,
        }
        write_index(path, about, self.hashes, self.offsets, self.owners)

    @classmethod
    def load(cls, path: Path) -> EvaluationIndex:
        """Read what `save` wrote. Raises InputError where there is no such file, ArtefactError for any other file."""
        try:
            about, hashes, offsets, owners = read_index(path, VERSION)
        except FileNotFoundError:
            raise InputError(f"{path}: no such index", "Correct `index`, or give tasks and files.") from None
        except (OSError, ValueError) as error:
            raise ArtefactError(f"{path}: not an index of evaluation items: {error}", "Make it again.") from error
        return cls(
            (about["words"], about["least"]),
            [(task, name) for task, name in about["items"]],
            [Origin(**origin) for origin in about["origins"]],
            about["lengths"],
            (hashes, offsets, owners),
        )


def _runs(passages: Sequence[tuple[int, str]], words: int, least: int) -> Iterator[tuple[int, Numbers, Hashes]]:
    """(length, owners, hashes) of the runs of passages (owner, text): all those of `words` words, or the whole one."""
    owner = np.array([number for number, _ in passages], dtype=np.int64)
    texts = ((number, _folded(passage)) for number, (_, passage) in enumerate(passages))
    for block, first, last in WordReader("letters").around(texts, words):
        document, hashes = block.document, block.hashes[0]
        for length in range(least, words + 1):
            at = np.arange(first, min(last, len(block) - length + 1))
            at = at[document[at] == document[at + length - 1]]
            if length < words:  # from the first word of a passage to the last
                at = at[block.place[at] == 0]
                after = at + length
                goes_on = after < len(block)
                goes_on[goes_on] = document[after[goes_on]] == document[at[goes_on]]
                at = at[~goes_on]
            if len(at):
                yield length, owner[document[at]], ngrams(hashes, length)[at]


def _folded(text: str) -> bytes:
    # "replace" gives a question mark, which separates
    return text.casefold().encode("utf-8", "replace")


def _slices(text: str) -> Iterator[tuple[int, int]]:
    """A text in pieces of about _SLICE characters that don't cut words, if there are spaces."""
    first = 0
    while len(text) - first > _SLICE:
        end = max(text.rfind(" ", first, first + _SLICE), text.rfind("\n", first, first + _SLICE)) + 1
        end = end if end > first else first + _SLICE
        yield first, end
        first = end
    yield first, len(text)


def _spans(
    whole: str, slices: Sequence[tuple[int, int, int]], places: Sequence[tuple[int, int, int, int]]
) -> tuple[tuple[int, int], ...]:
    """Bytes of case-folded slices as characters of the text, and what touches put together."""
    maps: dict[int, Numbers | None] = {}

    def character(piece: int, byte: int) -> int:
        _, first, last = slices[piece]
        if piece not in maps:
            text = whole[first:last]
            sizes = None if text.isascii() else [len(_folded(letter)) for letter in text]
            maps[piece] = None if sizes is None else np.cumsum(sizes)
        known = maps[piece]
        return first + (byte if known is None else int(np.searchsorted(known, byte, side="right")))

    def end(piece: int, byte: int) -> int:
        return character(piece, byte - 1) + 1

    out: list[tuple[int, int]] = []
    for first, last in sorted((character(a, b), end(c, d)) for a, b, c, d in places):
        if out and first <= out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], last)
        else:
            out.append((first, last))
    return tuple(out)
