"""What becomes of documents with repeated runs of words: the last step of `substring`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from bedplate.data.corpus import ParquetTable
from bedplate.data.curation.shards import COLUMNS, TEXTS, VERDICTS
from bedplate.data.deduplicate.substring_config import SubstringConfig
from bedplate.data.deduplicate.substring_owners import too_much
from bedplate.data.deduplicate.substring_windows import pieces_of, texts_with
from bedplate.data.deduplicate.substring_winnowing import ROW_BITS, places
from bedplate.data.words import Hashes, WordReader

_GROUP, _GROUP_ROWS = 8 << 20, 1024
_VERDICT = {"row": "int32", "reason": "string", "detail": "string", "other": "string"}


@dataclass(frozen=True)
class Repeats:
    """What is repeated in one document: spans in bytes, how many words they have, and how many the document has."""

    row: int
    text: memoryview
    spans: tuple[tuple[int, int], ...]
    repeated: int
    words: int


def cut_shard(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write what is decided of one shard. arguments: shards, shard, config, folder and given (of the marked runs and
    their pieces)."""
    shards, shard, config = arguments["shards"], arguments["shard"], arguments["config"]
    marked = pieces_of(arguments["folder"], "marked", arguments["given"], shard)
    alive = np.flatnonzero(shards.alive(shard))
    fractions = np.zeros(shards.rows(shard), dtype=np.float32)
    counts: Counter[str] = Counter()
    with (
        ParquetTable(folder, VERDICTS.removesuffix(".parquet"), _VERDICT, single=True) as verdicts,
        TextTable(folder / TEXTS) as texts,
    ):
        for keys, found in texts_with(shards, shard, marked):
            for repeats in repeats_of(keys, found, config.words):
                fractions[repeats.row] = repeats.repeated / repeats.words
                counts["documents_with_repeats"] += 1
                counts["words_in_them"] += repeats.words
                counts["repeated_words"] += repeats.repeated
                if (why := _why(repeats, config)) is not None:
                    counts["dropped"] += 1
                    verdicts.add({"row": repeats.row, "reason": "repeated", "detail": why, "other": None})
                elif config.action == "remove":
                    text = without(repeats.text, repeats.spans)
                    counts["removed_bytes"] += len(repeats.text) - (len(text) if text.isascii() else len(text.encode()))
                    texts.add(repeats.row, text)
    _write_fractions(folder / COLUMNS, alive, fractions)
    names = ("documents_with_repeats", "words_in_them", "repeated_words", "removed_bytes", "dropped")
    return {"read": len(alive), "kept": len(alive) - counts["dropped"]} | {name: counts[name] for name in names}


def repeats_of(keys: Hashes, texts: Sequence[tuple[int, memoryview]], words: int) -> Iterator[Repeats]:
    """What is repeated in each of some documents. keys: where repeated runs of `words` words begin, sorted."""
    new = np.flatnonzero(np.concatenate(([True], np.diff(keys) > np.uint64(words))))
    first = keys[new]  # rows are 2^32 apart, so no span goes from one document into the next
    last = keys[np.append(new[1:], len(keys)) - 1] + np.uint64(words - 1)
    start, end = np.zeros(len(first), dtype=np.int64), np.zeros(len(first), dtype=np.int64)
    sizes: dict[int, int] = {}
    for block in WordReader("spaces").read(texts):
        here = places(block)
        for wanted, bytes_of, found in ((first, block.start, start), (last, block.end, end)):
            inside = slice(*np.searchsorted(wanted, [here[0], here[-1] + np.uint64(1)]))
            found[inside] = bytes_of[np.searchsorted(here, wanted[inside])]
        ends = np.flatnonzero(np.diff(block.document, append=-1))
        sizes.update(zip(block.document[ends].tolist(), (block.place[ends] + 1).tolist(), strict=True))
    row = (first >> np.uint64(ROW_BITS)).astype(np.int64)
    lengths = (last - first).astype(np.int64) + 1
    for number, text in texts:
        of = slice(*np.searchsorted(row, [number, number + 1]))
        spans = tuple(zip(start[of].tolist(), end[of].tolist(), strict=True))
        yield Repeats(number, text, spans, int(lengths[of].sum()), sizes[number])


def without(text: bytes | memoryview, spans: Sequence[tuple[int, int]]) -> str:
    """A text without some spans, which begin and end with words. Of the white space on both sides of a cut one
    blank line stays, or else one line's end, or one space; none at the text's ends."""
    cuts = [0, *(place for span in spans for place in span), len(text)]
    parts = [str(memoryview(text)[a:b], "utf-8") for a, b in zip(cuts[::2], cuts[1::2], strict=True)]
    if len(parts) == 1:
        return parts[0]
    out = [parts[0].rstrip()]
    gap = parts[0][len(out[0]) :]
    for i, part in enumerate(parts[1:], 2):
        begun = part.lstrip()
        gap += part[: len(part) - len(begun)]
        if not begun:
            continue
        if any(out):
            out.append("\n\n" if gap.count("\n") > 1 else "\n" if "\n" in gap else " " if gap else "")
        kept = begun.rstrip() if i < len(parts) else begun
        gap = begun[len(kept) :]
        out.append(kept)
    return "".join(out)


class TextTable:
    """Writes (row, text) as Parquet. Without statistics and dictionaries, each of which would hold long texts again."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema([("row", pa.int32()), ("text", pa.string())])
        options = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
        self._writer = pq.ParquetWriter(path, self._schema, **options)
        self._rows: list[int] = []
        self._texts: list[str] = []
        self._size = 0

    def add(self, row: int, text: str) -> None:
        self._rows.append(row)
        self._texts.append(text)
        self._size += len(text)
        if self._size >= _GROUP or len(self._rows) >= _GROUP_ROWS:
            self._flush()

    def __enter__(self) -> TextTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._rows:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        columns = [pa.array(self._rows, pa.int32()), pa.array(self._texts, pa.string())]
        self._rows, self._texts, self._size = [], [], 0
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))


def _why(repeats: Repeats, config: SubstringConfig) -> str | None:
    """Why the document is dropped, if it is."""
    if not too_much(repeats.repeated, repeats.words, config):
        return None
    left = f", which leaves {repeats.words - repeats.repeated:,}" if config.action == "remove" else ""
    return f"{repeats.repeated:,} of its {repeats.words:,} words occurred before{left}"


def _write_fractions(path: Path, alive: npt.NDArray[np.int64], fractions: npt.NDArray[np.float32]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"row": pa.array(alive.astype(np.int32)), "repeated_fraction": pa.array(fractions[alive])}
    pq.write_table(pa.table(columns), path, compression="zstd")
