"""What sources themselves say of rights, through the whole stage: a repository's licence, a crawl's robots.txt."""

from __future__ import annotations

import os
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MIT = (
    "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated "
    "documentation files, to deal in the Software without restriction, subject to the following conditions:\n"
    "The above copyright notice and this permission notice shall be included in all copies or substantial portions"
)


def kept(corpus):
    rows = pa.concat_tables([pq.read_table(path) for path in sorted(corpus.path.glob("part-*.parquet"))]).to_pylist()
    return {row["source"]: row for row in rows}


def left_out(corpus):
    return {row["source"]: row for row in pq.read_table(corpus.file("dropped.parquet")).to_pylist()}


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "project"
    files = {f"src/module{i}.py": f"def function{i}():\n    return {i}\n" for i in range(20)} | {
        "LICENSE": MIT,
        "own.py": "# SPDX-License-Identifier: Apache-2.0\nx = 1\n",
        "third/COPYING": "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007",
        "third/code.py": "y = 2\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    who = {f"GIT_{role}_{what}": "x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run(["git", "-C", folder, *words], env={**os.environ, **who}, check=True)
    return folder


def test_files_have_the_licence_of_their_repository(stages, repository, tmp_path):
    source = {"git": str(repository), "license": "unknown", "include": ["*.py"]}
    rights = {"deny": ["GPL-*"]}
    corpus = stages.curate(tmp_path / "out", sources=[source], rights=rights, validation=0.3, workers=1)
    rows = kept(corpus)
    assert (rows["project/own.py"]["license"], rows["project/own.py"]["license_evidence"]) == (
        "Apache-2.0", "spdx-header",
    )  # fmt: skip
    others = [row for name, row in rows.items() if name != "project/own.py"]
    assert len(others) == 20
    assert {(row["license"], row["license_evidence"]) for row in others} == {("MIT", "license-file")}
    (gone,) = left_out(corpus).values()
    assert (gone["source"], gone["reason"], gone["license"]) == (
        "project/third/code.py", "license_not_allowed", "GPL-3.0-only",
    )  # fmt: skip


def record(url: str, body: bytes) -> bytes:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
    head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nContent-Length: {len(block)}\r\n\r\n"
    return head.encode() + block + b"\r\n\r\n"


@pytest.mark.parametrize("rights", [None, {}])
def test_the_robots_txt_of_a_crawl_holds_for_its_pages_and_stays_out_of_the_corpus(stages, tmp_path, rights):
    robots = (
        b"User-agent: *\nDisallow: /private\n\nUser-agent: GPTBot\nDisallow: /private\nDisallow: /p5\n" + b"#" * 9999
    )
    pages = [record(f"http://a.example/p{i}", b"<p>A page about the number %d." % i) for i in range(20)]
    data = [record("http://a.example/robots.txt", robots), *pages, record("http://a.example/private/x", b"<p>Mine.")]
    (tmp_path / "a.warc").write_bytes(b"".join([*data, record("http://b.example/p5", b"<p>Somebody else's.")]))
    sources = [{"warc": str(tmp_path / "a.warc"), "license": "unknown"}]
    corpus = stages.curate(tmp_path / "out", sources=sources, rights=rights, validation=0.3, workers=1)
    rows, gone = kept(corpus), left_out(corpus)
    assert (gone["a.warc#1"]["reason"], gone["a.warc#1"]["detail"]) == ("not_a_document", "robots.txt")
    refused = {row["url"]: row["detail"] for row in gone.values() if row["reason"] == "opted_out"}
    assert refused == (
        {
            "http://a.example/p5": "robots.txt:GPTBot",
            "http://a.example/private/x": "robots.txt:GPTBot",
        }
        if rights is not None
        else {}
    )
    assert len(rows) == 22 - len(refused)
    assert all(len(row["metadata"] or "") < 500 for row in [*rows.values(), *gone.values()])
