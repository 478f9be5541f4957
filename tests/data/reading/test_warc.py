"""Web archives: every record is accounted for, in whole files and in files broken at any place."""

import gzip
import zlib
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bedplate.data.documents import Document, Failure
from bedplate.data.reading import Limits, find, pieces, read
from bedplate.data.reading.warc_records import Gap, Record, records
from bedplate.data.source import Source

LIMITS = Limits()

# Counted by hand in the unpacked files: (records that are whole, places that hold none, documents kept).
FILES = {
    "bad.arc": (1, 3, 0),  # lengths of -1 and abc, and a record of one newline
    "example-bad-non-chunked.warc.gz": (6, 0, 1),  # one gzip member for all records
    "example-bad.warc.gz.bad": (6, 0, 1),  # the same; its last response is a redirect
    "example-digest.warc": (4, 0, 0),  # requests
    "example-iana.org-chunked.warc": (3, 0, 1),
    "example-resource.warc.gz": (3, 0, 1),
    "example-space-in-target-uri.warc.gz": (2, 0, 0),  # a picture
    "example-space-in-url.arc": (1, 1, 0),  # 12 bytes short
    "example-trunc.warc": (3, 1, 0),  # a length that is 2 short
    "example-wget-bad-target-uri.warc.gz": (6, 0, 3),
    "example-wrong-chunks.warc.gz": (2, 0, 1),  # members that split records
    "example.arc": (2, 0, 1),
    "example.arc.gz": (2, 0, 1),
    "example.warc": (6, 0, 1),
    "example.warc.gz": (6, 0, 1),
    "post-test.warc.gz": (6, 0, 0),  # JSON
}


def found(path, limits=LIMITS):
    source = Source(warc=str(path), license="unknown", name="crawl")
    return [d for piece in pieces(source, find(source)) for d in read(source, piece, limits)]


def alive(documents):
    return [d for d in documents if isinstance(d, Document) and d.alive]


@pytest.mark.parametrize("name", FILES)
def test_real_files_are_accounted_for(shared_data, name):
    whole, gaps, kept = FILES[name]
    documents = found(shared_data / "warcio_warcs/test/data" / name)
    failures = [d for d in documents if isinstance(d, Failure)]
    assert (len(documents) - len(failures), len(failures), len(alive(documents))) == (whole, gaps, kept)
    assert len({d.source for d in documents}) == len(documents)
    assert all(d.reason for d in documents if d not in alive(documents))


@pytest.mark.parametrize("name", [name for name in FILES if FILES[name][1] == 0 and ".arc" not in name])
def test_fastwarc_finds_the_same_records(shared_data, name):
    fastwarc = pytest.importorskip("fastwarc.warc")
    path = shared_data / "warcio_warcs/test/data" / name
    with path.open("rb") as stream:
        theirs = [
            (r.headers["WARC-Type"], r.content_length) for r in fastwarc.ArchiveIterator(stream, parse_http=False)
        ]
    with path.open("rb") as stream:
        ours = [(r.type, r.length) for r in records(stream, 1 << 20, called_gzip=False)]
    if "wrong-chunks" in name:  # which is where fastwarc loses the second one
        assert set(theirs) <= set(ours)
    else:
        assert ours == theirs


def test_what_a_page_comes_with(shared_data):
    (page,) = alive(found(shared_data / "warcio_warcs/test/data/example.warc.gz"))
    assert (page.source, page.url, page.date) == ("crawl#3", "http://example.com/", "2017-03-06T04:02:06Z")
    assert page.offset == 784
    assert page.content_type == "text/html"
    assert page.text is None
    assert page.data.startswith(b"<!doctype html>")
    assert len(page.data) == 1270
    assert page.headers["server"] == "ECS (iad/182A)"
    assert page.metadata["http_status"] == 200
    assert len(page.record_sha256) == 64


def record(kind="response", url="http://a.example/", body=b"<html>hello</html>", http=b"HTTP/1.1 200 OK\r\n", **more):
    block = http + b"Content-Type: text/html\r\n\r\n" + body if kind == "response" else body
    headers = {"WARC-Type": kind, "WARC-Target-URI": url, "WARC-Date": "2024-05-01T12:00:00Z"}
    headers |= {key.replace("_", "-"): value for key, value in more.items()} | {"Content-Length": len(block)}
    head = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return b"WARC/1.0\r\n" + head.encode() + b"\r\n" + block + b"\r\n\r\n"


PAGES = [record(url=f"http://a.example/{i}", body=f"<html>page {i} ".encode() + b"x" * 40 * i) for i in range(6)]


def parse(data, gzipped, longest=1 << 20):
    import io

    return list(records(io.BytesIO(data), longest, called_gzip=gzipped))


@settings(max_examples=150, deadline=None)
@given(
    layout=st.sampled_from(["plain", "members", "one member"]),
    where=st.floats(0, 1, exclude_max=True),
    change=st.sampled_from(["cut", "flip", "insert", "remove"]),
    value=st.integers(1, 255),
)
@example(layout="plain", where=0.0, change="flip", value=1)
@example(layout="members", where=0.0, change="flip", value=1)
@example(layout="members", where=0.999, change="cut", value=1)
def test_damage_anywhere_is_told_and_costs_no_more_than_it_has_to(layout, where, change, value):
    if layout == "plain":
        data = b"".join(PAGES)
    elif layout == "members":
        data = b"".join(gzip.compress(page, mtime=0) for page in PAGES)
    else:
        data = gzip.compress(b"".join(PAGES), mtime=0)
    whole = parse(data, layout != "plain")
    assert [type(r) for r in whole] == [Record] * 6
    at = int(where * len(data))
    broken = {
        "cut": data[:at],
        "flip": data[:at] + bytes([data[at] ^ value]) + data[at + 1 :],
        "insert": data[:at] + bytes([value]) + data[at:],
        "remove": data[:at] + data[at + 1 :],
    }[change]
    rest = parse(broken, layout != "plain")
    blocks = {r.block for r in whole}
    good = [r for r in rest if isinstance(r, Record) and r.block in blocks]
    gaps = [r for r in rest if isinstance(r, Gap)]
    # Without a checksum, a byte changed within a page or a header's value is no damage that could be seen.
    silent = layout == "plain" and change != "cut" and [type(r) for r in rest] == [Record] * 6
    # A cut between two records leaves a whole file, but for what nobody wrote down: how many there were to be.
    clean = change == "cut" and parse(data[:at], layout != "plain") == whole[: len(rest)]
    harmless = [r.block for r in rest if isinstance(r, Record)] == [r.block for r in whole]
    assert gaps or silent or clean or harmless
    if change != "cut" and layout != "one member":
        assert len(good) >= 4  # a byte lies in one record, and at most unsettles its neighbour
    if change == "cut" and layout != "one member":
        ends, end = [], 0
        for page in PAGES:
            end += len(page if layout == "plain" else gzip.compress(page, mtime=0))
            ends.append(end)
        assert len(good) >= sum(end <= at for end in ends)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400), start=st.sampled_from([b"", b"WARC/1.0\r\n", b"\x1f\x8b\x08\x00", PAGES[1]]))
def test_any_bytes_are_read_without_an_exception(data, start):
    assert parse(start + data, False)
    assert parse(start + data, True)


def test_a_corrupt_member_costs_its_record_alone(tmp_path):
    members = [gzip.compress(page, mtime=0) for page in PAGES]
    members[2] = members[2][:60] + b"\0\0\0\0" + members[2][64:]
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join(members))
    documents = found(path)
    assert len(alive(documents)) == 5
    (failure,) = [d for d in documents if isinstance(d, Failure)]
    start, end = len(b"".join(members[:2])), len(b"".join(members[:3]))
    assert failure.reason == "damaged_gzip"
    assert failure.bytes == end - start
    assert f"from byte {start} to the next record that can be read, at byte {end}" in failure.problem


def test_a_length_that_swallows_its_neighbours_loses_one_record(tmp_path):
    pages = [*PAGES]
    length = len(pages[1].partition(b"\r\n\r\n")[2]) - 4
    pages[1] = pages[1].replace(f"Content-Length: {length}".encode(), f"Content-Length: {length + 500}".encode())
    for name, data in {"a.warc": b"".join(pages), "b.warc.gz": gzip.compress(b"".join(pages))}.items():
        (tmp_path / name).write_bytes(data)
        documents = found(tmp_path / name)
        assert len(alive(documents)) == 5
        assert [d.reason for d in documents if isinstance(d, Failure)] == ["wrong_length"]
        # Where it is too long to be held, what lies behind its header is looked through all the same.
        kinds = [type(r) for r in parse(data, False, longest=300)]
        assert kinds.count(Gap) == 1
        assert kinds.count(Record) >= (5 if name == "a.warc" else 3)


def test_bad_files(tmp_path):
    (tmp_path / "empty.warc").touch()
    (tmp_path / "empty.warc.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "newlines.warc").write_bytes(b"\r\n\r\n")
    (tmp_path / "nul.warc").write_bytes(b"\0" * 10_000)
    (tmp_path / "padded.warc.gz").write_bytes(gzip.compress(PAGES[0]) + b"\0" * 512)
    (tmp_path / "rubbish-behind.warc.gz").write_bytes(gzip.compress(PAGES[0]) + b"rubbish")
    documents = found(tmp_path)
    told = {d.source: d.reason for d in documents}
    assert told == {
        "crawl/empty.warc#1": "empty_file",
        "crawl/empty.warc.gz#1": "empty_file",
        "crawl/newlines.warc#1": "empty_file",
        "crawl/nul.warc#1": "not_a_record",
        "crawl/padded.warc.gz#1": None,
        "crawl/rubbish-behind.warc.gz#1": None,
        "crawl/rubbish-behind.warc.gz#2": "damaged_gzip",
    }


def test_pages_that_are_none(tmp_path):
    import brotli

    bomb = gzip.compress(b"\0" * (50 << 20))
    encoded = b"HTTP/1.1 200 OK\r\nContent-Encoding: "
    page = b"<html>" + b"word " * 50
    (tmp_path / "a.warc").write_bytes(
        b"".join(
            [
                record(http=b"HTTP/1.1 404 Not Found\r\n"),
                record(body=b"x" * 5_000_000),
                record(http=encoded + b"gzip\r\n", body=bomb),
                record(http=encoded + b"gzip\r\n", body=gzip.compress(page)[:-12]),
                record(http=encoded + b"gzip\r\n", body=page),  # decoded by the crawler, who left the header
                record(http=encoded + b"br\r\n", body=brotli.compress(page)),
                record(http=encoded + b"br\r\n", body=brotli.compress(b"\0" * (50 << 20))),
                record(http=encoded + b"deflate\r\n", body=zlib.compress(page)[2:-4]),
                record(http=encoded + b"morse\r\n", body=b"...---..."),
                record(
                    http=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", body=b"3\r\n<p>\r\n2\r\nhi\r\n0\r\n\r\n"
                ),
                record(http=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", body=b"3\r\n<p>\r\n20\r\nhi"),
                record(http=b"nonsense\r\n"),
                record(kind="request"),
                record(kind="revisit"),
                record(kind="response", url="dns:a.example"),
                record(WARC_Identified_Payload_Type="image/png"),
                record(WARC_Segment_Number="1"),
            ]
        )
    )
    documents = found(tmp_path / "a.warc")
    assert [d.reason for d in documents] == [
        *("http_status", "too_large", "too_large", "bad_encoding", None, None, "too_large", None, "unknown_encoding"),
        *(None, "bad_encoding", "bad_http", "not_a_document", "not_a_document", "not_a_document", "not_text"),
        "segmented",
    ]
    assert [d.data for d in alive(documents)] == [page, page, page, b"<p>hi"]
    assert Counter(d.status for d in documents) == {"kept": 4, "dropped": 8, "failed": 5}


def test_a_huge_record_is_not_held(tmp_path):
    import tracemalloc

    path = tmp_path / "a.warc.gz"
    with gzip.open(path, "wb", compresslevel=1) as out:
        size = 200 << 20
        out.write(f"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(200):
            out.write(bytes(1 << 20))
        out.write(b"\r\n\r\n" + PAGES[0])
    tracemalloc.start()
    documents = found(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(d.reason, d.bytes) for d in documents] == [("too_large", size), (None, documents[1].bytes)]
    assert peak < 8 << 20


def test_wet_files_and_robots(tmp_path):
    (tmp_path / "a.warc.wet.gz").write_bytes(
        gzip.compress(record(kind="warcinfo", body=b"Software-Info: x"))
        + gzip.compress(
            record(
                kind="conversion",
                body="Grüße".encode(),
                Content_Type="text/plain",
                WARC_Identified_Content_Language="deu,eng",
            )
        )
    )
    rules = b"User-agent: *\nDisallow: /1"
    robots = record(url="http://a.example/robots.txt", body=rules)
    ai = record(url="https://A.example:443/ai.txt", body=b"User-Agent: *")
    elsewhere = record(url="http://a.example:8080/")
    (tmp_path / "b.warc").write_bytes(robots + PAGES[1] + ai + PAGES[2] + record(url="http://b.example/") + elsewhere)
    info, text, file, page, other_file, later, *others = found(tmp_path)
    assert (info.reason, info.detail) == ("not_a_document", "warcinfo")
    assert (text.text, text.language, text.metadata["languages"]) == ("Grüße", "de", "deu,eng")
    assert (file.reason, file.detail) == ("not_a_document", "robots.txt")
    assert (other_file.reason, other_file.detail) == ("not_a_document", "ai.txt")
    assert page.site_files == {"robots.txt": rules}
    assert later.site_files == {"robots.txt": rules, "ai.txt": b"User-Agent: *"}
    assert [other.site_files for other in others] == [{}, {}]
    assert not any("robots" in key for document in (file, page, later) for key in document.metadata)
