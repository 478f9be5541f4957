"""Curation: every document is accounted for, the corpus is the same on every machine, and bad input is named."""

from __future__ import annotations

import hashlib
import json
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bedplate.data.curate import CurateConfig
from bedplate.data.curation.splitting import split_of
from bedplate.data.reading import Limits, SourceFile, find
from bedplate.data.reading import read as read_piece
from bedplate.data.source import Source
from bedplate.errors import InputError


def read(source, file, largest):
    return read_piece(source, file, Limits(largest))


def rows_of(corpus):
    return pa.concat_tables([pq.read_table(p) for p in sorted(corpus.path.glob("part-*.parquet"))]).to_pylist()


def dropped_of(corpus):
    return {row["source"]: row for row in pq.read_table(corpus.file("dropped.parquet")).to_pylist()}


def assert_conserved(measures):
    gone = sum(measures["dropped"].values()) + sum(measures["failed"].values())
    assert measures["read"] == measures["kept"] + gone
    for source in measures["sources"].values():
        assert source["read"] == source["kept"] + source["dropped"] + source["failed"]


@pytest.fixture
def raw(tmp_path):
    """A folder with one file for every fate."""
    folder = tmp_path / "raw"
    (folder / "sub" / ".hidden").mkdir(parents=True)
    (folder / "good.txt").write_text("good text", encoding="utf-8")
    (folder / "sub" / "also.md").write_bytes(b"\xef\xbb\xbfwith a mark\r\n")
    (folder / "sub" / "copy.txt").write_text("good text", encoding="utf-8")
    (folder / "sub" / ".hidden" / "h.txt").write_text("hidden")
    (folder / "blank.txt").write_text(" \n\t")
    (folder / "nul.txt").write_bytes(b"a\0b")
    (folder / "image.txt").write_bytes(b"\x89PNG\r\n\xff\xfe")
    (folder / "latin.py").write_bytes("# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"))
    (folder / "liar.py").write_bytes(b"# coding: no-such-encoding\n")
    (folder / "undeclared.py").write_bytes("x = 'é'\n".encode("latin-1"))
    (folder / "large.txt").write_text("x" * 5000)
    return folder


def test_every_document_is_kept_or_listed_with_its_reason(raw, stages, tmp_path):
    source = {"folder": str(raw), "license": "CC0-1.0", "language": "en"}
    corpus = stages.curate(tmp_path / "out", sources=[source], validation=0.5, largest_document=1000)
    rows = rows_of(corpus)
    assert [row["source"] for row in rows] == ["raw/good.txt", "raw/latin.py", "raw/sub/also.md"]
    assert [row["text"] for row in rows][1:] == ["# -*- coding: latin-1 -*-\nx = 'é'\n", "with a mark\r\n"]
    for row in rows:
        data = row["text"].encode()
        assert row["bytes"] == len(data)
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert row["sha256"].startswith(row["id"])
        assert (row["license"], row["language"], row["url"]) == ("CC0-1.0", "en", None)
        assert row["split"] == split_of(row["sha256"], 0.5)
    dropped = dropped_of(corpus)
    assert {name: row["reason"] for name, row in dropped.items()} == {
        "raw/blank.txt": "empty",
        "raw/image.txt": "not_text",
        "raw/large.txt": "too_large",
        "raw/liar.py": "not_text",
        "raw/nul.txt": "not_text",
        "raw/sub/copy.txt": "exact_duplicate",
        "raw/undeclared.py": "not_text",
    }
    assert dropped["raw/sub/copy.txt"]["sha256"] == rows[0]["sha256"]  # of what it is a copy
    assert_conserved(corpus.measures)
    assert corpus.measures["dropped"] == {"exact_duplicate": 1, "empty": 1, "not_text": 4, "too_large": 1}


def test_the_standard_library_of_this_python(stages, tmp_path):
    corpus = stages.curate(tmp_path / "out", sources=[{"python_stdlib": True}])
    rows = rows_of(corpus)
    names = [row["source"] for row in rows]
    prefix = f"python{sys.version_info.major}.{sys.version_info.minor}/"
    assert prefix + "json/decoder.py" in names
    assert all(name.startswith(prefix) for name in names)
    assert not [n for n in names if "/test/" in n or "/tests/" in n or "/idle_test/" in n or "-packages/" in n]
    assert {row["license"] for row in rows} == {"PSF-2.0"}
    assert not [row["source"] for row in rows if sys.prefix in row["source"]]
    assert len(names) == len(set(names)) == len({row["sha256"] for row in rows}) > 300
    assert_conserved(corpus.measures)
    assert 0.01 < corpus.measures["documents"]["validation"] / len(rows) < 0.12


def test_the_same_documents_give_the_same_bytes(raw, stages, tmp_path):
    source = {"folder": str(raw), "license": "CC0-1.0"}
    a, b = (stages.curate(tmp_path / name, sources=[source], validation=0.5) for name in "ab")
    assert a.digest == b.digest
    (raw / "new.txt").write_text("something new")
    assert stages.curate(tmp_path / "c", sources=[source], validation=0.5).digest != a.digest


def test_a_document_falls_in_one_split_whatever_its_name_and_company(stages, tmp_path):
    stages.write_documents(tmp_path / "a", 60)
    (tmp_path / "b").mkdir()
    for number, path in enumerate(sorted((tmp_path / "a").iterdir(), reverse=True)[:40]):
        (tmp_path / "b" / f"renamed{number}.txt").write_bytes(path.read_bytes())
    first, second = (
        {
            row["sha256"]: row["split"]
            for row in rows_of(stages.curate(tmp_path / f"out-{n}", sources=[s], validation=0.3))
        }
        for n in "ab"
        for s in [{"folder": str(tmp_path / n), "license": "MIT"}]
    )
    assert set(second) < set(first)
    assert all(first[sha] == split for sha, split in second.items())


@given(share=st.floats(0.01, 0.99))
@settings(max_examples=10, deadline=None)
def test_the_share_of_validation_is_as_asked_and_grows_by_inclusion(share):
    hashes = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(4000)]
    chosen = {h for h in hashes if split_of(h, share) == "validation"}
    assert abs(len(chosen) / 4000 - share) < 4 * (share * (1 - share) / 4000) ** 0.5  # four standard deviations
    assert chosen <= {h for h in hashes if split_of(h, min(share * 1.5, 0.999)) == "validation"}


LINES = [
    b'{"text": "one", "url": "https://example.org/1"}',
    b"",
    b'{"text": "two"',
    b'{"body": "three", "title": "t"}',
    b'{"text": 4}',
    b'{"text": null}',
    b'{"text": "half \\ud800 pair"}',
    b'["text"]',
    b'{"text": "\xff"}',
    b'{"text": "last"}',
]


@pytest.fixture
def jsonl(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_bytes(b"\n".join(LINES))
    return {"jsonl": str(path), "license": "MIT", "url_field": "url"}


@pytest.mark.parametrize(
    ("line", "says", "fix"),
    [
        (2, "notes.jsonl line 2: not JSON", "on_error=skip"),
        (3, 'notes.jsonl line 2: no field "text" (fields: body, title)', "text_field"),
        (4, 'notes.jsonl line 2: the field "text" holds a number, not a string', "on_error=skip"),
        (7, "notes.jsonl line 2: an array, not a JSON object", "on_error=skip"),
        (8, "notes.jsonl line 2: not JSON", "on_error=skip"),
    ],
)
def test_a_bad_line_stops_with_file_and_line(jsonl, stages, tmp_path, line, says, fix):
    (tmp_path / "notes.jsonl").write_bytes(LINES[0] + b"\n" + LINES[line] + b"\n")
    with pytest.raises(InputError) as error:
        stages.curate(tmp_path / "out", sources=[jsonl])
    assert says in error.value.problem
    assert fix in (error.value.fix or "")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("out.partial-*/*.parquet"))


def test_bad_lines_are_counted_when_told_to_skip(jsonl, stages, tmp_path):
    corpus = stages.curate(tmp_path / "out", sources=[jsonl], validation=0.5, on_error="skip")
    assert [(r["text"], r["source"], r["url"]) for r in rows_of(corpus)] == [
        ("one", "notes.jsonl#1", "https://example.org/1"),
        ("last", "notes.jsonl#10", None),
    ]
    measures = corpus.measures
    assert measures["failed"] == {"corrupt_line": 3, "missing_field": 1, "not_a_string": 1}
    assert measures["dropped"] == {"empty": 1, "not_text": 1}
    assert_conserved(measures)
    details = {name: row["detail"] for name, row in dropped_of(corpus).items() if row["status"] == "failed"}
    assert details["notes.jsonl#4"] == 'notes.jsonl line 4: no field "text" (fields: body, title)'
    assert not [d for d in details.values() if str(tmp_path) in d]


def test_a_line_without_end_is_not_held_in_memory(stages, tmp_path):
    path = tmp_path / "big.jsonl"
    path.write_bytes(b'{"text": "' + b"x" * (5 << 20) + b'"}\n{"text": "small"}\n{"text": "' + b"y" * (5 << 20))
    source = Source(jsonl=str(path), license="MIT")
    got = list(read(source, find(source)[0], 1000))
    assert [(d.source, d.reason) for d in got] == [
        ("big.jsonl#1", "too_large"),
        ("big.jsonl#2", None),
        ("big.jsonl#3", "too_large"),
    ]
    assert got[0].bytes == 5 * 2**20 + 13


def test_parquet_in_row_batches(stages, tmp_path):
    texts = [f"document {i}" for i in range(700)] + [None, "", "document 3"]
    table = pa.table({"body": texts, "n": list(range(703))})
    pq.write_table(table, tmp_path / "rows.parquet")
    source = {"parquet": str(tmp_path / "rows.parquet"), "license": "MIT", "text_field": "body", "name": "rows"}
    corpus = stages.curate(tmp_path / "out", sources=[source])
    assert [row["text"] for row in rows_of(corpus)] == texts[:700]
    assert corpus.measures["dropped"] == {"exact_duplicate": 1, "empty": 2}
    assert rows_of(corpus)[5]["source"] == "rows#6"


@pytest.fixture
def damaged(tmp_path):
    """A folder of three Parquet files: a whole one, one without its end, one with a page of garbage in the middle."""
    folder = tmp_path / "rows"
    folder.mkdir()
    for name in ("a", "b", "c"):
        table = pa.table({"text": [f"{name} {n} " + "x" * n for n in range(1000)]})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=500, compression="zstd")
    (folder / "b.parquet").write_bytes((folder / "b.parquet").read_bytes()[:-9])
    start = pq.read_metadata(folder / "c.parquet").row_group(1).column(0).dictionary_page_offset
    data = bytearray((folder / "c.parquet").read_bytes())
    data[start : start + 200] = b"\xff" * 200
    (folder / "c.parquet").write_bytes(data)
    return {"parquet": str(folder), "license": "MIT"}


def test_damaged_parquet_is_counted_when_told_to_skip(damaged, stages, tmp_path):
    corpus = stages.curate(tmp_path / "out", sources=[damaged], on_error="skip")
    assert corpus.measures["kept"] == 1500  # whole row groups, up to the damage
    assert corpus.measures["failed"] == {"damaged_file": 2}
    assert corpus.measures["read"] == 1502
    assert_conserved(corpus.measures)
    details = {name: row["detail"] for name, row in dropped_of(corpus).items()}
    assert details["rows/b.parquet"].startswith("rows/b.parquet: not a whole Parquet file")
    assert details["rows/c.parquet#501"].startswith("rows/c.parquet: damaged after row 500")


def test_damaged_parquet_stops_otherwise(damaged, stages, tmp_path):
    with pytest.raises(InputError, match=r"b\.parquet: not a whole Parquet file"):
        stages.curate(tmp_path / "out", sources=[damaged])
    assert not list(tmp_path.glob("out*"))
    (tmp_path / "rows" / "b.parquet").unlink()
    with pytest.raises(InputError, match=r"c\.parquet: damaged after row 500"):
        stages.curate(tmp_path / "out", sources=[damaged])


def test_counts_agree_with_those_of_somebody_else(stages, tmp_path):
    """Lines, rows and files counted here, not by the reader: conservation within one's own counts proves little."""
    (tmp_path / "raw").mkdir()
    for number in range(30):
        (tmp_path / "raw" / f"{number}.txt").write_text(f"text {number % 25}")
    (tmp_path / "lines.jsonl").write_text("".join(f'{{"text": "line {n}"}}\n' for n in range(40)) + "{broken\n")
    pq.write_table(pa.table({"text": [f"row {n}" for n in range(300)]}), tmp_path / "rows.parquet")
    (tmp_path / "blank.txt").write_text(" ")
    sources = [
        {"folder": str(tmp_path / "raw"), "license": "MIT"},
        {"jsonl": str(tmp_path / "lines.jsonl"), "license": "CC0-1.0"},
        {"text": str(tmp_path / "blank.txt"), "license": "unknown"},
        {"parquet": str(tmp_path / "rows.parquet"), "license": "CC-BY-4.0"},
    ]
    measures = stages.curate(tmp_path / "out", sources=sources, on_error="skip").measures
    found = {
        label: (s["read"], s["kept"], s["dropped"], s["failed"], s["license"])
        for label, s in measures["sources"].items()
    }
    assert found == {
        "raw": (30, 25, 5, 0, "MIT"),
        "lines.jsonl": (41, 40, 0, 1, "CC0-1.0"),
        "blank.txt": (1, 0, 1, 0, "unknown"),
        "rows.parquet": (300, 300, 0, 0, "CC-BY-4.0"),
    }
    assert measures["read"] == 30 + 41 + 1 + 300


def test_a_source_that_gives_no_document_is_counted_too(stages, tmp_path):
    stages.write_documents(tmp_path / "raw", 60)
    (tmp_path / "nothing.jsonl").write_text("\n\n")
    sources = [
        {"jsonl": str(tmp_path / "nothing.jsonl"), "license": "CC0-1.0"},
        {"folder": str(tmp_path / "raw"), "license": "MIT"},
    ]
    measures = stages.curate(tmp_path / "out", sources=sources).measures
    nothing = {"read": 0, "kept": 0, "dropped": 0, "failed": 0, "bytes": 0, "license": "CC0-1.0"}
    assert list(measures["sources"]) == ["nothing.jsonl", "raw"]
    assert measures["sources"]["nothing.jsonl"] == nothing


@settings(deadline=None, max_examples=50)
@given(pieces=st.lists(st.text("ab \n", max_size=30), min_size=1), block=st.integers(1, 9))
def test_separated_text_is_split_as_python_splits_it(tmp_path_factory, pieces, block):
    path = tmp_path_factory.mktemp("text") / "book.txt"
    path.write_bytes("\n==\n".join(pieces).encode())
    source = Source(text=str(path), license="MIT", separator="\n==\n")
    whole = path.read_text()
    assert [d.text for d in read(source, find(source)[0], 10**6)] == whole.split("\n==\n")
    short = [d.text for d in read(source, find(source)[0], block)]
    assert len(short) == len(whole.split("\n==\n"))


def test_a_long_piece_between_separators_is_dropped_not_held(tmp_path):
    path = tmp_path / "book.txt"
    path.write_bytes(b"a==" + b"x" * (3 << 20) + b"==b")
    source = Source(text=str(path), license="MIT", separator="==")
    got = list(read(source, find(source)[0], 1000))
    assert [(d.text, d.reason, d.bytes) for d in got] == [("a", None, 1), (None, "too_large", 3 << 20), ("b", None, 1)]


def test_globs_choose_files(raw):
    def chosen(**options):
        return [f.name.removeprefix("raw/") for f in find(Source(folder=str(raw), license="MIT", **options))]

    assert chosen(include=["*.md"]) == ["sub/also.md"]
    assert chosen(include=["sub/*"]) == ["sub/also.md", "sub/copy.txt"]
    assert chosen(include=["**/good.txt"]) == ["good.txt"]
    assert chosen(include=["*.txt"], exclude=["sub", "l*"]) == ["blank.txt", "good.txt", "image.txt", "nul.txt"]
    assert "sub/.hidden/h.txt" in chosen(exclude=[])
    assert "sub/.hidden/h.txt" not in chosen()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"folder": "absent"}, "absent: no such file or folder"),
        ({"folder": "empty"}, "empty: no files to read"),
        ({"folder": "file.txt"}, "a file, where `folder` needs a folder"),
        ({"text": "empty"}, "a folder, where `text` needs a file"),
        ({"parquet": "file.txt"}, "not a whole Parquet file"),
        ({"parquet": "rows.parquet"}, 'no column "text" (columns: body, n)'),
        ({"parquet": "rows.parquet", "text_field": "n"}, 'the column "n" holds int64, not text'),
        ({"parquet": "cut.parquet", "text_field": "body"}, "not a whole Parquet file"),
    ],
)
def test_bad_sources_are_named_before_anything_is_written(stages, tmp_path, monkeypatch, source, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    pq.write_table(pa.table({"body": ["a"], "n": [1]}), tmp_path / "rows.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "rows.parquet").read_bytes()[:-9])
    with pytest.raises(InputError) as error:
        stages.curate(tmp_path / "out", sources=[source | {"license": "MIT"}])
    assert says in error.value.problem
    assert error.value.fix
    assert not list(tmp_path.glob("out*"))


def test_an_empty_corpus_is_an_error_and_leaves_no_files(stages, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "blank.txt").write_text("  ")
    with pytest.raises(InputError, match=r"raw: no text in it: 1 document read, none kept \(empty 1\)"):
        stages.curate(tmp_path / "out", sources=[{"folder": str(tmp_path / "raw"), "license": "MIT"}])
    assert not list(tmp_path.glob("out*"))


def test_bedplates_own_folders_are_no_sources(stages, tmp_path):
    """A source that holds the runs made from it would change with each of them."""
    (tmp_path / "raw").mkdir()
    for number in range(20):
        (tmp_path / "raw" / f"{number}.txt").write_text(f"text {number}")
    source = {"folder": str(tmp_path), "name": "all", "license": "MIT"}
    made = stages.curate(tmp_path / "runs" / "corpus", sources=[source])
    assert made.measures["read"] == 20
    (tmp_path / "runs" / "other.partial-0123456789abcdef").mkdir()
    (tmp_path / "runs" / "other.partial-0123456789abcdef" / "text.txt").write_text("half")
    assert stages.curate(tmp_path / "runs" / "corpus", sources=[source]).cached


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_has_no_end_is_refused(stages, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, says in (("pipe", "pipe: neither a file nor a folder"), ("loop", "loop: no such file or folder")):
        with pytest.raises(InputError, match=says):
            stages.curate(tmp_path / "out", sources=[{"text": str(tmp_path / name), "license": "MIT"}])


def test_a_file_that_is_longer_than_it_says_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("x" * 1000)
    found = list(read(Source(text=str(path), license="MIT"), SourceFile(path, "long.txt", 0, 0), 100))
    assert [(document.reason, document.bytes) for document in found] == [("too_large", 101)]


def test_a_corpus_without_validation_is_refused():
    """Training and evaluation would fail for want of it, long after."""
    with pytest.raises(ValidationError, match="greater than 0"):
        CurateConfig(sources=[{"python_stdlib": True}], validation=0)


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        ([{"license": "MIT"}], "exactly one of"),
        ([{"folder": "a", "jsonl": "b", "license": "MIT"}], "exactly one of"),
        ([{"folder": "a"}], "needs `license`"),
        ([{"folder": "a", "license": "MIT", "text_field": "x"}], "text_field goes with jsonl or parquet"),
        ([{"folder": "a/x", "license": "MIT"}, {"folder": "b/x", "license": "MIT"}], "two sources are called 'x'"),
    ],
)
def test_configurations_that_make_no_sense(sources, says):
    with pytest.raises(ValidationError, match=says):
        CurateConfig(sources=sources)


def test_the_config_is_json(tmp_path):
    config = CurateConfig(sources=[{"python_stdlib": True}, {"folder": str(tmp_path), "license": "MIT"}])
    assert CurateConfig.model_validate(json.loads(config.model_dump_json())) == config


def test_real_speeches_from_one_text_file(shared_data, stages, tmp_path):
    path = max((shared_data / "tinyshakespeare").rglob("*.txt"), key=lambda p: p.stat().st_size)
    source = {"text": str(path), "separator": "\n\n", "license": "public domain", "name": "shakespeare"}
    corpus = stages.curate(tmp_path / "out", sources=[source], validation=0.1)
    speeches = path.read_bytes().decode().split("\n\n")
    assert corpus.measures["read"] == len(speeches)
    assert [row["text"] for row in rows_of(corpus)] == list(dict.fromkeys(s for s in speeches if s.strip()))
    assert_conserved(corpus.measures)
