"""The scatter plot: names that don't lie on each other, what can't be drawn, safe text."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

from hypothesis import example, given, settings
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
@example([(x, float(x == 0.51), 0.0) for x in (0.5, 0.25, 0.375, 0.8125, 0.51, 0.625, 0.125, 0.75, 0.875, 1e-5)])
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


def test_a_name_that_stands_nearer_to_another_point_has_a_line_to_its_own():
    points = [Point("ringed (encoder)", 1.0, 50.0, 45.0, 55.0, emphasis=True), Point("probe", 1.15, 50.0, 45.0, 55.0),
              Point("lora (encoder)", 2.0, 50.0, 45.0, 55.0), Point("far", 100.0, 0.0)]  # fmt: skip
    root = plot(points, log_x=True)
    rings = {c.find(f"{SVG}title").text.split(":")[0]: (float(c.get("cx")), float(c.get("cy")))
             for c in root.iter(f"{SVG}circle") if c.find(f"{SVG}title") is not None}  # fmt: skip
    lines = [(float(line.get("x1")), float(line.get("y1"))) for line in root.iter(f"{SVG}line")
             if "stroke-width:0.7" in line.get("style")]  # fmt: skip
    for name, (left, top, right, bottom) in names(root, points).items():

        def far(place, left=left, top=top, right=right, bottom=bottom):
            return abs(place[0] - min(max(place[0], left), right)) + abs(place[1] - min(max(place[1], top), bottom))

        nearest = min(rings, key=lambda other, far=far: far(rings[other]))
        assert nearest == name or rings[name] in lines, name
