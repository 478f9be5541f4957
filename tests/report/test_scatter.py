"""The scatter plot: names that don't lie on each other, what can't be drawn, safe text."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.report.scatter import Point, scatter_plot

SVG = "{http://www.w3.org/2000/svg}"


def plot(points, **options):
    return ET.fromstring(scatter_plot(points, title="t", x_label="cost", y_label="accuracy, %", **options))


def names(root, points):
    """name -> the box of its text, by the width that a browser needs at most (7 pixels a letter)."""
    wanted = {p.name for p in points}
    found = {}
    for text in root.iter(f"{SVG}text"):
        word = "".join(text.itertext())
        if word in wanted:
            x, y = float(text.get("x")), float(text.get("y"))
            found[word] = (x, y - 10, x + 6.2 * len(word), y + 2)
    return found


def overlap(one, other):
    return min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[1], other[1])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(1e-7, 1.0), st.floats(0, 100), st.floats(0, 20)), min_size=1, max_size=13, unique=True)
)
def test_names_lie_neither_on_each_other_nor_outside(places):
    points = [
        Point(f"way-{n:02d} (encoder)", x, y, y - half, y + half, kind=f"kind {n % 2}", emphasis=n == 3)
        for n, (x, y, half) in enumerate(places)
    ]
    boxes = names(plot(points, log_x=True), points)
    assert len(boxes) == len(points)
    for name, box in boxes.items():
        assert box[0] >= 0
        assert box[2] <= 760
        assert not any(overlap(box, other) for key, other in boxes.items() if key != name)


def test_a_crowd_at_one_place_can_still_be_read():
    points = [Point(f"way number {n}", 1.0, 50.0) for n in range(10)]
    boxes = list(names(plot(points), points).values())
    assert not any(overlap(one, other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_what_cant_be_drawn_is_said():
    points = [Point("free", 0.0, 10.0), Point("odd", 1.0, math.nan), Point("there", 2.0, 20.0, 15.0, 25.0)]
    root = plot(points, log_x=True)
    assert set(names(root, points)) == {"there"}
    described = root.find(f"{SVG}desc").text
    assert "2 points can't be drawn" in described
    assert "there: 20 (15 to 25) at 2." in described
    assert "nothing to draw" in "".join(plot([]).itertext())


def test_names_are_data_and_long_ones_are_cut():
    markup = scatter_plot([Point("<script>" + "x" * 60, 1, 1)], title="<b>", x_label="&", y_label="y")
    assert "<script>" not in markup
    assert "…" in markup
    assert not re.search(r"<b>", markup)


def test_the_emphasised_point_is_ringed():
    rings = [c for c in plot([Point("a", 1, 1), Point("b", 2, 2, emphasis=True)]).iter(f"{SVG}circle")
             if "fill:none" in c.get("style")]  # fmt: skip
    assert len(rings) == 1
