"""Nothing that comes from data can become markup, hide itself, or point anywhere else."""

from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.report.markup import Markup, escape, link


class Collector(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def parse(html):
    collector = Collector()
    collector.feed(html)
    collector.close()
    return collector


@given(st.text())
def test_any_text_stays_text(text):
    between = parse(f"<b>{escape(text)}</b>")
    assert between.tags == ["b"]
    inside = parse(f'<b title="{escape(text)}">x</b>')
    assert inside.tags == ["b"]
    assert len(inside.attributes) == 1
    escape(text).encode("utf-8")


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Cn"))))
def test_printable_text_survives_unchanged(text):
    assert unescape(escape(text)) == text


@pytest.mark.parametrize("text", ["\x00", "\x1b[31m", "\u202egnp.exe", "\u2066", "\ud800", "\x85"])
def test_hidden_characters_show(text):
    assert "\ufffd" in escape(text)


def test_markup_is_not_escaped_twice():
    assert escape(Markup("<b>")) == "<b>"
    assert escape(escape("<b>")) == "&lt;b&gt;"


@given(st.text(min_size=1))
def test_links_stay_beside_the_page(path):
    collector = parse(link("x", path.replace("\ud800", "")))
    (href,) = [value for name, value in collector.attributes if name == "href"]
    assert href.startswith("./")
    assert not set(href) & set("\"'<>:?# \\")


@pytest.mark.parametrize("path", ["javascript:alert(1)", "//evil.example/x", "https://evil.example", 'a" onclick="x'])
def test_hostile_links(path):
    collector = parse(link("<i>", path))
    assert collector.tags == ["a"]
    assert [name for name, _ in collector.attributes] == ["href"]
    assert collector.text == "<i>"
