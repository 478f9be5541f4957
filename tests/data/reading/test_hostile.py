"""Files that were made to break their reader, or to have it take all memory, all time, or somebody's commands."""

import gzip
import io
import json
import os
import resource
import subprocess
import time
import zipfile
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bedplate.data.documents import Document, Failure
from bedplate.data.reading import Limits, find, git, read
from bedplate.data.reading.captions import _size
from bedplate.data.reading.epub import read_epub
from bedplate.data.reading.files import local_file
from bedplate.data.reading.git_objects import Repository, page
from bedplate.data.reading.guard import guarded, mended
from bedplate.data.reading.http import BodyError, inflated
from bedplate.data.reading.notebook import read_notebook
from bedplate.data.reading.parquet_pages import chunks, plan
from bedplate.data.reading.payload import plain_text
from bedplate.data.reading.pdf import read_pdf, take_pdf
from bedplate.data.reading.warc_records import Gap, Record, records
from bedplate.data.source import Source
from bedplate.errors import InputError, UserError

LIMITS = Limits()
FUZZ = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


def found(limits=LIMITS, **options):
    source = Source(license="unknown", name="raw", **options)
    return [d for file in find(source) for d in read(source, file, limits)]


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def run_git(base, *words, data=None):
    names = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", "-C", base, *words], input=data, env={**os.environ, **names}, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def commit(base, text):
    sha = run_git(base, "hash-object", "--literally", "-t", "commit", "-w", "--stdin", data=text.encode())
    run_git(base, "update-ref", "HEAD", sha)


def repository(base, *options):
    base.mkdir()
    run_git(base, "init", "-q", *options)
    (base / "a.py").write_text("x = 1\n")
    run_git(base, "add", "a.py")
    return run_git(base, "write-tree")


def test_a_repositorys_settings_are_not_obeyed(tmp_path):
    base = tmp_path / "r"
    tree = repository(base)
    who = "A <a@b.c> 1700000000 +0000"
    signed = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ\n =a\n -----END PGP SIGNATURE-----\n"
    commit(base, f"tree {tree}\nauthor {who}\ncommitter {who}\n{signed}\nmessage\n")
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
    script.chmod(0o700)
    settings_ = (
        "log.showSignature=true", f"gpg.program={script}", f"core.fsmonitor={script}", f"core.pager={script}",
        f"core.sshCommand={script}", f"alias.ls-tree=!{script}", f"pager.ls-tree={script}",
        f"diff.external={script}", f"core.hooksPath={tmp_path}", "extensions.partialClone=origin",
        f"remote.origin.url=ext::{script}", "remote.origin.promisor=true", "protocol.ext.allow=always",
    )  # fmt: skip
    for setting in settings_:
        run_git(base, "config", *setting.split("=", 1))
    (one,) = found(git=str(base))
    assert (one.text, one.date, one.url) == ("x = 1\n", "2023-11-14T22:13:20Z", None)
    # An object that isn't there would be fetched from the "remote".
    blob = run_git(base, "rev-parse", "HEAD:a.py")
    (base / ".git/objects" / blob[:2] / blob[2:]).unlink()
    (one,) = found(git=str(base))
    assert one.reason == "missing_object"
    assert not (tmp_path / "ran").exists()


def test_repositories_of_other_kinds(tmp_path):
    base = tmp_path / "r"
    tree = repository(base, "--object-format=sha256")
    who = "A <a@b.c> 999999999999999 +0000"
    commit(base, f"tree {tree}\nauthor {who}\ncommitter {who}\n\nmessage\n")
    run_git(base, "worktree", "add", "-q", str(tmp_path / "tree"), "HEAD")
    run_git(tmp_path, "clone", "-q", "--bare", "--shared", str(base), "bare.git")
    for folder in (base, tmp_path / "tree", tmp_path / "bare.git"):
        (one,) = found(git=str(folder))
        assert (one.text, one.date, len(one.metadata["commit"])) == ("x = 1\n", None, 64)


def test_a_repository_of_a_few_objects_and_a_million_files(tmp_path, monkeypatch):
    base = tmp_path / "r"
    repository(base)
    sha, kind = run_git(base, "hash-object", "a.py"), "100644 blob"
    for _ in range(4):
        lines = "".join(f"{kind} {sha}\td{i}\n" for i in range(10))
        sha, kind = run_git(base, "mktree", data=lines.encode()), "040000 tree"
    commit(base, f"tree {sha}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nx\n")
    assert len(git.repository_files(Source(git=str(base), license="MIT"))) == 10_000
    monkeypatch.setattr(git, "MOST_FILES", 5000)
    with pytest.raises(InputError, match="names more than 5,000 files"):
        git.repository_files(Source(git=str(base), license="MIT"))
    with Repository(base) as own, pytest.raises(InputError, match="no commit '--all'"):
        own.commit("--all")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://SECRET@github.com/a/b.git", "https://github.com/a/b"),
        ("https://user:p@ss@github.com/a/b", "https://github.com/a/b"),
        ("https://user:SECRET@host:8443/a/b.git?token=SECRET#SECRET", "https://host/a/b"),
        ("git@github.com:a/b.git", "https://github.com/a/b"),
        ("ssh://git@github.com:22/a/b", "https://github.com/a/b"),
        ("https://user:SE/CRET@github.com/a/b", None),
        ("https://user:123/x@github.com/a/b", None),
        ("https://user:1?SECRET@github.com/a/b", None),
        ("https://user:1#SECRET@github.com/a/b", None),
        ("oauth2:SECRET@gitlab.com:a/b", None),
        ("/home/me/b", None),
        ("ext::sh -c x", None),
        ("", None),
    ],
)
def test_of_a_remote_only_host_and_path_are_told(url, expected):
    assert page(url) == expected


def notebook(tmp_path, text):
    path = tmp_path / "a.ipynb"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_notebook(local_file(path, "a"), LIMITS, outputs=True)


@pytest.mark.parametrize("level", ["1e400", "-1e400", "1" + "0" * 15, "2000000000", '"x"', "null", "-5", "true"])
def test_headings_have_six_levels(tmp_path, level):
    document = notebook(tmp_path, f'{{"cells": [{{"cell_type": "heading", "level": {level}, "source": "x"}}]}}')
    assert document.text in ("# x", "###### x")


def test_notebooks_that_are_none(tmp_path):
    assert notebook(tmp_path, '{"worksheets": [{}]}').text == ""
    assert notebook(tmp_path, '{"worksheets": [1]}').reason == "damaged_file"
    assert notebook(tmp_path, '{"cells":[{"cell_type":"markdown","source":"\\ud83d a"}]}').text == "\ufffd a"
    assert notebook(tmp_path, "[" * 100_000).reason == "damaged_file"
    before = peak()
    assert notebook(tmp_path, '{"cells":[' + ",".join(["{}"] * 5_000_000) + "]}").reason == "too_large"
    assert peak() - before < 200 << 20


KEYS = """cells worksheets cell_type source input outputs text data text/plain level metadata language_info kernelspec
name language"""
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud83d"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(set(KEYS.split()))), inner, max_size=4)
    ),
)


@FUZZ
@given(values | st.fixed_dictionaries({"cells": values}) | st.fixed_dictionaries({"cells": st.lists(
    st.fixed_dictionaries({"cell_type": st.sampled_from(("code", "markdown", "heading")), "source": values,
                           "outputs": values, "level": values}), max_size=3)}))  # fmt: skip
def test_any_json_as_a_notebook(tmp_path, value):
    document = notebook(tmp_path, json.dumps(value))
    assert document.alive or document.reason == "damaged_file"
    (document.text or "").encode()
    (document.detail or "").encode()


def small_epub(chapter="<p>One.</p>", extra=()):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfile '
            'full-path="p.opf"/></container>',
        )
        book.writestr(
            "p.opf",
            '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="a" href="a.xhtml" '
            'media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>',
        )
        book.writestr("a.xhtml", chapter)
        for name, text in extra:
            book.writestr(name, text)
    return data.getvalue()


def small_pdf(content=b"BT /F 12 Tf 10 10 Td (Hello) Tj ET", title=b"(T)"):
    packed = content if content[:1] == b"\x78" else zlib.compress(content, 9)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n" % len(packed) + packed + b"\nendstream",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>", b"<</Title " + title + b">>",
    ]  # fmt: skip
    out, offsets = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n" % number + one + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return (
        out + b"xref\n0 7\n0000000000 65535 f \n" + table
        + b"trailer<</Size 7/Root 1 0 R/Info 6 0 R>>\nstartxref\n%d\n%%%%EOF" % len(out)
    )  # fmt: skip


def book(tmp_path, data):
    path = tmp_path / "a.epub"
    path.write_bytes(data)
    return read_epub(local_file(path, "a"), LIMITS)


def test_books_that_take_long(tmp_path):
    began = time.perf_counter()
    for chapter in ("<body " * 200_000, "<body>" * 200_000, "</body" * 200_000, "<body>" + "</body>" * 200_000):
        assert book(tmp_path, small_epub(chapter)).alive
    encryption = ("META-INF/encryption.xml", "<x>" + "EncryptionMethod" * 100_000 + "</x>")
    assert book(tmp_path, small_epub(extra=[encryption])).alive
    assert book(tmp_path, small_epub("<?xml version='1.0' encoding='punycode'?>" + "\xe9" * 300_000)).data
    assert time.perf_counter() - began < 10


def test_a_books_list_of_members_is_bounded(tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for number in range(60_000):
            archive.writestr(f"{number}", b"")
    assert book(tmp_path, data.getvalue()).detail == "its list of members is too long"


def test_entities_in_any_encoding(tmp_path):
    for encoding in ("utf-8", "utf-16"):
        text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'.encode(encoding)
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr("META-INF/container.xml", text)
        assert "entities" in book(tmp_path, data.getvalue()).detail


@FUZZ
@given(st.data())
def test_damaged_books_pdfs_and_pictures(tmp_path, data):
    def damaged(whole):
        out = bytearray(whole)
        for place in data.draw(st.lists(st.integers(0, len(out) - 1), min_size=1, max_size=6)):
            out[place] = data.draw(st.sampled_from((0, 1, 127, 128, 255)))
        return bytes(out[: data.draw(st.integers(len(out) // 2, len(out)))])

    document = book(tmp_path, damaged(small_epub()))
    assert document.alive or document.reason in ("damaged_file", "no_text", "encrypted", "too_large", "reader_error")
    document = Document("a", None)
    take_pdf(document, damaged(small_pdf()), LIMITS)
    assert document.alive or document.reason in ("damaged_file", "no_text", "encrypted", "reader_error", "too_large")
    stream = io.BytesIO()
    kind = data.draw(st.sampled_from(("PNG", "JPEG", "GIF", "BMP", "TIFF", "DDS", "ICO")))
    Image.new("RGB", (8, 8)).save(stream, kind)
    assert isinstance(_size(damaged(stream.getvalue())), dict | str)


def test_only_parsers_of_pictures_that_are_read_run():
    for kind, expected in (("PNG", dict), ("JPEG", dict), ("WEBP", dict), ("TIFF", dict), ("DDS", str), ("PCX", str)):
        stream = io.BytesIO()
        Image.new("RGB", (8, 8)).save(stream, kind)
        assert isinstance(_size(stream.getvalue()), expected), kind


def test_a_pdf_that_unpacks_to_gigabytes_ends_its_reader_alone():
    packer = zlib.compressobj(9)
    packed = b"".join([packer.compress(bytes(1 << 20).replace(b"\0", b" ")) for _ in range(900)]) + packer.flush()
    before = peak()
    document = Document("a", None)
    take_pdf(document, small_pdf(packed), LIMITS)
    assert document.reason in ("reader_died", "too_large", "no_text")
    assert peak() - before < 100 << 20
    document = Document("b", None)
    take_pdf(document, small_pdf(), LIMITS)
    assert document.text == "Hello"


def test_a_pdf_that_takes_for_ever_is_ended():
    document = Document("a", None)
    take_pdf(document, small_pdf(b"q 1 0 0 1 0 0 cm\n" * 2_000_000), LIMITS, seconds=0.05)
    assert document.reason == "reader_died"
    assert "after 0.05 seconds" in document.detail


def test_half_a_character_in_a_title(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(small_pdf(title=b"<FEFF0041D8000042>"))
    document = read_pdf(local_file(path, "a"), LIMITS)
    assert document.text == "Hello"
    (document.title or "").encode()


@pytest.mark.parametrize("megabytes", [3, 20, 60])
def test_a_value_that_stands_in_every_row(tmp_path, megabytes):
    path = tmp_path / "a.parquet"
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), pa.array(["a b " * (megabytes << 18)]))
    pq.write_table(pa.table({"text": ["x"] * 300, "url": column}), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 20_000
    before = peak()
    for options in ({"text_field": "url"}, {"url_field": "url"}):
        reasons = [d.reason for d in found(parquet=str(path), **options)]
        expected = {3: [None] * 300, 20: ["too_large"] * 300, 60: ["damaged_file"]}
        assert reasons == expected[megabytes]
        if megabytes == 3:
            break
    assert peak() - before < (1500 if megabytes == 3 else 400) << 20  # these 300 documents are kept above


def test_rows_at_a_time_follow_from_the_pages(tmp_path):
    path = tmp_path / "a.parquet"
    texts = [os.urandom(1500).hex() for _ in range(2000)]
    table = pa.table({"text": [*texts, None], "other": ["x"] * 2001})
    for options in ({}, {"use_dictionary": False}, {"data_page_version": "2.0"}, {"compression": "gzip"},
                    {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}}):  # fmt: skip
        pq.write_table(table, path, row_group_size=700, **options)
        with path.open("rb") as stream:
            plans = [plan(stream, group, ["text"]) for group in chunks(stream)]
        assert all(1 <= one.rows <= 256 and not one.dictionaries for one in plans)
        assert [d.text for d in found(parquet=str(path))] == [*texts, ""]


def test_a_column_of_lists_is_no_id(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x"], "id": [[1]]}), path)
    (one,) = found(parquet=str(path), id_field="id")
    assert "not one value" in one.problem


@FUZZ
@given(st.data())
def test_damaged_tables(tmp_path, data):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["one", "two", "one"] * 20, "url": ["u"] * 60}), path)
    whole = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(4, len(whole) - 9), min_size=1, max_size=3)):
        whole[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(whole))
    source = Source(parquet=str(path), license="MIT", url_field="url")
    for one in read(source, local_file(path, "a"), LIMITS):
        assert isinstance(one, Document | Failure)


def test_thousands_of_empty_members():
    empty = gzip.compress(b"")
    began = time.perf_counter()
    with pytest.raises(BodyError, match="more than 10,000"):
        inflated(empty * 200_000, 4 << 20, 31)
    assert time.perf_counter() - began < 3
    assert inflated(gzip.compress(b"a") * 500 + b"junk", 500, 31) == b"a" * 500
    assert inflated(gzip.compress(b"abc" * 99_999), 1 << 20, 31) == b"abc" * 99_999
    with pytest.raises(BodyError, match="breaks off"):
        inflated(gzip.compress(os.urandom(50_000))[:-9], 1 << 20, 31)


def record(number, length=None, body=b"<p>hello</p>"):
    length = len(body) if length is None else length
    head = b"WARC/1.0\r\nWARC-Type: resource\r\nWARC-Target-URI: http://a.org/%d\r\nContent-Length: %d\r\n\r\n"
    return head % (number, length) + body + b"\r\n\r\n"


@pytest.mark.parametrize("length", [999_999_999, 3_000_000, 70_000])
@pytest.mark.parametrize("body", [b"x", b"y" * 70_000, b"z" * 65_500])
def test_a_wrong_length_costs_its_record_alone(length, body):
    good = [record(number, body=os.urandom(20_000)) for number in range(100)]
    data = record(-1, length, body) + b"".join(good)
    told = list(records(io.BytesIO(gzip.compress(data)), 1 << 20, called_gzip=True))
    if length == 70_000 and body[:1] == b"y":
        assert len(told) == 101
        return
    assert isinstance(told[0], Gap)
    assert told[0].bytes == len(record(-1, length, body))
    assert [one.headers["warc-target-uri"] for one in told[1:] if isinstance(one, Record)] == [
        f"http://a.org/{number}" for number in range(100)
    ]


def test_nothing_but_wrong_lengths():
    began = time.perf_counter()
    data = b"".join(record(number, 900_000_000) for number in range(20_000)) + bytes(1 << 20)
    told = list(records(io.BytesIO(gzip.compress(data)), 1 << 20, called_gzip=True))
    assert sum(isinstance(one, Gap) for one in told) >= 20_000
    told = list(records(io.BytesIO(data.replace(b"900000000", b"000900000")), 1 << 20, called_gzip=False))
    assert sum(isinstance(one, Gap) for one in told) >= 1000  # some lengths lead to where a record does end
    assert time.perf_counter() - began < 15


def test_captions_that_are_too_much(tmp_path):
    (tmp_path / "a.json").write_text("[" + ",".join(["{}"] * 6_000_000) + "]")
    (tmp_path / "b.csv").write_text(",".join(f"c{n}" for n in range(100_000)) + "\n" + "x\n" * 1000)
    (tmp_path / "c.jsonl").write_text("[" * 100_000 + "\n")
    (tmp_path / "d.json").write_text("5")
    assert [one.reason for one in found(image_text=str(tmp_path))] == [
        "too_large", "damaged_file", "corrupt_line", "damaged_file"
    ]  # fmt: skip


def test_encodings_that_no_page_is_in():
    assert plain_text(b"abc", "text/plain; charset=punycode") == "abc"
    assert plain_text(b"\xe4", "text/plain; charset=latin-1") == "ä"


def test_what_a_guard_takes():
    document = Document("a", "text")
    with guarded(document):
        raise RuntimeError("\ud83d")
    assert (document.reason, document.detail, document.text) == ("reader_error", "RuntimeError: \ufffd", None)
    for error in (OSError, lambda: UserError("x", "y")):
        with pytest.raises((OSError, UserError)), guarded(document):
            raise error()
    assert mended("\ud83d\ude00 ä") == "\U0001f600 ä"
