"""Books, pages, notebooks, PDFs, repositories, captions and data sets, whole and broken."""

import gzip
import io
import json
import os
import subprocess
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bedplate.data.documents import Document, Failure
from bedplate.data.reading import Limits, find, pieces, raw_inputs, read
from bedplate.data.reading.front_matter import split_front_matter
from bedplate.data.source import Source
from bedplate.errors import InputError

LIMITS = Limits()


def found(limits=LIMITS, target=1 << 20, **options):
    source = Source(license="unknown", name=options.pop("name", "raw"), **options)
    return [d for piece in pieces(source, find(source), target) for d in read(source, piece, limits)]


def fates(documents):
    return {d.source.removeprefix("raw/"): d.reason for d in documents}


def epub(path, *, chapters=("<p>One.</p>", "<p>Two.</p>"), extra=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OEBPS/b.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
        )
        items = "".join(
            f'<item id="c{i}" href="c%20{i}.xhtml" media-type="application/xhtml+xml"/>' for i in range(len(chapters))
        )
        spine = "".join(f'<itemref idref="c{i}"/>' for i in reversed(range(len(chapters))))
        book.writestr(
            "OEBPS/b.opf",
            '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
            "<dc:title>A &amp; B</dc:title><dc:language>en</dc:language><dc:rights>CC0-1.0</dc:rights>"
            "<dc:date>1911</dc:date><dc:creator>X</dc:creator><dc:creator>Y</dc:creator></metadata>"
            f"<manifest>{items}</manifest><spine>{spine}</spine></package>",
        )
        for i, chapter in enumerate(chapters):
            book.writestr(f"OEBPS/c {i}.xhtml", f"<html><head><title>x</title></head><body>{chapter}</body></html>")
        for name, data in extra:
            book.writestr(name, data)


def test_books(tmp_path):
    epub(tmp_path / "a.epub")
    epub(tmp_path / "bomb.epub", chapters=("a" * (30 << 20),))
    epub(tmp_path / "drm.epub", extra=[("META-INF/encryption.xml", '<EncryptionMethod Algorithm="urn:x-aes"/>')])
    data = (tmp_path / "a.epub").read_bytes()
    (tmp_path / "cut.epub").write_bytes(data[: len(data) // 2])
    (tmp_path / "nul.epub").write_bytes(bytes(100))
    (tmp_path / "flipped.epub").write_bytes(data.replace(b"OEBPS/b.opf", b"OEBPS/c.opf", 1))
    documents = found(epub=str(tmp_path))
    assert fates(documents) == {
        "a.epub": None,
        "bomb.epub": "too_large",
        "cut.epub": "damaged_file",
        "drm.epub": "encrypted",
        "flipped.epub": "damaged_file",
        "nul.epub": "damaged_file",
    }
    book = documents[0]
    assert (book.title, book.language, book.license, book.date) == ("A & B", "en", "CC0-1.0", "1911")
    assert book.metadata == {"creator": ["X", "Y"], "chapters": 2}
    assert b"<section><p>Two.</p></section>\n<section><p>One.</p></section>" in book.data


def test_pages(tmp_path, shared_data):
    page = b"<!-- saved from url=(0017)http://a.example/ --><html><p>Hi"
    (tmp_path / "a.html").write_bytes(page)
    (tmp_path / "b.HTML.gz").write_bytes(gzip.compress(page))
    (tmp_path / "bomb.html.gz").write_bytes(gzip.compress(bytes(50 << 20)))
    (tmp_path / "cut.html.gz").write_bytes(gzip.compress(page)[:-9])
    (tmp_path / "huge.html").touch()
    os.truncate(tmp_path / "huge.html", 200 << 20)
    documents = found(html=str(tmp_path))
    assert fates(documents) == {
        "a.html": None, "b.HTML.gz": None, "bomb.html.gz": "too_large", "cut.html.gz": "damaged_gzip",
        "huge.html": "too_large",
    }  # fmt: skip
    assert [d.url for d in documents[:2]] == ["http://a.example/"] * 2
    assert [d.data for d in documents[:2]] == [page] * 2
    assert len(found(html=str(shared_data / "article_extraction/html"))) == 91


def test_markdown(tmp_path):
    (tmp_path / "a.md").write_text(
        "---\ntitle: T\ndate: 2024-05-01\ntags: [x, y]\nlicense: MIT\n---\n# Other\n\nText\n"
    )
    (tmp_path / "b.md").write_text("Heading\n=======\n\nText\n")
    (tmp_path / "c.md").write_bytes(b"\xff\xfe\x00")
    a, b, c = found(markdown=str(tmp_path))
    assert (a.title, a.date, a.license, a.text) == ("T", "2024-05-01", "MIT", "# Other\n\nText\n")
    assert a.metadata["front_matter"]["tags"] == ["x", "y"]
    assert b.title == "Heading"
    assert c.reason == "not_text"


@pytest.mark.parametrize(
    "text",
    [
        "---\na: &a [x, x]\nb: [*a, *a]\n---\nText",
        "---\n!!python/object/apply:os.system [ls]\n---\nText",
        "---\nnot fields\n---\nText",
        "---\na: 1",
        "---\na: [[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]\n---\nText",
    ],
)
def test_front_matter_that_is_none_stays_text(text):
    assert split_front_matter(text) == ({}, text)


def test_notebooks(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "words"]},
        {"cell_type": "code", "source": "print('```')", "outputs": [{"output_type": "stream", "text": ["```\n"]}]},
        {"cell_type": "raw", "source": "x"},
    ]
    notebook = {"nbformat": 4, "metadata": {"language_info": {"name": "python"}}, "cells": cells}
    (tmp_path / "a.ipynb").write_text(json.dumps(notebook))
    (tmp_path / "b.ipynb").write_text("{}")
    (tmp_path / "c.ipynb").write_text(json.dumps({"cells": [1]}))
    (tmp_path / "d.ipynb").write_bytes(b"[" * 100_000)
    documents = found(notebook=str(tmp_path))
    assert fates(documents) == {
        "a.ipynb": None, "b.ipynb": "damaged_file", "c.ipynb": "damaged_file", "d.ipynb": "damaged_file"
    }  # fmt: skip
    assert documents[0].text == "# Title\nwords\n\n````python\nprint('```')\n````"
    assert documents[0].title == "Title"
    assert found(notebook=str(tmp_path / "a.ipynb"), outputs=True)[0].text.endswith("````\n```\n````")


def pdf(*texts, title="T"):
    """A PDF with a page for each text, written by hand (ISO 32000)."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(texts)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(texts)}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for i, text in enumerate(texts):
        stream = f"BT /F 12 Tf 50 700 Td ({text}) Tj ET" if text else ""
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F 3 0 R>>>>/Contents {5 + 2 * i} 0 R>>"
        )
        objects.append(f"<</Length {len(stream)}>>stream\n{stream}\nendstream")
    objects.append(f"<</Title({title})/Author(A)/CreationDate(D:20240501120000Z)>>")
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    trailer = f"trailer<</Size {len(objects) + 1}/Root 1 0 R/Info {len(objects)} 0 R>>"
    return (
        out
        + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}\nstartxref\n{len(out)}\n%%EOF".encode()
    )


def test_pdfs(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf("First page", "", "Third page"))
    (tmp_path / "b.pdf").write_bytes(pdf("", ""))
    (tmp_path / "c.pdf").write_bytes(b"%PDF-1.4\n" + bytes(200))
    (tmp_path / "d.pdf").write_bytes(pdf(*["x"] * 20))
    (tmp_path / "e.pdf").write_bytes(b"")
    documents = found(pdf=str(tmp_path), limits=Limits(pages=10))
    assert fates(documents) == {
        "a.pdf": None, "b.pdf": "no_text", "c.pdf": "damaged_file", "d.pdf": "too_large", "e.pdf": "damaged_file"
    }  # fmt: skip
    a = documents[0]
    assert (a.text, a.title, a.date) == ("First page\n\nThird page", "T", "2024-05-01T12:00:00Z")
    assert a.metadata == {"pages": 3, "author": "A"}


def git(folder, *words):
    names = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    dates = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2024-05-01T12:00:00+0200")
    done = subprocess.run(
        ["git", "-C", folder, *words], env={**os.environ, **names, **dates}, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path):
    base = tmp_path / "repository"
    base.mkdir()
    files = {
        "a.py": b"print(1)\n", "docs/\xc3\xa4.md".encode("latin-1").decode(): "# Grüße\n".encode(), "b.bin": b"\0\1",
        "latin.txt": b"\xe4", "vendor/x/y.go": b"package y\n", "x_pb2.py": b"x = 1\n", "big.txt": b"x" * 5000,
        "gen.go": b"// Code generated by stringer; DO NOT EDIT.\n", "yarn.lock": b"{}",
    }  # fmt: skip
    for name, data in files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(data)
    (base / "link").symlink_to("a.py")
    git(base, "init", "-q")
    git(base, "remote", "add", "origin", "https://user:secret@github.com/o/r.git")
    git(base, "add", "-A")
    git(base, "commit", "-qm", "one")
    return base


def test_repositories(repository):
    commit = git(repository, "rev-parse", "HEAD")
    before = raw_inputs([Source(git=str(repository), license="MIT")], "stop")
    (repository / "a.py").write_text("not committed")
    assert raw_inputs([Source(git=str(repository), license="MIT")], "stop") == before
    for target in (1, 1 << 20):
        documents = found(git=str(repository), limits=Limits(1000), target=target)
        assert fates(documents) == {
            "a.py": None, "b.bin": "binary", "big.txt": "too_large", "docs/ä.md": None, "gen.go": "generated",
            "latin.txt": "not_text", "link": "not_a_document", "vendor/x/y.go": "vendored", "x_pb2.py": "generated",
            "yarn.lock": "generated",
        }  # fmt: skip
    a = documents[0]
    assert (a.text, a.language, a.date) == ("print(1)\n", "python", "2024-05-01T10:00:00Z")
    assert a.url == f"https://github.com/o/r/blob/{commit}/a.py"
    assert a.metadata["commit"] == commit
    assert fates(found(git=str(repository), include=("docs/**",))) == {"docs/ä.md": None}
    with pytest.raises(InputError, match="no commit 'nothing'"):
        found(git=str(repository), commit="nothing")
    with pytest.raises(InputError, match="docs: no git repository, of which `git` takes the top folder"):
        found(git=str(repository / "docs"))


def test_what_licence_files_say_of_the_files_below_them(tmp_path):
    mit = (
        "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated "
        "documentation files, to deal in the Software without restriction, subject to the following conditions:\n"
        "The above copyright notice and this permission notice shall be included in all copies or substantial portions"
    )
    apache = "Apache License\nVersion 2.0, January 2004"
    gpl = "GNU GENERAL PUBLIC LICENSE\n  Version 3, 29 June 2007"
    files = {
        "LICENSE.md": mit, "a.py": "1", "src/x/b.py": "2", "gpl/COPYING": gpl, "gpl/deep/er/c.py": "3",
        "both/LICENSE-APACHE": apache, "both/LICENSE-MIT": mit, "both/d.rs": "4",
        "own/LICENSE": "Ask my aunt.", "own/e.py": "5", "both/sub/LICENCE": gpl, "both/sub/f.rs": "6",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own" / "COPYING").symlink_to("../LICENSE.md")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "one")
    # By a glob that leaves the licence files out, and in pieces that don't hold them.
    for target in (1, 1 << 20):
        documents = found(git=str(tmp_path), include=("*.py", "*.rs"), target=target)
        assert {d.source.rpartition("/")[2]: d.metadata.get("license_file") for d in documents} == {
            "a.py": "MIT", "b.py": "MIT", "c.py": "GPL-3.0-only", "d.rs": "Apache-2.0 AND MIT", "e.py": None,
            "f.rs": "GPL-3.0-only",
        }  # fmt: skip


def test_a_damaged_object_costs_its_file_alone(repository):
    sha = git(repository, "rev-parse", "HEAD:docs/ä.md")
    path = repository / ".git/objects" / sha[:2] / sha[2:]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:10])
    told = fates(found(git=str(repository)))
    assert (told["docs/ä.md"], told["a.py"], told["latin.txt"]) == ("missing_object", None, "not_text")


def picture(size=(3, 2)):
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, "PNG")
    return stream.getvalue()


def test_pictures_with_captions(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.png", "sub/c.png"):
        (tmp_path / name).write_bytes(picture())
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "a.txt").write_text("beside\n")
    (tmp_path / "alone.txt").write_text("alone")
    rows = [("b.png", "B"), ("sub/c.png", "C"), ("missing.png", "M"), ("../x.png", "X"), ("bad.png", "D"), (1, "E")]
    lines = [json.dumps({"file_name": name, "text": text, "id": text}) for name, text in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join([*lines, "no JSON"]))
    (tmp_path / "sub/rows.csv").write_text('file_name,text,id\nc.png,"a, b",7\n')
    (tmp_path / "x.json").write_text('{"annotations": [{"file_name": "a.png", "text": "A", "id": 1}]}')
    documents = found(image_text=str(tmp_path), id_field="id")
    assert fates(documents) == {
        "a.txt": None, "alone.txt": "missing_picture", "rows.jsonl#1": None, "rows.jsonl#2": None,
        "rows.jsonl#3": "missing_picture", "rows.jsonl#4": "missing_picture", "rows.jsonl#5": "damaged_picture",
        "rows.jsonl#6": "missing_field", "rows.jsonl#7": "corrupt_line",
        "sub/rows.csv#1": None, "x.json#1": None,
    }  # fmt: skip
    alive = [d for d in documents if isinstance(d, Document) and d.alive]
    assert [(d.text, d.images) for d in alive] == [
        ("beside", ("a.png",)), ("B", ("b.png",)), ("C", ("sub/c.png",)), ("a, b", ("sub/c.png",)), ("A", ("a.png",))
    ]  # fmt: skip
    assert alive[0].metadata["picture"].keys() == {"bytes", "sha256", "width", "height", "format"}
    before = raw_inputs([Source(image_text=str(tmp_path), license="MIT")], "stop")
    (tmp_path / "b.png").write_bytes(picture((4, 4)))
    assert raw_inputs([Source(image_text=str(tmp_path), license="MIT")], "stop") != before


def test_real_pictures(shared_data, tmp_path):
    with zipfile.ZipFile(shared_data / "emoji_image_text/png64.zip") as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if name.startswith("png64/1f4")])
    (tmp_path / "png64/emoji.json").write_bytes((shared_data / "emoji_image_text/emoji.json").read_bytes())
    documents = found(image_text=str(tmp_path / "png64"), text_field="name", image_field="image", id_field="unified")
    alive = [d for d in documents if d.alive]
    assert len(documents) == 1911
    assert len(alive) > 200
    assert {d.reason for d in documents} == {None, "missing_picture"}
    assert {(d.metadata["picture"]["width"], d.metadata["picture"]["format"]) for d in alive} == {(64, "png")}


def test_mixed_documents(tmp_path):
    epub(tmp_path / "a.epub")
    (tmp_path / "b.pdf").write_bytes(pdf("Words"))
    (tmp_path / "c.md").write_text("# T\n")
    (tmp_path / "d.htm").write_text("<p>x")
    (tmp_path / "e").write_text("plain")
    (tmp_path / "f.jsonl").write_text("{}")
    (tmp_path / "g.bin").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "h.warc").touch()
    documents = found(documents=str(tmp_path))
    assert fates(documents) == {
        "a.epub": None, "b.pdf": None, "c.md": None, "d.htm": None, "e": None, "f.jsonl": "not_a_document",
        "g.bin": "not_text", "h.warc#1": "empty_file",
    }  # fmt: skip


def test_data_sets_of_the_hub(tmp_path):
    commit = "0123456789" * 4
    base = tmp_path / "datasets--o--d"
    snapshot = base / "snapshots" / commit / "data"
    snapshot.mkdir(parents=True)
    (base / "refs").mkdir()
    (base / "refs/main").write_text(commit)
    (base / "blobs").mkdir()
    table = pa.table({"text": ["a", "b"], "url": ["u", None]})
    pq.write_table(table, base / "blobs/1")
    (snapshot / "train-00000-of-00002.parquet").symlink_to(base / "blobs/1")
    with pa.ipc.new_stream(str(snapshot / "train-00001-of-00002.arrow"), table.schema) as out:
        out.write_table(table)
    (snapshot / "test.jsonl").write_text('{"text": "c", "url": "v"}\n')
    (snapshot / "script.py").write_text("raise SystemExit")
    (snapshot / "cache-1.arrow").write_bytes(b"x")
    documents = found(dataset=str(base), url_field="url")
    assert [(d.text, d.url) for d in documents] == [("c", "v"), ("a", "u"), ("b", None), ("a", "u"), ("b", None)]
    assert [d.text for d in found(dataset=str(base), split="train")] == ["a", "b", "a", "b"]
    with pytest.raises(InputError, match="no files of a split 'dev'"):
        found(dataset=str(base), split="dev")
    with pytest.raises(InputError, match="without a revision"):
        found(dataset="nobody/nothing")
    (snapshot / "train-00001-of-00002.arrow").write_bytes(b"x" * 100)
    assert [d.reason for d in found(dataset=str(base), split="train") if isinstance(d, Failure)] == ["damaged_file"]
