"""Rows and lines: pieces of any size give the same documents, what is wrong is named, and places may be remote."""

import gzip
import json
import os
import subprocess
import uuid
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bedplate.data.documents import Document, Failure
from bedplate.data.reading import Limits, Piece, changed_since, find, pieces, raw_inputs, read
from bedplate.data.reading.files import spelt
from bedplate.data.reading.pieces import MOST_DOCUMENTS
from bedplate.data.source import Source
from bedplate.errors import InputError, UserError

FIELDS = {
    "url_field": "u", "title_field": "t", "date_field": "d", "license_field": "l", "language_field": "g",
    "id_field": "i",
}  # fmt: skip

LIMITS = Limits()


def found(source, target=64 << 20, limits=LIMITS, most=MOST_DOCUMENTS):
    return [d for piece in pieces(source, find(source), target, most) for d in read(source, piece, limits)]


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.sampled_from([b'{"text": "a"}', b'{"text": "b\\nb"}', b"", b"no JSON", b"{}"]), max_size=20),
    end=st.sampled_from([b"", b"\n", b"\r\n"]),
    target=st.integers(1, 60),
    most=st.integers(1, 25),
)
def test_a_cut_file_gives_the_documents_of_the_whole_one(tmp_path_factory, lines, end, target, most):
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    path.write_bytes(b"\n".join(lines) + end)
    source = Source(jsonl=str(path), license="MIT")
    cut = pieces(source, find(source), target, most)
    assert found(source, target, most=most) == found(source)
    data = path.read_bytes()
    assert all(len(data[piece.start : piece.stop].splitlines()) <= most for piece in cut)
    assert sum(piece.bytes for piece in cut) == path.stat().st_size
    assert all(Piece.from_json(json.loads(json.dumps(piece.to_json()))) == piece for piece in cut)


def test_lines_are_cut_across_blocks(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": str(i) * (i % 7000)}) + "\n" for i in range(1000)))
    source = Source(jsonl=str(path), license="MIT")
    whole = found(source)
    assert len(pieces(source, find(source), 100_000)) > 10
    assert found(source, 100_000) == whole == found(source, 3_000_000)


def test_row_groups_are_cut(tmp_path):
    table = pa.table({"text": [f"text {i}" for i in range(1000)], "n": list(range(1000))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=90)
    source = Source(parquet=str(tmp_path), license="MIT")
    assert len(pieces(source, find(source), 500)) > 3
    assert found(source, 500) == found(source)
    assert [d.text for d in found(source, 500)] == table["text"].to_pylist()


@settings(max_examples=60, deadline=None)
@given(groups=st.lists(st.integers(0, 9), max_size=6), target=st.integers(1, 400), most=st.integers(1, 12))
def test_rows_are_cut_within_their_groups(tmp_path_factory, groups, target, most):
    path = tmp_path_factory.mktemp("rows") / "a.parquet"
    texts = iter(range(1000))
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as out:
        for rows in groups:
            out.write_table(pa.table({"text": pa.array([str(next(texts)) for _ in range(rows)], pa.string())}))
    source = Source(parquet=str(path), license="MIT")
    cut = pieces(source, find(source), target, most)
    whole = list(read(source, find(source)[0], LIMITS))
    assert [d.text for d in whole] == [str(n) for n in range(sum(groups))]
    assert [d for piece in cut for d in read(source, piece, LIMITS)] == whole
    assert all(len(list(read(source, piece, LIMITS))) <= most for piece in cut)
    assert sum(piece.bytes for piece in cut) == path.stat().st_size
    assert all(Piece.from_json(json.loads(json.dumps(piece.to_json()))) == piece for piece in cut)


def test_small_files_of_many_lines_arent_read_together(tmp_path):
    for name, lines in (("a", 50), ("b", 49), ("c", 101), ("d", 3), ("e", 96)):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "x"}\n' * lines)
    source = Source(jsonl=str(tmp_path), license="MIT")
    cut = pieces(source, find(source), most_documents=101)
    assert [[file.path.stem for file in piece.files] for piece in cut] == [["a", "b"], ["c"], ["d", "e"]]
    assert len(found(source, most=101)) == 299
    assert len(pieces(source, find(source))) == 1


def test_small_files_are_read_together(tmp_path):
    for i in range(10):
        (tmp_path / f"{i}.txt").write_bytes(b"x" * 10 * i)
    source = Source(folder=str(tmp_path), license="MIT")
    assert [[f.bytes for f in p.files] for p in pieces(source, find(source), 100)] == [
        [0, 10, 20, 30, 40], [50], [60], [70], [80], [90]
    ]  # fmt: skip


def test_fields_say_what_they_say(tmp_path):
    row = {"text": "x", "u": "http://a.example", "t": "T", "d": "2024", "l": "MIT", "g": "de", "i": 7}
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in (row, row, {**row, "i": None})))
    documents = found(Source(jsonl=str(tmp_path / "a.jsonl"), license="unknown", **FIELDS))
    pq.write_table(pa.Table.from_pylist([row, row, {**row, "i": None}]), tmp_path / "a.parquet")
    rows = found(Source(parquet=str(tmp_path / "a.parquet"), license="unknown", **FIELDS))
    for first, again, none in (documents, rows):
        assert (first.url, first.title, first.date, first.license, first.language) == (
            *("http://a.example", "T", "2024", "MIT", "de"),
        )
        assert first.metadata == {"id": 7}
        assert first.alive
        assert again.metadata == {"id": 7}  # `deduplicate.ids` sees all of the source
        assert isinstance(none, Failure)
        assert none.reason == "no_id"
    assert documents[1].offset == documents[0].bytes
    assert len(documents[0].record_sha256) == 64


def test_files_that_lack_a_column(tmp_path):
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "b.parquet")
    source = Source(parquet=str(tmp_path), license="MIT")
    with pytest.raises(InputError, match=r'b.parquet: no column "text" \(columns: body\)'):
        raw_inputs([source], "stop")
    assert raw_inputs([source], "skip")[0].count == 2
    assert [d.reason for d in found(source)] == [None, "missing_column"]
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(InputError, match="no column"):
        raw_inputs([source], "skip")


def test_a_folder_without_such_files_says_which(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"no files to read in it \(epub takes \*\.epub\)"):
        find(Source(epub=str(tmp_path), license="MIT"))


def test_gzipped_lines(tmp_path):
    data = gzip.compress(b'{"text": "a"}\n{"text": "b"}\n' * 1000)
    (tmp_path / "a.jsonl.gz").write_bytes(data)
    (tmp_path / "b.jsonl.gz").write_bytes(data[:-20])
    (tmp_path / "bomb.jsonl.gz").write_bytes(gzip.compress(b'{"text": "' + b"x" * (50 << 20) + b'"}\n{"text": "c"}'))
    documents = found(Source(jsonl=str(tmp_path), license="MIT", name="r"))
    assert len([d for d in documents if d.source.startswith("r/a")]) == 2000
    (cut,) = [d for d in documents if isinstance(d, Failure)]
    assert cut.reason == "damaged_file"
    assert cut.place.endswith("b.jsonl.gz")
    assert [(d.reason, d.text) for d in documents[-2:]] == [("too_large", None), (None, "c")]


def test_a_large_document_is_dropped_without_being_held(tmp_path):
    import tracemalloc

    with (tmp_path / "a.txt").open("wb") as out:
        out.truncate(200 << 20)
    with (tmp_path / "b.jsonl").open("wb") as out:
        out.write(b'{"text": "')
        for _ in range(60):
            out.write(b"x" * (1 << 20))
        out.write(b'"}\n{"text": "b"}\n')
    tracemalloc.start()
    text = found(Source(text=str(tmp_path / "a.txt"), license="MIT"))
    lines = found(Source(jsonl=str(tmp_path / "b.jsonl"), license="MIT"), limits=Limits(1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(d.reason, d.bytes) for d in text] == [("too_large", 200 << 20)]
    assert [d.reason for d in lines] == ["too_large", None]
    assert peak < 30 << 20


@pytest.fixture
def memory():
    fsspec = pytest.importorskip("fsspec")
    base = f"/bucket-{uuid.uuid4().hex}"
    system = fsspec.filesystem("memory")
    yield system, base
    system.rm(base, recursive=True)


def test_remote_places_are_read_as_local_ones(memory, tmp_path):
    system, base = memory
    files = {
        "crawl/b.jsonl": b'{"text": "b"}\n', "crawl/a.jsonl": b'{"text": "a"}\n{"text": "c"}\n',
        "crawl/.hidden/x.jsonl": b"", "crawl/n.txt": b"no line", "pages/x.html": b"<p>",
    }  # fmt: skip
    for name, data in files.items():
        system.pipe(f"{base}/{name}", data)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "crawl/.hidden/x.jsonl").unlink()
    options = [
        {"jsonl": "crawl"},
        {"html": "pages"},
        {"folder": "crawl", "include": ("*.txt",)},
        {"text": "crawl/n.txt"},
    ]
    for option in options:
        (place, path), rest = next(iter(option.items())), dict(list(option.items())[1:])
        local = Source(**{place: str(tmp_path / path)}, license="MIT", **rest)
        remote = Source(**{place: f"memory:/{base}/{path}"}, license="MIT", **rest)
        if place == "jsonl":
            system.rm(f"{base}/crawl/.hidden", recursive=True)
        assert found(remote) == found(local)
        assert remote.label == local.label
    source = Source(jsonl=f"memory:/{base}/crawl", license="MIT")
    before = raw_inputs([source], "stop")
    assert raw_inputs([source], "stop") == before
    system.pipe(f"{base}/crawl/a.jsonl", b'{"text": "a"}\n{"text": "d"}\n')
    assert raw_inputs([source], "stop") != before


def test_remote_tables_and_archives(memory, shared_data):
    system, base = memory
    with system.open(f"{base}/rows.parquet", "wb") as out:
        pq.write_table(pa.table({"text": ["a", "b"]}), out)
    assert [d.text for d in found(Source(parquet=f"memory:/{base}/rows.parquet", license="MIT"))] == ["a", "b"]
    archive = shared_data / "warcio_warcs/test/data/example.warc.gz"
    system.pipe(f"{base}/example.warc.gz", archive.read_bytes())
    here = found(Source(warc=str(archive), license="MIT"))
    assert found(Source(warc=f"memory:/{base}/example.warc.gz", license="MIT")) == here
    assert found(Source(warc=archive.as_uri(), license="MIT")) == here


@pytest.mark.parametrize(
    ("url", "says"),
    [("memory://nowhere-at-all", "no such file"), ("nonsense://x", "nonsense"), ("abfs://b/x", "abfs")],
)
def test_places_that_cannot_be_reached(url, says):
    pytest.importorskip("fsspec")
    with pytest.raises(UserError, match=says):
        find(Source(jsonl=url, license="MIT"))


@pytest.mark.parametrize(
    ("settings_", "says"),
    [
        ({"git": "ssh://x/y"}, "needs a local path"),
        ({"jsonl": "x", "commit": "a"}, "commit goes with git"),
        ({"dataset": "o/d", "revision": "main"}, "names no commit"),
        ({"dataset": "/o/d", "revision": "0" * 40}, "owner/name"),
        ({"warc": "x", "html": "y"}, "exactly one of"),
        ({"warc": "x", "license": None}, "needs `license`"),
    ],
)
def test_settings_that_are_refused(settings_, says):
    with pytest.raises(ValidationError, match=says):
        Source(**{"license": "MIT", **settings_})


def test_a_file_that_goes_away_is_told(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    source = Source(folder=str(tmp_path), license="MIT")
    planned = pieces(source, find(source))
    os.unlink(tmp_path / "a")
    gone, there = [d for piece in planned for d in read(source, piece, Limits())]
    assert isinstance(gone, Failure)
    assert gone.reason == "unreadable"
    assert gone.place == str(Path(tmp_path / "a"))
    assert isinstance(there, Document)
    assert there.text == "b"


def one_file_kinds(folder, shared_data):
    """A file of each kind, with more than one document where a file may hold several."""
    lines = "".join(json.dumps({"text": f"line {n}"}) + "\n" for n in range(200))
    fasta = "".join(f">s{n}\nACGT\n" for n in range(50))
    cells = [{"cell_type": "markdown", "source": "# Title"}]
    (folder / "a.jsonl").write_text(lines)
    (folder / "a.ndjson").write_text(lines)
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pq.write_table(pa.table({"text": [f"row {n}" for n in range(200)]}), folder / "a.parquet", row_group_size=20)
    (folder / "a.table").write_bytes((folder / "a.parquet").read_bytes())
    with (
        pa.OSFile(str(folder / "a.arrow"), "wb") as out,
        pa.ipc.new_stream(out, pa.schema([("text", pa.string())])) as to,
    ):
        to.write_table(pa.table({"text": ["x", "y"]}))
    (folder / "a.html.gz").write_bytes(gzip.compress(b"<p>page</p>"))
    (folder / "a.py").write_bytes(b"# coding: latin-1\nx = '\xe9'\n")
    (folder / "a.fasta").write_text(fasta)
    (folder / "a.fasta.gz").write_bytes(gzip.compress(fasta.encode()))
    (folder / "a.md").write_text("---\ntitle: T\n---\ntext")
    (folder / "a.ipynb").write_text(json.dumps({"cells": cells}))
    (folder / "a.pdf").write_bytes(b"%PDF-1.4 and no more")
    with zipfile.ZipFile(folder / "a.epub", "w") as book:
        book.writestr("mimetype", "application/epub+zip")
    archive = shared_data / "warcio_warcs/test/data/example.warc.gz"
    for kind, name in [
        *(("jsonl", "a.jsonl"), ("jsonl", "a.ndjson"), ("jsonl", "a.jsonl.gz"), ("parquet", "a.parquet")),
        *(("parquet", "a.table"), ("dataset", "a.jsonl"), ("dataset", "a.jsonl.gz"), ("dataset", "a.parquet")),
        *(("dataset", "a.arrow"), ("html", "a.html.gz"), ("text", "a.py"), ("fasta", "a.fasta")),
        *(("fasta", "a.fasta.gz"), ("markdown", "a.md"), ("notebook", "a.ipynb"), ("pdf", "a.pdf")),
        *(("epub", "a.epub"), ("warc", str(archive))),
    ]:
        yield kind, folder / name


def test_what_a_source_is_called_says_nothing_of_how_it_is_read(tmp_path, shared_data, memory):
    system, base = memory
    for kind, path in one_file_kinds(tmp_path, shared_data):
        places = [str(path), path.as_uri(), f"memory:/{base}/{path.name}"]
        system.pipe(f"{base}/{path.name}", path.read_bytes())
        (tmp_path / "latest").unlink(missing_ok=True)
        (tmp_path / "latest").symlink_to(path)
        for place in [*places, str(tmp_path / "latest")] if kind != "fasta" else places[:1]:
            plain, named = (
                Source(**{kind: place}, license="MIT", name=name)
                for name in (None, "web.txt.gz" if kind == "warc" else "web")
            )
            cut = [pieces(source, find(source), 1000) for source in (plain, named)]
            assert [(p.start, p.stop, p.before) for p in cut[0]] == [(p.start, p.stop, p.before) for p in cut[1]]
            if "://" not in place and path.suffix in (".jsonl", ".ndjson", ".parquet", ".table"):
                assert len(cut[0]) > 1
            ours, theirs = found(plain, 1000), found(named, 1000)
            assert len(ours) == len(theirs) > 0
            for one, other in zip(ours, theirs, strict=True):
                assert one.source.removeprefix(plain.label) == other.source.removeprefix(named.label)
                one.source = other.source
                assert one == other
            assert {d.reason for d in ours} <= {None, "damaged_file", "not_a_document", "http_status"}, (kind, place)


def test_a_file_that_is_no_data_set(tmp_path):
    (tmp_path / "a.csv").write_text("text\nx\n")
    with pytest.raises(InputError, match=r"a.csv: no table of a data set \(\*.parquet"):
        find(Source(dataset=str(tmp_path / "a.csv"), license="MIT"))


NAMES = st.binary(min_size=1, max_size=6).map(lambda data: data.replace(b"/", b"").replace(b"\0", b"")) | st.lists(
    st.sampled_from([b"\\", b"x", b"f", b"\xff", b"\xc3\xa9", b"\\xff", b"a"]), max_size=5
).map(b"".join)


@settings(max_examples=400)
@given(NAMES, NAMES)
def test_no_two_names_are_spelt_the_same(one, other):
    spelling = [spelt(os.fsdecode(name)) for name in (one, other)]
    assert (spelling[0] == spelling[1]) == (one == other)
    spelling[0].encode()


def test_names_that_arent_text(tmp_path):
    names = [b"\xff.txt", b"\\xff.txt", b"C:\\x\\y.txt", "\u00e9.txt".encode(), b"\xc3.txt", b"\\\xff.txt"]
    for name in names:
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as out:
            out.write(b"text")
    source = Source(folder=str(tmp_path), license="MIT", name="n")
    files = find(source)
    assert [os.fsencode(file.path.name) for file in files] == sorted(names)
    assert {os.fsencode(file.path.name): file.name.removeprefix("n/") for file in files} == {
        b"\xff.txt": r"\xff.txt", b"\\xff.txt": r"\\xff.txt", b"C:\\x\\y.txt": r"C:\x\y.txt",
        "\u00e9.txt".encode(): "\u00e9.txt", b"\xc3.txt": r"\xc3.txt", b"\\\xff.txt": r"\\\xff.txt",
    }  # fmt: skip
    assert len({document.source for document in found(source)}) == len(names)


def test_what_changed_since_it_was_found(tmp_path, memory):
    system, base = memory
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(name)
        system.pipe(f"{base}/{name}.txt", name.encode())
    for place in (str(tmp_path), tmp_path.as_uri(), f"memory:/{base}"):
        files = find(Source(folder=place, license="MIT"))
        assert changed_since(files) == []
        if place.startswith("memory"):
            system.pipe(f"{base}/a.txt", b"d")
            system.rm(f"{base}/c.txt")
        else:
            (tmp_path / "a.txt").write_text("d")
            (tmp_path / "c.txt").unlink()
        assert changed_since(files) == [files[0], files[2]]
        (tmp_path / "c.txt").write_text("c")


def test_a_repositorys_files_never_change(tmp_path):
    def git(*words):
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e", *words], check=True)

    git("init", "-q")
    for name in (b"\xff.py", b"\\xff.py"):
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as out:
            out.write(b"x = 1")
    git("add", ".")
    git("commit", "-qm", "m")
    files = find(Source(git=str(tmp_path), license="MIT", name="r"))
    assert [file.name for file in files] == ["r/\\\\xff.py", "r/\\xff.py"]
    (tmp_path / "\\xff.py").write_text("y = 2")
    assert changed_since(files) == []
