"""robots.txt by RFC 9309, against Python's own parser where the two should agree, and what sites say elsewhere."""

from __future__ import annotations

import gzip
import re
import time
import urllib.robotparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.data.documents import Document
from bedplate.data.reading.crawled import CrawledDocument
from bedplate.data.rights.config import RightsConfig
from bedplate.data.rights.robots import Robots, fits, path_of, refuses_training
from bedplate.data.rights.site_files import SiteFiles
from bedplate.data.rights.step import step
from bedplate.errors import InputError

ROBOTS = """\ufeff# a comment
User-agent: GPTBot
User-Agent: CCBot/2.0
Disallow: /private # not this
Allow: /private/but/this
Sitemap: https://example.org/sitemap.xml

user-agent: *
Disallow: /*.pdf$
disallow: /search?
Crawl-delay: 10
Disallow:

User-agent: ClaudeBot
Disallow: /
User-agent: ccbot
Disallow: /also
"""


@pytest.mark.parametrize(
    ("agent", "path", "allowed"),
    [
        *(("GPTBot", "/", True), ("gptbot", "/private", False), ("GPTBot", "/private/but/this", True)),
        *(("GPTBot", "/a.pdf", True), ("CCBot", "/private", False), ("CCBot", "/also", False)),
        *(("Other", "/a.pdf", False), ("Other", "/a.pdf?x", True), ("Other", "/search?q=1", False)),
        *(("Other", "/search", True), ("ClaudeBot", "/", False), ("ClaudeBot", "https://example.org/a", False)),
    ],
)
def test_groups_and_patterns(agent, path, allowed):
    assert Robots(ROBOTS).allowed(agent, path) is allowed


@pytest.mark.parametrize(
    ("pattern", "path", "fit"),
    [
        *(("/", "/a", True), ("/a", "/b", False), ("/a$", "/a", True), ("/a$", "/ab", False), ("/*/c", "/a/b/c", True)),
        *(("/*$", "/x", True), ("*", "/", True), ("/a*b*c$", "/axbxc", True), ("/a*b*c$", "/axcxb", False)),
        *(("/a*a$", "/a", False), ("/x*", "/", False), ("/%7Euser", "/~user", False)),
    ],
)
def test_patterns(pattern, path, fit):
    assert fits(pattern, path) is fit


def test_escapes_are_one():
    robots = Robots("User-agent: *\nDisallow: /%7euser\nDisallow: /ü\nDisallow: /a%2fb")
    assert not robots.allowed("x", "/~user/a")
    assert not robots.allowed("x", "https://example.org/%C3%BC")
    assert not robots.allowed("x", "/a%2Fb")
    assert robots.allowed("x", "/a/b")
    assert path_of("https://example.org") == "/"


WORDS = st.text("abc/", min_size=0, max_size=6).map(lambda text: re.sub("/+", "/", f"/{text}"))


@given(st.lists(WORDS, min_size=1, max_size=6), st.lists(WORDS, max_size=4), WORDS, st.sampled_from(["bot", "other"]))
def test_agrees_with_pythons_parser(of_bot, of_all, path, agent):
    """On files that only disallow: which rule comes first matters to Python, and patterns mean nothing to it."""
    text = "User-agent: bot\n" + "".join(f"Disallow: {p}\n" for p in of_bot)
    text += "\nUser-agent: *\n" + "".join(f"Disallow: {p}\n" for p in of_all)
    theirs = urllib.robotparser.RobotFileParser()
    theirs.parse(text.splitlines())
    assert Robots(text).allowed(agent, path) == theirs.can_fetch(agent, f"https://example.org{path}")


@given(st.dictionaries(WORDS, st.booleans(), min_size=1, max_size=6), WORDS)
def test_agrees_with_pythons_parser_where_the_longest_rule_comes_first(rules, path):
    lines = [f"{'Allow' if rules[p] else 'Disallow'}: {p}" for p in sorted(rules, key=len, reverse=True)]
    theirs = urllib.robotparser.RobotFileParser()
    theirs.parse(["User-agent: *", *lines])
    assert Robots("User-agent: *\n" + "\n".join(lines)).allowed("x", path) == theirs.can_fetch("x", path)


@given(st.binary(max_size=300), st.text(max_size=30))
def test_any_bytes_are_a_robots_file(data, url):
    Robots(data).forbidden(("GPTBot",), url)


def test_hostile_files_take_little_time():
    began = time.process_time()
    stars = Robots("User-agent: *\nDisallow: /" + "*a" * 900 + "b$\n")
    assert stars.allowed("x", "/" + "a" * 5000)
    assert Robots("User-agent: *\n" + "Disallow: /x\n" * 100_000).allowed("x", "/y")
    assert Robots("User-agent: a\n" * 40_000 + "Disallow: /").allowed("b", "/")
    assert time.process_time() - began < 2


def test_usage_preferences():
    robots = Robots("User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: /open/ train-ai=y\nAllow: /")
    assert robots.training_refused((), "/a")
    assert not robots.training_refused((), "/open/a")
    assert Robots("User-Agent: *\nContent-Signal: search=yes, ai-train=no").training_refused(("GPTBot",), "/")
    assert not Robots("User-Agent: *\nContent-Signal: search=no, ai-train=yes").training_refused((), "/")
    assert refuses_training("search=y, train-ai=n")
    assert not refuses_training("search=n, train-ai=y")
    assert not refuses_training(None)


def folder_of(tmp_path):
    site = tmp_path / "example.org"
    site.mkdir()
    (site / "robots.txt").write_text("User-agent: GPTBot\nDisallow: /a\n")
    (site / "ai.txt").write_text("User-Agent: *\nDisallow: *.html\nAllow: *.jpg\n")
    (site / "tdmrep.json").write_text(
        '[{"location": "/open/*", "tdm-reservation": 0}, {"location": "/*", "tdm-reservation": 1}]'
    )
    (tmp_path / "other.org.txt").write_text("User-agent: *\nDisallow: /\n")
    (tmp_path / "broken.org").mkdir()
    (tmp_path / "broken.org" / "tdmrep.json").write_text('[{"location": 1}, 2, {"tdm-reservation": 1}')
    return str(tmp_path)


@pytest.mark.parametrize(
    ("url", "signals", "found"),
    [
        ("https://EXAMPLE.org/a/b", ["robots.txt"], "robots.txt:GPTBot"),
        ("https://example.org/b", ["robots.txt"], None),
        ("https://example.org/b", ["ai.txt"], "ai.txt:GPTBot"),
        ("https://example.org/b.jpg", ["ai.txt"], "ai.txt:GPTBot"),
        ("https://example.org/b", ["tdm-reservation"], "tdm-reservation"),
        ("https://example.org/open/b", ["tdm-reservation"], None),
        ("https://other.org/", ["robots.txt"], "robots.txt:GPTBot"),
        ("https://broken.org/", ["tdm-reservation", "robots.txt"], None),
        ("https://unknown.org/", ["robots.txt", "ai.txt"], None),
        ("https://example.org/a", [], None),
        (None, ["robots.txt"], None),
    ],
)
def test_what_sites_say_in_files(tmp_path, url, signals, found):
    document = Document("p", "text", url=url)
    step(RightsConfig(site_files=[folder_of(tmp_path)], signals=signals))([document])
    assert document.columns["opt_out"] == found
    assert document.reason == (None if found is None else "opted_out")


def test_robots_of_a_crawl(tmp_path):
    path = tmp_path / "crawl.warc.gz"
    with gzip.open(path, "wb") as stream:
        for url, status, body in (
            ("https://a.org/robots.txt", "200 OK", b"User-agent: *\nDisallow: /x"),
            ("https://b.org/robots.txt", "404 Not Found", b"User-agent: *\nDisallow: /"),
            ("https://c.org/page", "200 OK", b"User-agent: *\nDisallow: /"),
        ):
            http = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n\r\n".encode() + body
            head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Record-ID: <urn:uuid:1>\r\n"
            head += "WARC-Date: 2024-01-01T00:00:00Z\r\nContent-Type: application/http; msgtype=response\r\n"
            stream.write(f"{head}Content-Length: {len(http)}\r\n\r\n".encode() + http + b"\r\n\r\n")
    sites = SiteFiles.read([str(path)])
    assert not sites.of("a.org").robots.allowed("GPTBot", "https://a.org/x")
    assert sites.of("b.org") is None
    assert sites.of("c.org") is None
    with pytest.raises(InputError, match="no such file"):
        SiteFiles.read([str(tmp_path / "nothing")])


def test_real_crawls_are_read_without_end_or_error(shared_data):
    paths = sorted((shared_data / "warcio_warcs").rglob("*.warc*"))
    assert len(paths) > 10
    for path in paths:
        assert SiteFiles.read([str(path)]).of("no.such.host") is None


def test_what_the_crawl_itself_holds_of_a_site(tmp_path):
    """Beside the document, so that neither corpus nor table of what was dropped grows by it."""
    by_file = {"robots.txt": b"User-agent: GPTBot\nDisallow: /x", "ai.txt": b"User-Agent: *\nDisallow: *.pdf"}
    fates = {}
    for path in ("/x", "/y", "/z.pdf"):
        document = CrawledDocument("p", "text", url=f"https://a.org{path}", site_files=by_file)
        step(RightsConfig())([document])
        fates[path] = document.columns["opt_out"]
        assert document.metadata == {}
    assert fates == {"/x": "robots.txt:GPTBot", "/y": None, "/z.pdf": "ai.txt:GPTBot"}
    document = CrawledDocument("p", "text", url="https://a.org/x", site_files=by_file)
    step(RightsConfig(agents=["CCBot"]))([document])
    assert document.alive
    # What has been found since counts as well as what the crawler saw, and the other way round.
    (tmp_path / "a.org.txt").write_text("User-agent: CCBot\nDisallow: /w")
    for path, found in (("/x", "robots.txt:GPTBot"), ("/w", "robots.txt:CCBot"), ("/y", None)):
        document = CrawledDocument("p", "text", url=f"https://a.org{path}", site_files=by_file)
        step(RightsConfig(site_files=[str(tmp_path)], opt_out="mark"))([document])
        assert document.columns["opt_out"] == found


def test_a_file_of_sites_that_is_no_archive(tmp_path):
    (tmp_path / "robots.txt").write_text("User-agent: *\nDisallow: /\n")
    with pytest.raises(InputError, match=r"robots\.txt: no WARC file"):
        SiteFiles.read([str(tmp_path / "robots.txt")])
