"""`LabelledCorpus`: the documents of a corpus one at a time, kept and dropped, with all that is known of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bedplate.data.corpus import DROPPED
from bedplate.errors import ArtefactError, InputError

_ID_DIGITS = 24


class LabelledCorpus:
    """The documents that have a text, kept ones first, each id once. Holds ids in memory, texts on disk.

    Of a dropped document the corpus has the beginning alone, and not even that where it was left out for whose it is or
    whom it is about; such a one isn't here.

    Raises ArtefactError where there is no corpus at `path`, InputError where none of its documents has a text.
    """

    def __init__(self, path: Path) -> None:
        from bedplate.ledger import open_artefact
        from bedplate.ledger.manifest import MANIFEST

        if path.name == MANIFEST:
            path = path.parent
        if (path / MANIFEST).is_file():
            open_artefact(path, "corpus")
        files = sorted(path.glob("part-*.parquet"))
        if not files:
            raise ArtefactError(f"{path}: no part-*.parquet in it, so not a corpus", "Give a corpus artefact's folder.")
        self.path = path
        self.ids: list[str] = []
        self._files: list[Path] = []
        self._dropped: list[bool] = []
        self._places: list[tuple[int, int, int]] = []
        """File, row group and row within it, of each document."""
        seen: set[str] = set()
        for file in [*files, path / f"{DROPPED}.parquet"]:
            if file.is_file():
                self._take(file, seen)
        if not self.ids:
            raise InputError(f"{path}: none of its documents has a text", "Give a corpus with documents.")

    def __len__(self) -> int:
        return len(self.ids)

    def dropped(self, index: int) -> bool:
        """Whether the document isn't in the corpus."""
        return self._dropped[self._places[index][0]]

    def numbers(self, column: str) -> npt.NDArray[np.float64]:
        """A column's value for every document, [N]; NaN where it has none. Raises InputError where there is no such
        column of numbers."""
        import pyarrow.parquet as pq

        found = np.full(len(self), np.nan)
        known: set[str] = set()
        for number, file in enumerate(self._files):
            table = pq.ParquetFile(file)
            names = {field.name for field in table.schema_arrow if _is_number(field.type)}
            known |= names
            if column not in names:
                continue
            indices = [i for i, place in enumerate(self._places) if place[0] == number]
            starts = np.cumsum([0, *(table.metadata.row_group(g).num_rows for g in range(table.num_row_groups))])
            values = table.read([column]).column(column).to_numpy(zero_copy_only=False).astype(np.float64)
            found[indices] = values[[starts[self._places[i][1]] + self._places[i][2] for i in indices]]
        if column not in known:
            raise InputError(
                f"{self.path}: no column of numbers called {column!r}", f"It has: {', '.join(sorted(known)) or 'none'}."
            )
        return found

    def row(self, index: int) -> dict[str, Any]:
        """All columns of a document; `id`, `text` and `sha256` are there in any case. `text` is the excerpt of a
        dropped one."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        number, group, row = self._places[index]
        file = self._files[number]
        try:
            found: dict[str, Any] = pq.ParquetFile(file).read_row_group(group).slice(row, 1).to_pylist()[0]
        except (pa.ArrowException, OSError) as error:
            raise _damaged(file, error) from error
        return _whole(found, self.ids[index])

    def texts(self, wanted: Iterable[str]) -> Iterator[dict[str, Any]]:
        """`id`, `text`, `sha256` and `source` of those of the ids that are here, in the corpus's order."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        ids = set(wanted)
        groups: dict[tuple[int, int], list[int]] = {}
        for index, identity in enumerate(self.ids):
            if identity in ids:
                groups.setdefault(self._places[index][:2], []).append(index)
        for (number, group), indices in groups.items():
            file = self._files[number]
            try:
                columns = ["text", "excerpt", "sha256", "source"]  # of these, those that are there
                table = pq.ParquetFile(file).read_row_group(group, columns=columns)
            except (pa.ArrowException, OSError) as error:
                raise _damaged(file, error) from error
            for index in indices:
                yield _whole(table.slice(self._places[index][2], 1).to_pylist()[0], self.ids[index])

    def _take(self, file: Path, seen: set[str]) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(file)
            names = table.schema_arrow.names
            # The size says as well as a text whether there is one, and is sooner read.
            size = "bytes" if file.stem != DROPPED else "text" if "text" in names else "excerpt"
            if not {size, "sha256", "source"} <= set(names):
                return
            number = len(self._files)
            self._files.append(file)
            self._dropped.append(file.stem == DROPPED)
            for group in range(table.num_row_groups):
                rows = table.read_row_group(group, columns=["id", "sha256", size])
                sizes = rows.column(size) if size == "bytes" else pc.binary_length(rows.column(size))
                there = pc.fill_null(pc.greater(sizes, 0), False).to_pylist()
                hashes = rows.column("sha256").to_pylist()
                ids = rows.column("id").to_pylist() if "id" in names else hashes
                for row, (name, digest, has_text) in enumerate(zip(ids, hashes, there, strict=True)):
                    identity = (name or digest or "")[:_ID_DIGITS]
                    if has_text and identity and identity not in seen:
                        seen.add(identity)
                        self.ids.append(identity)
                        self._places.append((number, group, row))
        except (pa.ArrowException, OSError) as error:
            raise _damaged(file, error) from error


def _whole(row: dict[str, Any], identity: str) -> dict[str, Any]:
    text: str = row.get("text") or row.get("excerpt") or ""
    sha256 = row.get("sha256") or hashlib.sha256(text.encode()).hexdigest()
    return row | {"id": identity, "text": text, "sha256": sha256}


def _is_number(kind: Any) -> bool:  # pyarrow ships no types
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _damaged(file: Path, error: Exception) -> ArtefactError:
    return ArtefactError(f"{file}: not a whole Parquet file of a corpus: {error}", "Make the corpus again.")
