"""Bad input of every kind, through the whole stage: counted, named, and no harm to the rest."""

from __future__ import annotations

import gc
import gzip
import json
import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bedplate.data.curation import run as curation_run
from bedplate.errors import BusyError, InputError, StorageError

STAGES = {
    "extract": {},
    "rights": {},
    "privacy": {},
    "signals": {},
    "filters": {"rules": [{"column": "words", "min": 3}]},
    "deduplicate": {"exact": {}, "minhash": {}},
    "validation": 0.3,
}


def text(number: int, words: int = 60) -> str:
    """Prose like no other."""
    draw = random.Random(number)
    syllables = ("ba", "de", "ki", "lo", "mu", "ra", "se", "ti", "vo", "zu")
    return " ".join("".join(draw.choices(syllables, k=draw.randrange(1, 4))) for _ in range(words)) + "."


def page(number: int) -> bytes:
    return f"<html><title>Page {number}</title><body><article><p>{text(number)}</p></article></body></html>".encode()


def record(number: int, body: bytes | None = None, head: bytes = b"") -> bytes:
    block = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + head + b"\r\n" + (page(number) if body is None else body)
    )
    start = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://{number}.example/\r\n"
    return (start + f"Content-Length: {len(block)}\r\n\r\n").encode() + block + b"\r\n\r\n"


def balanced(measures: dict) -> None:
    """read = kept + dropped + failed at every stage, and each reads what the one before it kept."""
    before = measures["read"]
    for name, counts in measures["stages"].items():
        gone = sum(counts["dropped"].values()) + sum(counts["failed"].values())
        assert (name, counts["read"]) == (name, before)
        assert counts["read"] == counts["kept"] + gone
        before = counts["kept"]
    assert before == measures["kept"] == sum(measures["documents"].values())
    assert measures["read"] == measures["kept"] + sum(measures["dropped"].values()) + sum(measures["failed"].values())


def fates(corpus, folder: Path) -> dict[str, tuple[str, str, str]]:
    """{source: (stage, status, reason)} of what isn't in it; none says where on this disk that was."""
    found = {}
    for row in pq.read_table(corpus.file("dropped.parquet")).to_pylist():
        assert str(folder) not in json.dumps(row)
        found[row["source"]] = (row["stage"], row["status"], row["reason"])
    return found


def sources_of(corpus) -> list[str]:
    return pa.concat_tables([pq.read_table(path) for path in sorted(corpus.path.glob("part-*.parquet"))])[
        "source"
    ].to_pylist()


@pytest.fixture
def good(tmp_path):
    """A source with nothing wrong in it."""
    (tmp_path / "good").mkdir()
    for number in range(30):
        (tmp_path / "good" / f"{number:02d}.txt").write_text(text(1000 + number))
    return {"folder": str(tmp_path / "good"), "license": "MIT"}


def test_web_archives(stages, tmp_path, good):
    raw = tmp_path / "crawl"
    raw.mkdir()
    members = [gzip.compress(record(number), mtime=0) for number in range(12)]
    (raw / "a.warc.gz").write_bytes(b"".join(members))
    (raw / "empty.warc").touch()
    (raw / "empty.warc.gz").write_bytes(gzip.compress(b""))
    (raw / "cut.warc.gz").write_bytes(b"".join(gzip.compress(record(20 + n), mtime=0) for n in range(4))[:-40])
    damaged = [gzip.compress(record(30 + number), mtime=0) for number in range(9)]
    damaged[4] = damaged[4][:50] + b"\xff" * 40 + damaged[4][90:]
    (raw / "damaged.warc.gz").write_bytes(b"".join(damaged))
    bomb = gzip.compress(bytes(100 << 20), 1)
    (raw / "bomb.warc.gz").write_bytes(
        gzip.compress(record(50, bytes(100 << 20)), 1)
        + gzip.compress(record(51, bomb, b"Content-Encoding: gzip\r\n"))
        + gzip.compress(record(52))
    )
    (raw / "text.warc").write_text("no archive at all\n" * 100)
    sources = [{"warc": str(raw), "license": "unknown"}, good]
    corpus = stages.curate(tmp_path / "out", sources=sources, workers=1, **STAGES)
    balanced(corpus.measures)
    told = fates(corpus, tmp_path)
    assert told == {
        "crawl/bomb.warc.gz#1": ("read", "dropped", "too_large"),
        "crawl/bomb.warc.gz#2": ("read", "dropped", "too_large"),
        "crawl/cut.warc.gz#4": ("read", "failed", "damaged_gzip"),
        "crawl/damaged.warc.gz#5": ("read", "failed", "damaged_gzip"),
        "crawl/empty.warc#1": ("read", "failed", "empty_file"),
        "crawl/empty.warc.gz#1": ("read", "failed", "empty_file"),
        "crawl/text.warc#1": ("read", "failed", "not_a_record"),
    }
    assert corpus.measures["kept"] == 12 + 3 + 8 + 1 + 30
    details = {row["source"]: row["detail"] for row in pq.read_table(corpus.file("dropped.parquet")).to_pylist()}
    assert details["crawl/empty.warc#1"] == "crawl/empty.warc byte 0: it holds no record: the file is empty"
    assert "the next record that can be read, at byte" in details["crawl/damaged.warc.gz#5"]


DEEP = b"<html><body>" + b"<div>" * 100_000 + b"deep" + b"</div>" * 100_000 + b"</body></html>"


def test_pages(stages, tmp_path, good):
    raw = tmp_path / "pages"
    raw.mkdir()
    (raw / "bomb.html.gz").write_bytes(gzip.compress(bytes(100 << 20), 1))
    (raw / "cut.html.gz").write_bytes(gzip.compress(page(1))[:-9])
    (raw / "deep.html").write_bytes(DEEP)
    (raw / "spans.html").write_bytes(b"<p>" + b"<span>" * 100_000 + page(2))
    (raw / "empty.html").touch()
    (raw / "nul.html").write_bytes(page(3).replace(b" ", b" \0", 20))
    said_utf8 = f"<html><head><meta charset=utf-8></head><body><p>Größe, Käse, Öl und {text(4)}</p></body></html>"
    (raw / "wrong.html").write_bytes(said_utf8.encode("latin-1"))
    (raw / "wrong-too.html").write_bytes(said_utf8.replace("utf-8", "ascii").replace(text(4), text(5)).encode())
    (raw / "invalid.html").write_bytes(page(6).replace(b"</p>", b"\xff\xfe\xc3</p>"))
    (raw / "picture.html").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    for number in range(10, 20):
        (raw / f"{number}.html").write_bytes(page(number))
    sources = [{"html": str(raw), "license": "unknown"}, good]
    corpus = stages.curate(tmp_path / "out", sources=sources, workers=1, **STAGES)
    balanced(corpus.measures)
    assert fates(corpus, tmp_path) == {
        "pages/bomb.html.gz": ("read", "dropped", "too_large"),
        "pages/cut.html.gz": ("read", "failed", "damaged_gzip"),
        "pages/deep.html": ("extract", "dropped", "too_deep"),
        "pages/empty.html": ("extract", "dropped", "no_text"),
        "pages/picture.html": ("extract", "dropped", "unsupported_type"),
        "pages/spans.html": ("extract", "dropped", "too_deep"),
    }
    texts = {
        row["source"]: row["text"]
        for path in corpus.path.glob("part-*.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    assert texts["pages/wrong.html"].startswith("Größe, Käse, Öl und")
    assert texts["pages/wrong-too.html"].startswith("Größe, Käse, Öl und")
    assert "\0" not in texts["pages/nul.html"]


def pdf(content: bytes, *, encrypted: bool = False) -> bytes:
    """A PDF of one page."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources <</Font <</F 5 0 R>> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        # ISO 32000-1, 7.6.3: keys that no empty password makes.
        b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (b"ab" * 32, b"cd" * 32),
    ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 7\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    more = b" /Encrypt 6 0 R /ID [<00> <00>]" if encrypted else b""
    return out + b"trailer\n<< /Size 7 /Root 1 0 R%s >>\nstartxref\n%d\n%%%%EOF\n" % (more, table)


def epub(path: Path, chapter: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="b.opf"/></rootfiles></container>',
        )
        book.writestr(
            "b.opf",
            '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="c" href="c.xhtml" '
            'media-type="application/xhtml+xml"/></manifest><spine><itemref idref="c"/></spine></package>',
        )
        book.writestr("c.xhtml", f"<html><body>{chapter}</body></html>")


def test_files_of_many_formats(stages, tmp_path, good):
    raw = tmp_path / "mixed"
    raw.mkdir()
    epub(raw / "a.epub", f"<p>{text(1)}</p>")
    epub(raw / "bomb.epub", "a" * (200 << 20))
    (raw / "cut.epub").write_bytes((raw / "a.epub").read_bytes()[:-100])
    (raw / "a.pdf").write_bytes(pdf(b"BT /F 12 Tf 20 700 Td (%s) Tj ET" % text(2, 12).encode()))
    (raw / "scan.pdf").write_bytes(pdf(b"0 0 100 100 re f"))
    (raw / "locked.pdf").write_bytes(pdf(b"", encrypted=True))
    (raw / "rubbish.pdf").write_bytes(b"%PDF-1.7\n" + bytes(range(256)) * 20)
    (raw / "empty.pdf").touch()
    (raw / "nul.txt").write_bytes(text(3).replace(" ", "\0").encode())
    (raw / "invalid.txt").write_bytes(b"\xc3\x28 \xff \xed\xa0\x80 " + text(4).encode())
    (raw / "utf16.txt").write_bytes(text(5).encode("utf-16"))
    (raw / "no.ipynb").write_text('{"cells": 7}')
    (raw / "deep.ipynb").write_text("[" * 100_000)
    (raw / "table.parquet").write_bytes(b"PAR1")
    (raw / "loop").symlink_to("loop")
    (raw / "round").symlink_to(raw)
    (raw / "nowhere.txt").symlink_to("gone.txt")
    sources = [{"documents": str(raw), "license": "unknown"}, good]
    corpus = stages.curate(tmp_path / "out", sources=sources, workers=1, **STAGES)
    balanced(corpus.measures)
    told = fates(corpus, tmp_path)
    assert told == {
        "mixed/bomb.epub": ("read", "dropped", "too_large"),
        "mixed/cut.epub": ("read", "failed", "damaged_file"),
        "mixed/deep.ipynb": ("read", "failed", "damaged_file"),
        "mixed/empty.pdf": ("read", "failed", "damaged_file"),
        "mixed/invalid.txt": ("read", "dropped", "not_text"),
        "mixed/locked.pdf": ("read", "dropped", "encrypted"),
        "mixed/no.ipynb": ("read", "failed", "damaged_file"),
        "mixed/nul.txt": ("read", "dropped", "not_text"),
        "mixed/rubbish.pdf": ("read", "failed", "damaged_file"),
        "mixed/scan.pdf": ("read", "dropped", "no_text"),
        "mixed/table.parquet": ("read", "dropped", "not_a_document"),
        "mixed/utf16.txt": ("read", "dropped", "not_text"),
    }
    assert sources_of(corpus)[:2] == ["mixed/a.epub", "mixed/a.pdf"]


def test_rows(stages, tmp_path, good):
    rows = [{"key": number % 40, "text": text(number)} for number in range(60)]
    lines = [json.dumps(row).encode() for row in rows]
    lines[3], lines[5] = b'{"key": 3, "text": "half', b'{"key": 5}'
    lines[7] = b'{"key": 7, "text": "a\\u0000b"}'
    lines[9] = b'{"key": 9, "text": "\xff\xfe"}'
    lines[11] = b'{"text": "without"}'
    lines[13] = b'{"key": 13, "text": ' + b"[" * 100_000
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    bomb = b'{"key": 100, "text": "' + b"x" * (100 << 20) + b'"}\n'
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(bomb + json.dumps({"key": 1, "text": text(99)}).encode(), 1))
    sources = [
        {"jsonl": str(tmp_path / "a.jsonl"), "license": "MIT", "id_field": "key"},
        {"jsonl": str(tmp_path / "b.jsonl.gz"), "license": "MIT", "id_field": "key"},
        good,
    ]
    corpus = stages.curate(tmp_path / "out", sources=sources, on_error="skip", **STAGES)
    balanced(corpus.measures)
    told = {name: (status, reason) for name, (_, status, reason) in fates(corpus, tmp_path).items()}
    again = {f"a.jsonl#{number + 1}": ("dropped", "duplicate_id") for number in range(40, 60)}
    # The first of an id counts wherever it ended; one that can't be read has no id to count.
    again = {name: why for name, why in again.items() if name not in ("a.jsonl#44", "a.jsonl#46", "a.jsonl#50",
             "a.jsonl#52", "a.jsonl#54")}  # fmt: skip
    assert told == again | {
        "a.jsonl#4": ("failed", "corrupt_line"),
        "a.jsonl#6": ("failed", "missing_field"),
        "a.jsonl#8": ("dropped", "not_text"),
        "a.jsonl#10": ("failed", "corrupt_line"),
        "a.jsonl#12": ("failed", "no_id"),
        "a.jsonl#14": ("failed", "corrupt_line"),
        "b.jsonl.gz#1": ("dropped", "too_large"),
    }
    with pytest.raises(InputError, match=r"a\.jsonl line 4: not JSON") as error:
        stages.curate(tmp_path / "stopped", sources=sources, **STAGES)
    assert "on_error=skip" in (error.value.fix or "")


def test_ids_are_compared_across_a_large_file(stages, tmp_path, monkeypatch):
    rows = [{"key": number % 200, "text": text(number)} for number in range(300)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"jsonl": str(tmp_path / "a.jsonl"), "license": "MIT", "id_field": "key"}
    pieces = curation_run.pieces
    digests = set()
    for target in (1 << 30, 5000):
        monkeypatch.setattr(curation_run, "pieces", lambda source, files, target=target: pieces(source, files, target))
        corpus = stages.curate(tmp_path / f"out{target}", sources=[source])
        balanced(corpus.measures)
        assert corpus.measures["dropped"] == {"duplicate_id": 100}
        assert corpus.measures["kept"] == 200
        digests.add(tuple(sources_of(corpus)))
    assert len(digests) == 1


def test_a_table_that_lacks_a_column(stages, tmp_path, good):
    (tmp_path / "tables").mkdir()
    pq.write_table(pa.table({"text": [text(n) for n in range(20)]}), tmp_path / "tables" / "a.parquet")
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "tables" / "b.parquet")
    sources = [{"parquet": str(tmp_path / "tables"), "license": "MIT"}, good]
    with pytest.raises(InputError, match=r'b\.parquet: no column "text" \(columns: body\)') as error:
        stages.curate(tmp_path / "out", sources=sources, **STAGES)
    assert error.value.fix == "Set text_field to the right column."
    corpus = stages.curate(tmp_path / "out", sources=sources, on_error="skip", **STAGES)
    balanced(corpus.measures)
    assert fates(corpus, tmp_path) == {"tables/b.parquet": ("read", "failed", "missing_column")}


def test_pictures_that_are_missing(stages, tmp_path, good):
    raw = tmp_path / "pictures"
    raw.mkdir()
    for number in range(12):
        Image.new("RGB", (8, 8), (number * 20, 0, 0)).save(raw / f"{number}.png")
    (raw / "5.png").unlink()
    (raw / "6.png").write_bytes(b"no picture")
    lines = [json.dumps({"file_name": f"{n}.png", "text": text(n, 10)}) for n in range(12)]
    (raw / "captions.jsonl").write_text("\n".join([*lines, '{"file_name": "../secret.png", "text": "a way out"}']))
    sources = [{"image_text": str(raw), "license": "unknown"}, good]
    corpus = stages.curate(tmp_path / "out", sources=sources, workers=1, **STAGES)
    balanced(corpus.measures)
    assert fates(corpus, tmp_path) == {
        "pictures/captions.jsonl#6": ("read", "failed", "missing_picture"),
        "pictures/captions.jsonl#7": ("read", "failed", "damaged_picture"),
        "pictures/captions.jsonl#13": ("read", "failed", "missing_picture"),
    }


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(stages, tmp_path, good):
    (tmp_path / "good" / "secret.txt").write_text("secret")
    (tmp_path / "good" / "secret.txt").chmod(0)
    corpus = stages.curate(tmp_path / "out", sources=[good], on_error="skip")
    balanced(corpus.measures)
    assert fates(corpus, tmp_path) == {"good/secret.txt": ("read", "failed", "unreadable")}


@pytest.mark.parametrize("kind", ["folder", "html"])
def test_a_file_that_goes_away_between_planning_and_reading(stages, tmp_path, monkeypatch, kind):
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(20):
        (raw / f"{number}.html").write_bytes(page(number))
    pieces = curation_run.pieces

    def planned(source, files):
        found = pieces(source, files)
        (raw / "7.html").unlink()
        return found

    monkeypatch.setattr(curation_run, "pieces", planned)
    skip = {} if kind == "html" else {"on_error": "skip"}
    source = {kind: str(raw), "license": "MIT"}
    corpus = stages.curate(tmp_path / "out", sources=[source], validation=0.3, workers=1, **skip)
    balanced(corpus.measures)
    assert corpus.measures["kept"] == 19
    (row,) = pq.read_table(corpus.file("dropped.parquet")).to_pylist()
    assert (row["source"], row["reason"]) == ("raw/7.html", "unreadable")
    assert row["detail"] == "raw/7.html: can't be read: No such file or directory"


PEAK = """
import json, resource, sys
from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.ledger import produce

if __name__ == "__main__":
    config = CurateConfig(**json.loads(sys.argv[1]))
    measures = produce(CURATE, config, {}, sys.argv[2], name="c", console=Console.quiet()).measures
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"peak": max(peaks) << 10, "dropped": measures["dropped"], "read": measures["read"]}))
"""


def test_a_huge_document_is_never_held(tmp_path, good):
    """200 MB as text, a line, a gzipped line, a page, a gzipped page, records of a crawl: the memory of the process
    is that of the same run without them, and two buffers of the longest line that is looked at (25 MB)."""
    (tmp_path / "run.py").write_text(PEAK)
    for name in ("text", "lines", "pages", "crawl"):
        (tmp_path / name).mkdir()
    sources = [
        {"folder": str(tmp_path / "text"), "license": "MIT"},
        {"jsonl": str(tmp_path / "lines"), "license": "MIT"},
        {"html": str(tmp_path / "pages"), "license": "MIT"},
        {"warc": str(tmp_path / "crawl"), "license": "MIT"},
        good,
    ]
    (tmp_path / "text" / "a.txt").write_text(text(1))
    (tmp_path / "lines" / "a.jsonl").write_text(json.dumps({"text": text(2)}))
    (tmp_path / "pages" / "a.html").write_bytes(page(3))
    (tmp_path / "crawl" / "a.warc").write_bytes(record(4))

    def measured(out: str) -> dict:
        given = json.dumps({"sources": sources, "workers": 1, **STAGES})
        done = subprocess.run(
            [sys.executable, tmp_path / "run.py", given, tmp_path / out], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout.splitlines()[-1])

    small = measured("small")
    assert small["read"] == 34
    size, block = 200 << 20, b"word " * (1 << 18)
    for name, start, end in (
        ("text/b.txt", b"", b""),
        ("lines/b.jsonl", b'{"text": "', b'"}\n'),
        ("lines/c.jsonl.gz", b'{"text": "', b'"}\n'),
        ("pages/b.html", b"<html>", b"</html>"),
        ("pages/c.html.gz", b"<html>", b"</html>"),
        ("crawl/b.warc", f"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: {size}\r\n\r\n".encode(), b"\r\n\r\n"),
        ("crawl/c.warc.gz", f"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: {size}\r\n\r\n".encode(), b"\r\n\r\n"),
    ):
        with gzip.open(tmp_path / name, "wb", 1) if name.endswith("gz") else (tmp_path / name).open("wb") as out:
            out.write(start)
            left = size
            while left:
                left -= out.write(block[:left])
            out.write(end)
    large = measured("large")
    assert large["read"] == 41
    assert large["dropped"] == {"too_large": 7}
    assert large["peak"] - small["peak"] < 64 << 20, (small, large)


def test_two_processes_at_the_same_corpus(stages, mingled, tmp_path):
    config = mingled(1500)
    (tmp_path / "run.py").write_text(PEAK)
    given = json.dumps(config)
    first = subprocess.Popen([sys.executable, tmp_path / "run.py", given, tmp_path / "out"], stdout=subprocess.PIPE)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("out.partial-*")):
        assert time.monotonic() < until
        time.sleep(0.02)
    with pytest.raises(BusyError, match="out"):
        stages.curate(tmp_path / "out", **config)
    said, _ = first.communicate()
    assert first.returncode == 0
    assert json.loads(said.splitlines()[-1])["read"] == 1501
    assert stages.curate(tmp_path / "out", **config).cached


@pytest.mark.parametrize("workers", [None, 2])
def test_a_full_disk_stops_the_run_and_with_room_it_goes_on(stages, tmp_path, workers):
    disk = tmp_path / "disk"
    disk.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid():
        pytest.skip("only root can mount a small disk")
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", disk], capture_output=True, text=True
        )
    except OSError as error:
        pytest.skip(f"no mount command: {error}")
    if done.returncode:
        pytest.skip(f"no small disk here: {done.stderr}")
    try:
        (tmp_path / "raw").mkdir()
        for number in range(200):
            (tmp_path / "raw" / f"{number}.txt").write_text(text(number, 400))
        config = {"sources": [{"folder": str(tmp_path / "raw"), "license": "MIT"}], "workers": workers}
        with pytest.raises(StorageError, match="the disk is full") as error:
            stages.curate(disk / "out", **config)
        assert "Make room on that disk and run the same command again" in (error.value.fix or "")
        del error  # its frames hold a file of the disk open
        gc.collect()
        assert not (disk / "out").exists()
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        corpus = stages.curate(disk / "out", **config)
        balanced(corpus.measures)
        assert corpus.digest == stages.curate(tmp_path / "elsewhere", **config).digest
    finally:
        subprocess.run(["umount", disk], check=True)
