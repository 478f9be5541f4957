"""The `remove` stage: a corpus without the documents that somebody asked to take out, and no word of theirs left."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bedplate.config import Config, execution
from bedplate.data.corpus import CORPUS_SCHEMA, DROPPED, DROPPED_SCHEMA, ParquetTable
from bedplate.data.provenance.finding import rows_of, tables
from bedplate.data.provenance.origin import ORIGIN, REMOVE_STAGE, with_version
from bedplate.data.provenance.removed_measures import Remaining, measures_without
from bedplate.data.provenance.taken_down import HASHES, REASON, lists_of, write
from bedplate.errors import InputError
from bedplate.ledger import Stage, atomic_write
from bedplate.ledger.usage import EARLIER, earlier_digests

if TYPE_CHECKING:
    from bedplate.data.rights.takedown import Takedown
    from bedplate.ledger import Artefact, Work

ACCOUNT = "curation.json"
MOST_NAMED = 50
"""Copies that stay, by name."""
_KNOWN_BY = ("id", "sha256", "record_sha256", "url", "domain", "metadata")
_GONE = ("title", "metadata", "excerpt")


class RemoveConfig(Config):
    """What is taken out, why, and since when that was asked for."""

    matches: tuple[str, ...] = Field((), description="Entries such as domain=a.org.")
    lists: tuple[str, ...] = execution((), description="Files of such entries.")
    lists_sha256: tuple[str, ...] = Field((), description="What is in these files.")
    why: str = Field(min_length=1, description="The reason, which is kept with each document's row.")
    asked: str = execution("", description="The day on which it was asked for, ISO 8601.")


REMOVE = Stage(
    name=REMOVE_STAGE,
    version=2,
    kind="corpus",
    config=RemoveConfig,
    inputs={"corpus": "corpus"},
    run="bedplate.data.provenance.removal:run",
    resumes=False,
)


def config_of(matches: tuple[str, ...], lists: tuple[Path, ...], why: str, asked: str) -> RemoveConfig:
    """The configuration, with the lists' hashes. Raises InputError for what can't be matched by, or no such list."""
    from bedplate.data.rights.takedown import Takedown

    if not matches and not lists:
        raise InputError("data remove: nothing says what is to go", "Give --match domain=a.org, or --list FILE.")
    if not why.strip():
        raise InputError("data remove: no reason is given", 'Say it: --why "request of 2024-05-01".')
    Takedown.of(matches)
    Takedown.read([str(path) for path in lists])
    hashes = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in lists)
    names = tuple(str(path) for path in lists)
    return RemoveConfig(matches=tuple(sorted(matches)), lists=names, lists_sha256=hashes, why=why, asked=asked)


def matching(corpus: Artefact, config: RemoveConfig) -> dict[str, dict[int, str]]:
    """What the configuration takes out of the corpus, of its table of what was left out too: {file: {row: entry}}."""
    from bedplate.data.rights.takedown import Takedown

    lists = [Takedown.of(config.matches), Takedown.read(config.lists)]
    return {
        path.name: {
            number: entry for number, row in enumerate(rows_of(path, _KNOWN_BY)) if (entry := _match(lists, row))
        }
        for path in tables(corpus)
    }


def run(config: RemoveConfig, inputs: Mapping[str, Artefact], work: Work) -> None:
    """Write the corpus without them. Memory: a row group, and the columns but for the text of what goes.

    Raises InputError where nothing matches, or nothing would be left.
    """
    corpus = inputs["corpus"]
    began = time.process_time()
    found = matching(corpus, config)
    if not any(found.values()):
        raise nothing_matches(corpus, config)
    gone = _removed(corpus, found, work)
    kept = Remaining(work.path)
    if not kept.count:
        raise InputError(f"{corpus.path}: nothing would be left of it", "Remove its folder as a whole.")
    left_out, unwanted = _left_out(corpus, config, found, gone, work.path)
    _write_list(corpus, [*gone, *unwanted], work.path)
    _copy_rest(corpus, found, work)
    atomic_write(work.path / ORIGIN, with_version(corpus))
    work.volatile(ORIGIN, ACCOUNT)
    measures = measures_without(corpus, gone, kept, time.process_time() - began)
    measures[EARLIER] = [corpus.digest, *earlier_digests(corpus)]
    measures["remove"] = {"documents": len(gone), "bytes": sum(row["bytes"] for row in gone), **left_out}
    atomic_write(work.path / ACCOUNT, json.dumps(measures, indent=1))
    work.measures.update(measures)


def nothing_matches(corpus: Artefact, config: RemoveConfig) -> InputError:
    asked = [*config.matches, *config.lists]
    return InputError(
        f"{corpus.path}: none of its documents matches {', '.join(asked[:5])}{' ...' if len(asked) > 5 else ''}",
        f"See what it has: bedplate data why {corpus.path} ID_OR_URL. Nothing was written.",
    )


def _match(lists: list[Takedown], row: Mapping[str, Any]) -> str | None:
    authors = _authors(row["metadata"])
    for entries in lists:
        found = entries.matches(
            url=row["url"], domain=row["domain"], sha256=row["sha256"], id=row["id"],
            owner=authors,
        )  # fmt: skip
        if found is None and row["record_sha256"]:
            found = entries.matches(sha256=row["record_sha256"])
        if found is not None:
            return found
    return None


def _authors(metadata: str | None) -> list[str]:
    from bedplate.data.rights.entries import owners_of

    try:
        known = json.loads(metadata) if metadata else {}
    except ValueError:
        return []
    return owners_of(known) if isinstance(known, dict) else []


def _removed(corpus: Artefact, found: Mapping[str, dict[int, str]], work: Work) -> list[dict[str, Any]]:
    """Write the parts without them; returns their rows without the texts, each with the `entry` that it matched."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    gone: list[dict[str, Any]] = []
    number = 0
    for path in tables(corpus):
        if path.name == f"{DROPPED}.parquet":
            continue
        target, out = work.path / f"part-{number:05d}.parquet", found[path.name]
        with pq.ParquetFile(path) as file:
            if len(out) == file.metadata.num_rows and out:
                names = [name for name in file.schema_arrow.names if name != "text"]
                gone += [row | {"entry": out[at]} for at, row in enumerate(rows_of(path, names))]
                continue
            number += 1
            if not out:
                _link(path, target)
                continue
            first = 0
            with pq.ParquetWriter(target, file.schema_arrow, compression="zstd") as writer:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group)
                    stays = np.ones(len(table), dtype=np.bool_)
                    here = [at for at in range(len(table)) if first + at in out]
                    stays[here] = False
                    rows = table.drop_columns(["text"]).take(pa.array(here, pa.int64())).to_pylist()
                    gone += [row | {"entry": out[first + at]} for at, row in zip(here, rows, strict=True)]
                    first += len(table)
                    if stays.any():
                        writer.write_table(table.filter(pa.array(stays)), row_group_size=max(len(table), 1))
    return gone


def _link(path: Path, target: Path) -> None:
    """The same file under another name: a part that loses nothing isn't copied where the file system can do without."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _left_out(
    corpus: Artefact, config: RemoveConfig, found: Mapping[str, dict[int, str]], gone: list[dict[str, Any]], out: Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write the table of what was left out, now with what goes, and without a word of it or of its copies.

    Returns how many rows were `blanked`, and which of those that match were left out as copies of what stays; and the
    hashes of what matches, or is a copy of what goes.
    """
    import pyarrow.parquet as pq

    old = corpus.path / f"{DROPPED}.parquet"
    if old.is_file():
        schema = {field.name: str(field.type) for field in pq.read_schema(old)}
    else:
        part = pq.read_schema(next(corpus.path.glob("part-*.parquet")))
        own = {field.name: str(field.type) for field in part if field.name not in CORPUS_SCHEMA}
        schema = DROPPED_SCHEMA | own
    taken = _with_copies(old, {row["id"] for row in gone})
    blanked, stay, unwanted = 0, [], []
    matched = found.get(old.name, {})
    with ParquetTable(out, DROPPED, schema, single=True) as table:
        for number, row in enumerate(rows_of(old, list(schema)) if old.is_file() else ()):
            stays = number in matched and row.get("other") and row["other"] not in taken
            if stays:
                stay.append({"id": row["id"], "url": row.get("url"), "copy_of": row["other"]})
            if number in matched or row["id"] in taken or row.get("other") in taken:
                blanked += any(row.get(name) is not None for name in _GONE)
                row = row | dict.fromkeys(_GONE)
                if not stays:
                    unwanted.append({name: row.get(name) for name in HASHES})
            table.add(row)
        for row in gone:
            fate = {"status": "dropped", "stage": REMOVE_STAGE, "reason": REASON, "other": None}
            detail = {"detail": f"{config.why} ({row['entry']})", **dict.fromkeys(_GONE)}
            table.add({name: row.get(name) for name in schema} | fate | detail)
    return {"blanked": blanked, "copies_that_stay": len(stay), "copies": stay[:MOST_NAMED]}, unwanted


def _with_copies(old: Path, taken: set[str]) -> set[str]:
    """The ids, and those of what was left out as a copy of one, as a copy of such a copy, and so on."""
    more = old.is_file()
    while more:
        before = len(taken)
        taken |= {row["id"] for row in rows_of(old, ("id", "other")) if row["other"] in taken and row["id"]}
        more = len(taken) > before
    return taken


def _write_list(corpus: Artefact, gone: list[dict[str, Any]], out: Path) -> None:
    """Write down the hashes of what went, so that it doesn't come back."""
    kept = (row for path in sorted(out.glob("part-*.parquet")) for row in rows_of(path, HASHES))
    write(gone, kept, lists_of({"corpus": corpus}), out)


def _copy_rest(corpus: Artefact, found: Mapping[str, dict[int, str]], work: Work) -> None:
    """What a later curation and an evaluation need of a corpus beside its rows: the files that were read, the keys of
    what is left, and the index of evaluations."""
    import numpy as np
    import pyarrow.parquet as pq

    from bedplate.data.curation.earlier import INDEX, SOURCES
    from bedplate.data.curation.evaluations import INDEX_FILE
    from bedplate.data.deduplicate.index import write_without

    work.volatile(SOURCES)
    for name in (SOURCES, INDEX_FILE):
        if (corpus.path / name).is_file():
            _link(corpus.path / name, work.path / name)
    if not (corpus.path / INDEX).is_dir():
        return
    stays = []
    for path in tables(corpus):
        if path.name != f"{DROPPED}.parquet":
            here = np.ones(pq.read_metadata(path).num_rows, dtype=np.bool_)
            here[list(found[path.name])] = False
            stays.append(here)
    write_without(work.path / INDEX, corpus.path / INDEX, np.concatenate(stays))


def matched_documents(corpus: Artefact, found: Mapping[str, dict[int, str]]) -> Iterator[str]:
    """The ids of the kept documents that match."""
    for path in tables(corpus):
        out = found[path.name]
        if out and path.name != f"{DROPPED}.parquet":
            yield from (row["id"] for number, row in enumerate(rows_of(path, ("id",))) if number in out)
