"""Pages are whole, safe and self-contained, whatever is written on them."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedplate.report.page import Branch, Page
from bedplate.report.plots import Bar, bar_plot

HOSTILE = "</td></main><script src=http://evil.example/x.js></script><img src=x onerror=alert(1)>\"'&\x00\u202e\ud800"


def full_page(text):
    page = Page(text, text)
    for n in range(4):
        page.heading(f"{text}{n}")
    page.heading(text, level=3)
    page.text(text)
    page.warning(text)
    page.code(text)
    page.facts({text: text, "none": None, "yes": True, "count": 1234567})
    page.table([text, "n"], [[text, 1], [None, 2.5]], caption=text, right=["n"])
    page.figure(bar_plot([Bar(text, 1.0)], title=text or "t", value_label=text), text)
    page.tree([Branch(text, text, [Branch(text), Branch(text, text, [Branch(text)])])])
    inside = Page("")
    inside.table([text], [[text]])
    page.fold(text, inside)
    return page.html()


def test_hostile_text_is_only_text(check_page):
    html = full_page(HOSTILE)
    visible = check_page(html)
    assert "<script src=http://evil.example" in visible
    assert "\x00" not in html


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_any_text_makes_a_whole_page(check_page, text):
    check_page(full_page(text))


def test_an_empty_page_is_whole(check_page):
    assert "nothing" in check_page(Page("nothing").html())


def test_contents_appear_once_there_is_something_to_find(check_page):
    page = Page("t")
    for name in ("One", "Two", "Three"):
        page.heading(name)
    assert "<nav" not in page.html()
    page.heading("One")
    html = page.html()
    check_page(html)
    assert html.count('href="#one-') == 2


def test_code_keeps_its_first_newline_and_spaces():
    page = Page("t")
    page.code("\n  two")
    assert "<pre>\n\n  two</pre>" in page.html()


def test_numbers_are_set_to_the_right():
    page = Page("t")
    page.table(["name", "n", "size"], [["a", 1234.0, "5 kB"], ["b", None, "6 kB"]], right=["size"])
    html = page.html()
    assert '<td>a</td><td class="number">1,234</td><td class="number">5 kB</td>' in html
    assert '<th scope="col">name</th><th scope="col" class="number">n</th>' in html


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, "not a number"),
        (math.inf, "∞"),
        (True, "yes"),
        (0.123456, "0.1235"),
        (1e-9, "1e-09"),
        (10**20, f"{10**20:,}"),
    ],
)
def test_cells(value, shown):
    page = Page("t")
    page.facts({"x": value})
    assert f"<td>{shown}</td>" in page.html()


def test_wrong_use_is_refused():
    page = Page("t")
    with pytest.raises(ValueError, match="2 cells under 1"):
        page.table(["a"], [[1, 2]])
    with pytest.raises(ValueError, match="level 1"):
        page.heading("x", level=1)
    with pytest.raises(TypeError, match="never a plain string"):
        page.figure("<svg/>", "x")
