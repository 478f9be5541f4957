"""FASTA files as sources, and groups that share a split."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.data.documents import Document, Failure
from bedplate.data.fasta import FastaError, fasta_sequences
from bedplate.data.reading import Limits, find, read
from bedplate.data.source import Source


def documents_of(source):
    return [document for file in find(source) for document in read(source, file, Limits(1 << 20))]


@settings(max_examples=40, deadline=None)
@given(
    sequences=st.lists(st.text("ACDEFGHIKLMNPQRSTVWY", min_size=1, max_size=300), min_size=1, max_size=5),
    width=st.integers(1, 80),
    ends=st.sampled_from(["\n", "\r\n"]),
)
def test_what_was_written_is_read(tmp_path_factory, sequences, width, ends):
    lines = []
    for i, letters in enumerate(sequences):
        lines += [f">s{i} some words", *(letters[a : a + width] for a in range(0, len(letters), width))]
    path = tmp_path_factory.mktemp("fasta") / "x.fasta"
    path.write_bytes(ends.join(lines).encode())
    found = list(fasta_sequences(path, 1000))
    assert [s.letters for s in found] == sequences
    assert [s.name for s in found] == [f"s{i}" for i in range(len(sequences))]


def test_gzip_long_sequences_and_what_is_no_sequence(tmp_path):
    path = tmp_path / "x.fasta.gz"
    path.write_bytes(gzip.compress(b">a\nmk\nWw\n>long\n" + b"A" * 50 + b"\n>odd\n\xff\xfe1\n>empty\n"))
    found = list(fasta_sequences(path, 20))
    assert [(s.letters, s.bytes, s.is_text) for s in found] == [
        ("MKWW", 4, True), (None, 50, True), (None, 3, False), ("", 0, True),
    ]  # fmt: skip


def test_a_damaged_file_is_a_failure_that_says_where(tmp_path):
    whole = gzip.compress(b">a\n" + bytes(65 + i * 7 % 26 for i in range(40000)) + b"\n")
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text").write_text("no header\n")
    with pytest.raises(FastaError, match="no header"):
        list(fasta_sequences(tmp_path / "text", 10))
    (failure,) = documents_of(Source(fasta=str(tmp_path / "cut.gz"), license="unknown"))
    assert failure.reason == "damaged_file"
    assert "damaged gzip after sequence 1" in failure.problem


@pytest.mark.parametrize("place", ["jsonl", "parquet"])
def test_groups_stay_in_one_split(tmp_path, stages, place):
    rows = [{"text": f"text {i}", "family": f"c{i % 20}"} for i in range(200)]
    if place == "jsonl":
        (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    source = {place: str(tmp_path / f"x.{place}"), "license": "unknown", "group_field": "family"}
    corpus = stages.curate(tmp_path / "out", sources=[source], validation=0.3)
    splits: dict[str, set[str]] = {}
    for row in pq.read_table(corpus.file("part-00000.parquet")).to_pylist():
        splits.setdefault(row["group"], set()).add(row["split"])
    assert len(splits) == 20
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == {"train", "validation"}


def test_sequences_become_a_corpus(tmp_path, stages):
    records = [f">s{i}\n{'ACDEFGHIKL'[i % 10] * (i + 5)}\n" for i in range(50)]
    (tmp_path / "x.fasta.gz").write_bytes(gzip.compress("".join([*records, records[0], ">none\n"]).encode()))
    corpus = stages.curate(tmp_path / "out", sources=[{"fasta": str(tmp_path / "x.fasta.gz"), "license": "unknown"}])
    assert corpus.measures["kept"] == 50
    assert corpus.measures["dropped"] == {"empty": 1, "exact_duplicate": 1}


def test_a_document_without_its_group_fails(tmp_path):
    """The same of both formats; an empty name is one."""
    rows = [{"text": "a", "cluster": "c"}, {"text": "b", "cluster": None}, {"text": "c", "cluster": ""}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"text": "d"}\n')
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    failures = []
    for place, failing in (("jsonl", [1, 3]), ("parquet", [1])):
        source = Source.model_validate(
            {place: str(tmp_path / f"x.{place}"), "license": "unknown", "group_field": "cluster"}
        )
        found = documents_of(source)
        assert [i for i, document in enumerate(found) if isinstance(document, Failure)] == failing
        assert [document.group for document in found if isinstance(document, Document)] == ["c", ""]
        failures.append(found[1])
    line, row = failures
    assert isinstance(line, Failure)
    assert isinstance(row, Failure)
    assert (line.reason, line.problem, line.fix) == (row.reason, row.problem, row.fix)
    assert line.reason == "no_group"
    assert line.place.endswith("x.jsonl line 2")
    assert row.place.endswith("x.parquet row 2")
