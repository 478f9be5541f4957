"""The rights step: signals of pages and headers, lists, domains, and the order of the reasons."""

from __future__ import annotations

import gzip
import hashlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.data.documents import Document
from bedplate.data.extract.config import ExtractConfig
from bedplate.data.extract.step import step as extract
from bedplate.data.rights.config import RightsConfig
from bedplate.data.rights.entries import normal_url
from bedplate.data.rights.hosts import domain_of, host_of
from bedplate.data.rights.page_signals import page_signals
from bedplate.data.rights.step import step
from bedplate.data.rights.takedown import Takedown
from bedplate.errors import InputError


def judged(document: Document, **config) -> Document:
    step(RightsConfig(**config))([document])
    return document


@pytest.mark.parametrize(
    ("head", "headers", "found"),
    [
        ('<meta name="robots" content="index, NoAI, noimageai">', {}, "robots-meta:noai, robots-meta:noimageai"),
        ('<meta name="ROBOTS" content="noindex">', {}, None),
        ('<meta name="gptbot" content="noai">', {}, "robots-meta:noai"),
        ('<meta name="somebot" content="noai">', {}, None),
        ('<meta name="description" content="noai">', {}, None),
        ("", {"x-robots-tag": "noai"}, "x-robots-tag:noai"),
        ("", {"x-robots-tag": "otherbot: noai, noindex"}, None),
        ("", {"x-robots-tag": "noindex, gptbot: nofollow, noai"}, "x-robots-tag:noai"),
        ('<meta name="tdm-reservation" content="1">', {}, "tdm-reservation"),
        ("", {"tdm-reservation": "1"}, "tdm-reservation"),
        ('<meta name="tdm-reservation" content="0">', {"tdm-reservation": "1"}, "tdm-reservation"),
        ("", {"content-usage": "train-ai=n"}, "content-usage"),
        ("", {"content-usage": "train-ai=y"}, None),
    ],
)
def test_signals_of_pages_and_headers(head, headers, found):
    page = f"<html><head>{head}</head><body><p>{'Some words of a text that is here. ' * 9}</p></body></html>"
    document = Document("p", None, page.encode(), "text/html", url="https://example.org/x", headers=headers)
    extract(ExtractConfig())([document])
    json.dumps(document.metadata)
    assert judged(document).columns["opt_out"] == found
    assert document.reason == (None if found is None else "opted_out")
    assert document.detail == found


def test_opt_outs_may_be_marked_only_and_directives_chosen():
    signals = page_signals('<meta name="robots" content="noindex">').as_metadata()
    document = Document("p", "text", metadata={"rights": signals})
    assert judged(document, directives=["noindex"], opt_out="mark").columns["opt_out"] == "robots-meta:noindex"
    assert document.alive
    assert judged(Document("p", "text", metadata={"rights": signals}), signals=["robots.txt"]).alive


@pytest.mark.parametrize("rights", ["All rights reserved", ["x"], 1, {"robots": 1, "licenses": "MIT"}, {"x": None}])
def test_rights_that_a_record_brings_along(rights):
    assert judged(Document("p", "text", metadata={"rights": rights})).alive
    refused = Document("a.py", "# SPDX-License-Identifier: no such\n", metadata={"rights": rights})
    assert judged(refused).metadata["rights"]["license_conflict"]


def test_text_documents_have_their_headers_signals():
    assert judged(Document("p", "text", headers={"tdm-reservation": "1"})).reason == "opted_out"


@pytest.mark.parametrize(
    ("url", "host", "domain"),
    [
        ("https://a.b.example.co.uk:8080/x", "a.b.example.co.uk", "example.co.uk"),
        ("http://EXAMPLE.org.", "example.org", "example.org"),
        ("https://bücher.example.de/", "xn--bcher-kva.example.de", "example.de"),
        ("http://192.168.0.1/", "192.168.0.1", "192.168.0.1"),
        ("http://localhost/", "localhost", "localhost"),
        ("http://[::1]/", "::1", "::1"),
        ("http://co.uk/", "co.uk", "co.uk"),
    ],
)
def test_domains(url, host, domain):
    assert host_of(url) == host
    assert domain_of(host) == domain
    assert judged(Document("p", "text", url=url)).columns["domain"] == domain


@pytest.mark.parametrize("url", [None, "", "no address", "http://[", "https:///x", "mailto:a@b.org"])
def test_no_domain(url):
    assert host_of(url) is None
    assert judged(Document("p", "text", url=url)).columns["domain"] is None


def test_domains_match_at_dots():
    config = {"blocked_domains": ["example.org", "*.Other.com"]}
    fates = {
        host: judged(Document("p", "text", url=f"https://{host}/"), **config).reason
        for host in ("example.org", "a.example.org", "notexample.org", "example.org.uk", "x.other.com")
    }
    assert [host for host, reason in fates.items() if reason] == ["example.org", "a.example.org", "x.other.com"]
    assert set(fates.values()) == {None, "blocked_domain"}
    allowed = {"allowed_domains": ["example.org"]}
    assert judged(Document("p", "text", url="https://a.example.org/"), **allowed).alive
    assert judged(Document("p", "text", url="https://b.org/"), **allowed).reason == "blocked_domain"
    assert judged(Document("p", "text"), **allowed).detail == "no domain isn't in allowed_domains"


TEXT = "a text\n"
SHA256 = hashlib.sha256(TEXT.encode()).hexdigest()
DOCUMENT = {"url": "https://Example.org/a?b#c", "text": TEXT, "metadata": {"author": "Jane  Doe"}}


@pytest.mark.parametrize(
    "line",
    [
        *("url=http://example.org/a?b", "url=https://example.org/*", "domain=example.org", "domain=org"),
        *(f"sha256={SHA256}", f"id={SHA256[:24].upper()}", "owner=jane doe", " URL = https://example.org/a?b "),
    ],
)
def test_every_way_to_match(line):
    assert Takedown.of([line]).match(Document("p", **DOCUMENT)) is not None


@pytest.mark.parametrize(
    "line",
    [
        *("url=https://example.org/a", "url=https://example.org/a/b/*", "domain=ample.org", "owner=Jane"),
        *(f"sha256={'0' * 64}", f"id={'0' * 24}"),
    ],
)
def test_what_does_not_match(line):
    assert Takedown.of([line]).match(Document("p", **DOCUMENT)) is None


def test_record_hashes_match_too():
    assert Takedown.of([f"sha256={'a' * 64}"]).match(Document("p", "x", record_sha256="a" * 64)) == f"sha256={'a' * 64}"


def test_lists_in_every_spelling_and_their_reasons(tmp_path):
    plain, csv, lines = tmp_path / "list.txt", tmp_path / "list.csv", tmp_path / "list.jsonl.gz"
    plain.write_text("# taken down\n\nurl=https://a.org/x\n")
    csv.write_text('Domain,note,owner\nb.org,"with, a comma",\n,,"Doe, Jane"\n')
    lines.write_bytes(gzip.compress(b'{"sha256": "%s"}\n{"url": "https://c.org/*", "id": null}\n' % SHA256.encode()))
    config = {"taken_down": [str(plain)], "opted_out": [str(csv)], "blocked": [str(lines)]}
    fates = {
        url: judged(Document("p", "other text", url=url), **config).reason
        for url in ("https://a.org/x", "https://b.org/", "https://c.org/y", "https://d.org/")
    }
    assert list(fates.values()) == ["taken_down", "opted_out", "blocked", None]
    assert judged(Document("p", TEXT), **config).reason == "blocked"
    owned = judged(Document("p", "x", metadata={"author": "doe, JANE"}), **config)
    assert (owned.reason, owned.detail, owned.columns["opt_out"]) == ("opted_out", "owner=doe, jane", "list")
    domains = tmp_path / "domains"
    domains.write_text("bad.org\n*.worse.org\n")
    assert judged(Document("p", "x", url="http://a.worse.org"), blocked=[str(domains)]).reason == "blocked_domain"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "domain=a.org\nb.org\n", "line 2: 'b.org' doesn't say"),
        ("a.txt", "url=ftp://a.org\n", "line 1: 'ftp://a.org' is no http"),
        ("a.txt", "sha256=abc\n", "line 1: 'abc' isn't 64 hexadecimal"),
        ("a.txt", "domain=not a domain\n", "line 1"),
        ("a.txt", "x" * 2_000_000, "line 1: longer"),
        ("a.csv", "site,who\na,b\n", r"line 1: no column url"),
        ("a.csv", "url,domain\n,\n", "line 2: none of"),
        ("a.jsonl", '{"url": "https://a.org"}\n{"url"', "line 2: no JSON"),
        ("a.jsonl", "[]\n", "line 1: no JSON object"),
        ("a.jsonl", '{"url": 1}\n', "line 1: url is 1"),
        ("a.txt.gz", "no gzip", "gz"),
        ("a.txt", b"\xff\xfe", "can't decode"),
    ],
)
def test_errors_in_lists_name_file_and_line(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words) as raised:
        Takedown.read([str(path)])
    assert name in raised.value.problem
    with pytest.raises(InputError, match="no such file"):
        Takedown.read([str(tmp_path / "absent.csv")])


def test_a_setting_that_is_no_domain():
    with pytest.raises(InputError, match=r"rights.blocked_domains: 'no domain' is no domain") as raised:
        step(RightsConfig(blocked_domains=["no domain"]))
    assert raised.value.fix == "Write a domain: example.org."


def test_a_list_is_compact_and_fast(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("".join(f"domain=site{i}.example.org\n" for i in range(100_000)))
    takedown = Takedown.read([str(path)])
    assert len(takedown) == 100_000
    assert takedown._hashes.nbytes == 800_000
    began = time.process_time()
    hits = sum(takedown.matches(url=f"https://www.site{i}.example.org/x") is not None for i in range(90_000, 110_000))
    assert hits == 10_000
    assert time.process_time() - began < 5


@given(st.text(max_size=40))
def test_any_string_is_judged_as_an_address(url):
    normal_url(url)
    host_of(f"https://{url}")
    Takedown.of(["url=https://a.org/*", "domain=a.org", "owner=x"]).matches(url=f"https://{url}", owner=url)
    judged(Document("p", "text", url=f"https://{url}"))


def test_hostile_pages_are_read_in_little_time():
    began = time.process_time()
    by = "https://creativecommons.org/licenses/by/4.0/"
    page_signals("<div class=x>" * 50_000 + f'<a href="{by}">x</a>' * 20_000)
    page_signals(f'<p>{"x" * 1_000_000}<a href="{by}">x</a></p>' * 3 + "\0" * 1000)
    page_signals(b"\xff\xfe" + b"<meta name=robots content=noai>" * 50_000)
    page_signals('<meta name="robots" content="' + "noai," * 1_000_000)
    assert time.process_time() - began < 6
