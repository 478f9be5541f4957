"""Plots are well-formed pictures for any numbers, keep every spike, and say in words what they show."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.report.plots import MOST_POINTS, Bar, Series, bar_plot, line_plot

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert('x')</script>\"'&\x00\u202e"


def draw(*series, **options):
    return ElementTree.fromstring(line_plot(series, title="t", x_label="x", y_label="y", **options))


def lines(picture):
    return picture.findall(f"{SVG}polyline")


def texts(picture):
    return ["".join(t.itertext()) for t in picture.findall(f"{SVG}text")]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(), st.floats()), max_size=30),
    st.booleans(),
    st.booleans(),
)
def test_any_numbers_make_a_picture(points, log_x, log_y):
    x, y = [p[0] for p in points], [p[1] for p in points]
    picture = line_plot(
        [Series("s", x, y, low=y, high=y)], title="t", x_label="x", y_label="y", log_x=log_x, log_y=log_y
    )
    ElementTree.fromstring(picture)
    numbers = re.findall(r'(?:points|cx|cy|x|y|x1|x2|y1|y2|width|height)="([^"]*)"', picture)
    assert not any("nan" in number or "inf" in number for number in numbers)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.text(), st.floats(), st.none() | st.floats(), st.none() | st.floats()), max_size=12))
def test_any_bars_make_a_picture(bars):
    ElementTree.fromstring(bar_plot([Bar(*bar) for bar in bars], title="t", value_label="v"))


def test_nothing_to_draw_is_said():
    assert "nothing to draw" in texts(draw())
    assert "nothing to draw" in texts(draw(Series("s", [], [])))
    assert "nothing to draw" in texts(draw(Series("s", [1], [math.nan])))
    assert "nothing to draw" in texts(draw(Series("s", [1], [-1.0]), log_y=True))
    assert "nothing to draw" in texts(ElementTree.fromstring(bar_plot([], title="t", value_label="v")))


def test_one_point_is_a_dot():
    picture = draw(Series("s", [5], [2.5]))
    assert not lines(picture)
    assert any("stroke" not in c.get("style") and c.get("r") == "3.2" for c in picture.iter(f"{SVG}circle"))


def test_nan_breaks_the_line():
    picture = draw(Series("s", range(7), [1, 2, 3, math.nan, 3, 2, 1]))
    assert len(lines(picture)) == 2
    assert "1 points can't be drawn" in picture.findtext(f"{SVG}desc")


def test_constant_values_lie_inside():
    (line,) = lines(draw(Series("s", range(5), [7.0] * 5)))
    heights = {point.split(",")[1] for point in line.get("points").split()}
    assert len(heights) == 1


def test_huge_values():
    picture = draw(Series("s", range(3), [1e299, -1e299, 1e308]))
    assert len(lines(picture)) == 1


def test_long_series_are_thinned_but_keep_their_spike():
    y = [1.0] * 100_000
    y[43_210] = 50.0
    y[77_777] = -20.0
    text = line_plot([Series("s", range(100_000), y)], title="t", x_label="x", y_label="y")
    assert len(text) < 120_000
    (line,) = lines(ElementTree.fromstring(text))
    points = [tuple(map(float, p.split(","))) for p in line.get("points").split()]
    assert len(points) <= MOST_POINTS
    heights = [y for _, y in points]
    assert min(heights) < 60
    assert max(heights) > 240
    assert sum(1 for h in heights if h == min(heights)) == 1


def test_words_for_those_who_cannot_see():
    picture = draw(Series("loss", [1, 2, 3], [9.0, 1.5, 4.0]))
    assert picture.get("role") == "img"
    assert picture.get("aria-label") == "t"
    description = picture.find(f"{SVG}desc")
    assert description.get("id") == picture.get("aria-describedby")
    assert description.text == "loss: 3 points, from 9 at 1 to 4 at 3; lowest 1.5, highest 9."
    tips = [t.text for t in picture.iter(f"{SVG}title")]
    assert "loss: 1.5 at x 2" in tips


def test_a_band_and_a_legend():
    x = [0, 1, 2, 3]
    picture = draw(
        Series("a", x, [1, 2, 3, 4], low=[0, 1, 2, 3], high=[2, 3, math.nan, 5]), Series("b", x, [4, 3, 2, 1])
    )
    assert len(picture.findall(f"{SVG}polygon")) == 1
    assert {"a", "b"} <= set(texts(picture))


def test_names_are_escaped_everywhere():
    text = line_plot(
        [Series(HOSTILE, [1, 2], [1, 2]), Series("b", [1], [1])], title=HOSTILE, x_label=HOSTILE, y_label=HOSTILE
    )
    text += bar_plot([Bar(HOSTILE, 1.0, 0.5, 2.0)], title=HOSTILE, value_label=HOSTILE)
    assert "<script" not in text
    assert "\x00" not in text
    ElementTree.fromstring(f"<two>{text}</two>")


def test_ids_differ_within_a_page_and_repeat_between_runs():
    one, other = (line_plot([Series("s", [1], [n])], title="t", x_label="x", y_label="y") for n in (1, 2))
    ids = [re.search(r'desc id="([^"]+)"', text)[1] for text in (one, other)]
    assert ids[0] != ids[1]
    assert one == line_plot([Series("s", [1], [1])], title="t", x_label="x", y_label="y")


def test_uneven_columns_are_refused():
    with pytest.raises(ValueError, match="same length"):
        Series("s", [1, 2], [1])
    with pytest.raises(ValueError, match="each other"):
        Series("s", [1], [1], low=[1])


def test_bars_begin_at_zero_and_carry_their_interval():
    picture = ElementTree.fromstring(bar_plot([Bar("a", 2.0, 1.5, 2.5), Bar("b", 4.0)], title="t", value_label="v"))
    first, second = picture.findall(f"{SVG}rect")
    assert float(second.get("width")) == pytest.approx(2 * float(first.get("width")), rel=0.01)
    assert "2 (1.5 to 2.5)" in texts(picture)
    assert "a: 2 (1.5 to 2.5)." in picture.findtext(f"{SVG}desc")


def test_below_zero_bars_grow_to_the_left():
    picture = ElementTree.fromstring(bar_plot([Bar("a", -2.0), Bar("b", 2.0)], title="t", value_label="v"))
    left, right = picture.findall(f"{SVG}rect")
    assert float(left.get("x")) + float(left.get("width")) == pytest.approx(float(right.get("x")), abs=0.1)
