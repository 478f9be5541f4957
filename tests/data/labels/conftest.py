"""A corpus of a few documents, written by hand with columns as the curation gives them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bedplate.data.corpus import CORPUS_SCHEMA, DROPPED, DROPPED_SCHEMA, ParquetTable
from bedplate.data.labels.record import Label


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_corpus(folder: Path, texts: Sequence[str], columns: Mapping[str, str] | None = None, **values) -> Path:
    """A corpus of these texts; columns: further ones with their types, values: theirs, a sequence each."""
    folder.mkdir(parents=True)
    schema = CORPUS_SCHEMA | dict(columns or {})
    with ParquetTable(folder, "part", schema) as table:
        for number, text in enumerate(texts):
            sha256 = digest(text)
            row = dict.fromkeys(schema) | {
                "id": sha256[:24],
                "text": text,
                "source": f"raw/{number}.txt",
                "license": "CC0-1.0",
                "split": "train",
                "bytes": len(text.encode()),
                "sha256": sha256,
            }
            table.add(row | {name: given[number] for name, given in values.items()})
    with ParquetTable(folder, DROPPED, DROPPED_SCHEMA, single=True) as table:
        table.add(dict.fromkeys(DROPPED_SCHEMA) | {"source": "raw/x", "status": "dropped", "reason": "empty"})
    return folder


def said(text: str, label: str | None, annotator: str = "ann", **fields) -> Label:
    usual = {"guideline": "v1", "seconds": 2.5, "time": "2024-05-01T12:00:00Z", "action": "label" if label else "skip"}
    usual |= {"document": digest(text)[:24], "sha256": digest(text)}
    return Label(label=label, annotator=annotator, **usual | fields)


@pytest.fixture(name="write_corpus")
def _write_corpus():
    return write_corpus


@pytest.fixture(name="said", scope="session")
def _said():
    return said
