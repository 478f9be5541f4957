"""Extraction, document by document: real pages, small ones by hand, and pages that mean harm."""

from __future__ import annotations

import json
import time

import pytest

from bedplate.data.documents import Document
from bedplate.data.extract.config import ExtractConfig
from bedplate.data.extract.step import step

EXTRACTORS = ("resiliparse", "trafilatura")
PROSE = "This sentence is long enough to be the text of a page, and it says so itself. " * 3
PAGE = f"""<!doctype html><html lang="en-GB"><head><title>A page | The site</title>
<meta name="description" content="What it is about"><meta property="og:title" content="A page">
<meta property="og:type" content="article"><meta name="twitter:card" content="summary">
<meta name="author" content="Jane Doe"><meta property="article:published_time" content="2024-05-01T10:00:00Z">
<link rel="canonical" href="/page">
<script type="application/ld+json">{{"@type": "Article", "headline": "A page",
"author": {{"name": "Jane Doe"}}}}</script>
<script type="application/ld+json">{{"broken": </script></head>
<body><nav><a href="/">Home</a> <a href="/b">News</a></nav><article><h1>A page</h1><p>{PROSE}</p><h2>Part</h2>
<p>{PROSE}</p><ol><li>First of all things to do here</li><li>Second of all things to do here</li></ol>
<pre>def f():
    return 1 &lt; 2</pre>
<table><tr><th>name</th><th>number</th></tr><tr><td>one</td><td>1</td></tr></table><p>{PROSE}</p></article>
<footer>Copyright</footer></body></html>"""


def page(html: str | bytes, content_type: str | None = "text/html", **more) -> Document:
    data = html.encode() if isinstance(html, str) else html
    return Document("pages/1", None, data, content_type, bytes=len(data), url="https://example.org/a/1", **more)


def extracted(document: Document, **config) -> Document:
    step(ExtractConfig(**config))([document])
    assert document.data is None
    return document


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_a_page_keeps_its_structure_as_markdown_and_says_what_it_is(extractor):
    found = extracted(page(PAGE), extractor=extractor)
    assert found.alive
    assert found.title == "A page"
    assert "## Part" in found.text
    assert "```\ndef f():\n    return 1 < 2\n```" in found.text
    assert "Home" not in found.text
    assert "1. First of all" in found.text if extractor == "resiliparse" else "First of all" in found.text
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in found.text.split("\n")
        if line[:1] == "|"
    ]
    assert [rows[0], rows[2]] == [["name", "number"], ["one", "1"]]
    metadata = found.metadata
    assert metadata["description"] == "What it is about"
    assert metadata["author"] == "Jane Doe"
    assert metadata["published"] == "2024-05-01T10:00:00Z"
    assert metadata["language"] == "en-GB"
    assert metadata["canonical_url"] == "https://example.org/page"
    assert metadata["open_graph"] == {"title": "A page", "type": "article"}
    assert metadata["twitter"] == {"card": "summary"}
    assert metadata["json_ld"] == [{"@type": "Article", "headline": "A page", "author": "Jane Doe"}]
    assert metadata["invalid_json_ld"] == 1
    assert metadata["extractor"] == extractor
    json.dumps(metadata)


def test_text_format_has_no_marks_and_links_are_kept_on_demand():
    assert "#" not in extracted(page(PAGE), format="text").text
    linked = PAGE.replace(
        "<h2>Part</h2>", '<p>See <a href="/x(1)">the other</a> one, which is a page as well as this.</p>'
    )
    assert "See [the other](/x(1%29) one" in extracted(page(linked), links=True).text
    assert "See the other one" in extracted(page(linked)).text


@pytest.mark.parametrize(
    ("data", "content_type", "reason"),
    [
        (b"%PDF-1.7 ...", "text/html", "unsupported_type"),
        (b"\x89PNG\r\n\x1a\n", "image/png", "unsupported_type"),
        (b'{"a": 1}', "application/json", "unsupported_type"),
        (b"a\0b", "text/plain", "unsupported_type"),
        (b"", "text/html", "no_text"),
        (b"", None, "unsupported_type"),
        (b"  \0\0 ", "text/html", "no_text"),
        (b'<meta http-equiv="refresh" content="0; url=https://example.org/">', "text/html", "no_text"),
        (b"<html><body><script>var x = 1</script></body></html>", "text/html", "no_text"),
        (b"<p>" + b"x" * 200, "text/html", "too_large"),
    ],
)
@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_what_has_no_text_is_dropped_with_a_reason(extractor, data, content_type, reason):
    found = extracted(page(data, content_type), extractor=extractor, largest_html=150)
    assert (found.status, found.stage, found.reason) == ("dropped", "extract", reason)
    assert found.text is None


def test_plain_text_is_decoded_and_unsaid_types_are_guessed():
    assert (
        extracted(page("Grüße\r\nan alle".encode("latin-1"), "text/plain; charset=latin1")).text == "Grüße\r\nan alle\n"
    )
    assert extracted(page(PAGE, None)).alive
    assert extracted(page(PAGE, "application/xhtml+xml;charset=utf-8")).alive


def test_a_librarys_exception_fails_one_document_and_not_the_others(monkeypatch):
    stage = step(ExtractConfig())
    real = stage._main_text

    def broken(text, tree):
        if "unlucky" in text:
            raise RuntimeError("no luck")
        return real(text, tree)

    monkeypatch.setattr(stage, "_main_text", broken)
    documents = [page(PAGE), page(PAGE.replace("Part", "unlucky")), page(PAGE)]
    stage(documents)
    assert [d.status for d in documents] == ["kept", "failed", "kept"]
    assert (documents[1].reason, documents[1].detail) == ("extraction_error", "RuntimeError: no luck")


HOSTILE = {
    "deep": "<html><body>" + "<div>" * 100_000 + f"<p>{PROSE}</p>",
    "deep behind end tags that close nothing": "<html><body>" + "<div><marquee></div></marquee>" * 50_000 + PROSE,
    "fonts": "".join(f"<font size={i}>" for i in range(20_000)) + "<p>x" * 20_000,
    "an attribute without end": '<html><body><p title="' + "x" * 7_000_000,
    "metas": f'<meta name="a" content="{"b" * 50}">' * 80_000 + f"<p>{PROSE}</p>",
    "scripts of JSON-LD": '<script type="application/ld+json">' + "[" * 150_000 + "</script>" + f"<p>{PROSE}</p>",
    "entities": f"<p>{'&#xD800;&#0;&lt;' * 50_000}</p>",
    "open tags": "<" * 1_000_000,
    "comments": "<!--" * 500_000,
    "links": '<a rel="license" href="https://creativecommons.org/licenses/by/4.0/">x' * 30_000,
    "lists": "<ul><li>x" * 30_000,
    "tables": "<table><tr><td>" * 30_000,
    "spaces": "<p>" + " \t" * 2_000_000 + "</p>",
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_hostile_pages_take_little_time(extractor, kind):
    document = page(HOSTILE[kind])
    began = time.process_time()
    extracted(document, extractor=extractor)
    assert time.process_time() - began < 5
    assert document.alive == (document.reason is None)
    (document.text or "").encode()
    assert "\0" not in (document.text or "")
    assert len(json.dumps(document.metadata)) < 100_000


def test_a_page_with_a_huge_attribute_is_refused_before_it_is_parsed():
    found = extracted(page(b'<p title="' + b"x" * 50_000_000 + b'">hello</p>'))
    assert found.reason == "too_large"


def test_text_is_mended_but_not_source_code():
    documents = [
        Document("books/a.txt", "donâ€™t\x07"),
        Document("code/a.py", "x = 'â€™'"),
        Document("a", "a ﬁne “day”\r\n"),
    ]
    step(ExtractConfig())(documents)
    assert [d.text for d in documents] == ["don’t", "x = 'â€™'", "a ﬁne “day”\r\n"]
    untouched = Document("books/a.txt", "donâ€™t")
    step(ExtractConfig(repair=False))([untouched])
    assert untouched.text == "donâ€™t"


def test_the_same_page_gives_the_same_document_wherever_it_stands_in_a_batch():
    pages = [page(PAGE), page(PAGE.replace("long", "short")), page(PAGE)]
    step(ExtractConfig())(pages)
    assert pages[0] == pages[2] == extracted(page(PAGE))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tables": False}, "can't leave tables out"),
        ({"extractor": "trafilatura", "boilerplate": False}, "boilerplate"),
        ({"links": True, "format": "text"}, "links"),
    ],
)
def test_settings_that_an_extractor_cannot_honour_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        ExtractConfig(**settings)


def test_comments_and_tables_follow_the_configuration():
    with_comments = PAGE.replace(
        "</article>", f'</article><div id="comments" class="comments"><p>I object: {PROSE}</p></div>'
    )
    for extractor in EXTRACTORS:
        assert "I object" not in extracted(page(with_comments), extractor=extractor).text
    assert "I object" in extracted(page(with_comments), comments=True).text
    assert "number" not in extracted(page(PAGE), extractor="trafilatura", tables=False).text
