"""What every page must be, whatever is on it."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

VOID = {"meta", "br", "hr", "img", "link", "input"}
LOADING = {
    "script",
    "img",
    "link",
    "iframe",
    "object",
    "embed",
    "audio",
    "video",
    "source",
    "base",
    "form",
    "image",
    "use",
}


class _Nesting(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.ids, self.text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> repeats an attribute"
        assert not [name for name in names if name.startswith("on")], f"<{tag}> has a handler"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> without a beginning"
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


@pytest.fixture(scope="session")
def check_page():
    """Asserts that a page is well nested, loads and runs nothing, and can be navigated; returns its visible text."""
    return _check


def _check(html):
    page = _Nesting()
    page.feed(html)
    page.close()
    assert page.open == []
    tags = [tag for tag, _ in page.seen]
    assert not LOADING & set(tags), f"loads something: {LOADING & set(tags)}"
    assert tags.count("h1") == 1
    assert tags.count("main") == 1
    assert len(page.ids) == len(set(page.ids)), "an id is used twice"
    for tag, attributes in page.seen:
        assert "src" not in attributes
        if tag == "a":
            assert attributes["href"].startswith(("#", "./"))
        if tag == "svg":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
            assert attributes["aria-describedby"] in page.ids
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels)), "a heading level is skipped"
    style = html[html.index("<style>") : html.index("</style>")]
    assert not re.search(r"url\(|@import|@font-face", style)
    assert "default-src 'none'" in html
    assert html.startswith("<!DOCTYPE html>")
    html.encode("utf-8")
    return page.text
