"""Refusals in every spelling in which they are found, and where archives hold them."""

from __future__ import annotations

import json
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.data.reading.crawled import SiteFilesSeen, site_of
from bedplate.data.rights.config import RightsConfig
from bedplate.data.rights.directives import LONGEST, Directives
from bedplate.data.rights.opt_out import opt_outs
from bedplate.data.rights.page_signals import PageSignals, header_signals, page_signals
from bedplate.data.rights.robots import Robots, short_form
from bedplate.data.rights.site_files import Site


def of_page(head: str, headers=None, **config):
    signals = page_signals(f"<html><head>{head}</head><body>x</body></html>", headers)
    signals = PageSignals.from_metadata(json.loads(json.dumps(signals.as_metadata())))
    return opt_outs(signals, [], "https://a.org/x", RightsConfig(**config))


def of_headers(**headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return opt_outs(header_signals(named), [], "https://a.org/x", RightsConfig())


def of_site(name: str, data: bytes, path: str = "/x", **config):
    site = Site()
    site.read(name, data)
    return opt_outs(PageSignals(), [site], f"https://a.org{path}", RightsConfig(**config))


@pytest.mark.parametrize(
    "value",
    [
        "googlebot: noindex, noai",
        "otherbot: noindex, noai",
        "unavailable_after: 25 Jun 2030 15:00:00 GMT, noai",
        "unavailable_after: Friday, 25-Jun-30 15:00:00 GMT, noai",
        "max-snippet:1, " * 200 + "noai",
        "noindex; noai",
        "noindex noai",
        "gptbot: noai",
        "gptbot:noai",
        "googlebot: noai",
        "x" * (LONGEST + 1),
    ],
)
def test_headers_that_refuse(value):
    assert of_headers(x_robots_tag=value)


@pytest.mark.parametrize("value", ["otherbot: noai", "otherbot: noai, noindex", "max-snippet: 20", "", ":", "all"])
def test_headers_that_do_not(value):
    assert of_headers(x_robots_tag=value) == []


@pytest.mark.parametrize(
    ("head", "config"),
    [
        ("<meta name=robots content='noai noimageai'>", {}),
        ("<meta name=robots content='index;noai'>", {}),
        ("<meta http-equiv='X-Robots-Tag' content='noai'>", {}),
        ("<meta http-equiv='x-robots-tag' content='gptbot: noai'>", {}),
        (f"<meta name=robots content='{'index,' * 400} noai'>", {}),
        (f"<meta name=robots content='{'index,' * 40_000} noai'>", {}),
        ("<meta name=robots content='" + ",".join(f"word{i}" for i in range(300)) + "'>", {}),
        ("<meta name=x content=y>" * 2000 + "<meta name=robots content=noai>", {}),
        ("<meta name=robots content=notrain>", {"directives": ["notrain"]}),
        ("<meta name=gptbot content=notrain>", {"directives": ["NoTrain"]}),
        ("<meta name=robots content=none>", {"directives": ["noindex"]}),
        ("<meta name=robots content=none>", {"directives": ["nofollow"]}),
        ("<meta name=tdm-reservation content=1><meta name=tdm-reservation content=0>", {}),
        ("<meta name=tdm-reservation content=0><meta name=tdm-reservation content=1>", {}),
    ],
)
def test_pages_that_refuse(head, config):
    assert of_page(head, **config)


def test_pages_that_do_not():
    assert page_signals("<meta name=robots content='index, follow, max-snippet:-1, all'>").as_metadata() == {}
    with pytest.raises(ValueError, match="'Follow' permits"):
        RightsConfig(directives=["Follow"])
    assert of_page("<meta name=robots content=none>") == []
    assert of_page("<meta name=robots content='index, follow, max-snippet:-1'>", directives=["noindex"]) == []
    assert of_page("<meta name=tdm-reservation content=0>", {"tdm-reservation": "0"}) == []
    assert of_page("<meta name=generator content='a bot'>", directives=["bot"]) == []


def test_of_several_values_the_one_that_refuses_counts():
    assert of_headers(tdm_reservation="1, 1")
    assert of_headers(tdm_reservation="0, 1")
    assert of_headers(tdm_reservation="0, 0") == of_headers(tdm_reservation="what") == []
    assert of_headers(content_usage="search=y " + "a=b, " * 400 + "train-ai=n")
    assert of_page("<meta name=tdm-reservation content=0>", {"tdm-reservation": "1"})


@pytest.mark.parametrize(
    "text",
    [
        "User-agent: *\nContent-Signal: ai-train=no\nContent-Signal: search=yes\nAllow: /",
        "User-agent: *\nContent-Signal: ai-train=yes\nContent-Signal: ai-train=no",
        "User-agent: *\nContent-Signal: ai-train=no\nContent-Usage: /x search=y",
        "Content-Signal: ai-train=no\nUser-agent: *\nAllow: /",
        "User-agent: GPTBot, CCBot\nDisallow: /",
        "User-agent: CCBot GPTBot\nDisallow: /",
        "User-agent: GPTBot\nDisallow /",
        "User-agent GPTBot\nDisallow /",
        "Useragent: GPTBot\nDisallow: /",
        "User agent: GPTBot\nDissallow: /",
        "User-agent: GPTBot\nDisallow: https://a.org/",
        "User-agent: GPTBot\nDisallow: x",
        "User-agent: *\n" + "Disallow: /zz\n" * 10_000 + "User-agent: GPTBot\nDisallow: /\n",
        "User-agent: *\n" + "".join(f"Disallow: /z{i}\n" for i in range(20_000)) + "Disallow: /x\n",
        "User-agent: *\n" + "".join(f"Disallow: /z{i}*\n" for i in range(20_000)) + "Disallow: /x*\n",
        "User-agent: *\nDisallow: /x" + "*" * 3000,
    ],
)
def test_robots_that_refuse(text):
    for data in (
        text.encode(),
        text.encode("utf-16"),
        b"\xfe\xff" + text.encode("utf-16-be"),
        text.encode("utf-16-le"),
    ):
        if len(data) <= 500 * 1024:
            assert of_site("robots.txt", data), data[:80]
    assert Robots(short_form(text.encode())).forbidden(("GPTBot",), "/x") == Robots(text).forbidden(("GPTBot",), "/x")


def test_robots_that_do_not():
    for text in ("User-agent: GPTBot\nDisallow:", "Disallow is a word\n", "User-agent: *\nAllow: /\nDisallow: /$"):
        assert of_site("robots.txt", text.encode()) == []


LINES = st.sampled_from(
    ["User-agent: *", "User-agent: GPTBot", "Disallow: /a", "Allow: /a/b", "Disallow: /*c$", "# c", "Sitemap: x", ""]
)


@given(st.lists(LINES, max_size=12), st.sampled_from(["/", "/a", "/a/b", "/xc", "/a/bc"]))
def test_the_short_form_says_the_same(lines, path):
    text = "\n".join(lines)
    for agent in ("GPTBot", "Other"):
        assert Robots(short_form(text.encode())).allowed(agent, path) == Robots(text).allowed(agent, path)


@pytest.mark.parametrize(
    ("data", "path", "reserved"),
    [
        *(('[{"location": "/é/*", "tdm-reservation": 1}]', path, True) for path in ("/é/x", "/%C3%A9/x", "/%c3%a9/")),
        ('[{"location": "/*", "tdm-reservation": "1"}]', "/x", True),
        ('[{"location": "/*", "tdm-reservation": true}]', "/x", True),
        ('{"location": "/*", "tdm-reservation": 1}', "/x", True),
        ('[{"location": "x", "tdm-reservation": 1}]', "/x", True),
        ('[{"location": "https://a.org/x", "tdm-reservation": 1}]', "/x", True),
        ('[{"location": "/", "tdm-reservation": 0}, {"location": "/", "tdm-reservation": 1}]', "/x", True),
        ('[{"location": "/", "tdm-reservation": 1}' + " " * 600_000, "/x", True),
        ('[{"location": "/x", "tdm-reservation": 0}, {"location": "/", "tdm-reservation": 1}]', "/x", False),
        ('[{"location": "", "tdm-reservation": 1}]', "/x", False),
        ("<html>", "/x", False),
    ],
)
def test_tdmrep(data, path, reserved):
    assert bool(of_site("tdmrep.json", data.encode(), path)) is reserved


def test_no_refusal_of_an_archive_is_forgotten():
    seen = SiteFilesSeen()
    no = b"User-agent: GPTBot\nDisallow: /\n"
    seen.add("http://a.org/robots.txt", "robots.txt", no)
    for i in range(40):
        seen.add(f"http://h{i}.org/robots.txt", "robots.txt", b"#" * 500_000)
    assert seen.of("http://a.org/p")["robots.txt"] == no.strip()
    assert seen.of("https://A.org.:443/p") == seen.of("http://a.org/p")
    assert seen.lost == 0


def test_what_cannot_be_kept_counts_as_refused():
    random_ = random.Random(1)
    seen = SiteFilesSeen(held=20_000)
    for i in range(12):
        rules = "".join(f"Allow: /{''.join(random_.choices(string.ascii_letters, k=20))}\n" for _ in range(300))
        seen.add(f"http://h{i}.org/robots.txt", "robots.txt", f"User-agent: *\n{rules}".encode())
    assert 0 < seen.lost < 12
    lost = [i for i in range(12) if seen.of(f"http://h{i}.org/") == {"robots.txt": b"User-agent: *\nDisallow: /"}]
    assert len(lost) == seen.lost
    assert seen.add("http://z.org/robots.txt", "robots.txt", b"User-agent: *\nDisallow: /q")
    assert b"/q" in seen.of("http://z.org/")["robots.txt"]
    seen.refuse("http://y.org/robots.txt", "robots.txt")
    seen.refuse("http://y.org/.well-known/tdmrep.json", "tdmrep.json")
    site = Site()
    for name, data in seen.of("http://y.org/").items():
        site.read(name, data)
    assert site.reserves("/x")
    assert not site.robots.allowed("GPTBot", "/x")


def test_sites():
    assert site_of("http://A.org.:80/x") == site_of("https://a.org/") == "a.org"
    assert site_of("http://straße.de:81/") == "xn--strae-oqa.de:81"
    for url in ("http://[", "http://a:b/", "", None, "x"):
        assert site_of(url) is None


@given(st.text(max_size=80), st.binary(max_size=80))
def test_any_words_are_read(text, data):
    found = Directives()
    found.header(text)
    found.meta("*", text)
    assert all(words for words in found.all().values())
    short_form(data)
    header_signals({"tdm-reservation": text, "x-robots-tag": text})
