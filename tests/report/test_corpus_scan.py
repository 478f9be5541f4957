"""What one pass counts is what a plain count of the whole tables gives."""

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bedplate.report.corpus_scan as corpus_scan
import bedplate.report.corpus_tables as corpus_tables
from bedplate.errors import ArtefactError
from bedplate.report.corpus_notes import Bound, ColumnNote
from bedplate.report.corpus_scan import LEFT_OUT, scan
from bedplate.report.corpus_tables import Row, Tables

NOTES = {"share": ColumnNote("a share", "quality", (Bound("too_much", max=0.3),)),
         "words": ColumnNote("words", "quality", (Bound("few", min=50, max=10_000),))}  # fmt: skip
GROUPS = [("label", "split"), ("license", "license_evidence"), ("domain",)]


def rows_of(count, seed, fate):
    draw = random.Random(seed)
    rows = []
    for n in range(count):
        kept = fate == "kept"
        row = {
            "id": f"{seed}-{n}", "source": f"a/{n}", "bytes": draw.randrange(5000),
            "label": draw.choice("abc"), "license": draw.choice(["MIT", None]),
            "license_evidence": draw.choice(["spdx", "footer", None]), "domain": f"site{draw.randrange(40)}.org",
            "words": draw.choice([None, draw.randrange(60, 9000)]) if kept else draw.randrange(20_000),
            "share": None if draw.random() < 0.1 else float(np.float32(draw.random() * (0.3 if kept else 1))),
            "flag": draw.random() < 0.5,
        }  # fmt: skip
        if kept:
            row |= {"text": f"text {n}", "split": draw.choice(["train", "validation"])}
        else:
            row |= {"status": "dropped", "reason": draw.choice(["few", "too_much", "rare"] if n % 50 else ["once"]),
                    "stage": "filters", "detail": None}  # fmt: skip
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    kept, lost = rows_of(700, 1, "kept"), rows_of(400, 2, "lost")
    kinds = [("words", pa.int32()), ("share", pa.float32()), ("flag", pa.bool_())]
    paths = []
    for name, rows in (("part-0", kept[:500]), ("part-1", kept[500:]), ("dropped", lost)):
        names = [name for name in rows[0] if name not in dict(kinds)]
        schema = pa.schema([(n, pa.int64() if n == "bytes" else pa.string()) for n in names] + kinds)
        paths.append(folder / f"{name}.parquet")
        pq.write_table(pa.Table.from_pylist(rows, schema), paths[-1], row_group_size=64)
    return paths, kept, lost


@pytest.fixture(params=[16_384, 37])
def found(made, request, monkeypatch):
    monkeypatch.setattr(corpus_tables, "BATCH_ROWS", request.param)
    tables = Tables(made[0])
    return tables, scan(tables, GROUPS, ["words", "share", "flag"], NOTES)


@pytest.mark.parametrize("group", [*GROUPS, LEFT_OUT])
def test_groups_are_counted_with_their_bytes(made, found, group):
    for side, rows in (("kept", made[1]), ("left out", made[2])):
        documents, size = Counter(), Counter()
        for row in rows:
            if group != LEFT_OUT or side == "left out":
                key = tuple(row.get(name) for name in group)
                documents[key] += 1
                size[key] += row["bytes"]
        counts = found[1].groups[group].counts[side]
        assert {key: count.documents for key, count in counts.items()} == documents
        assert {key: count.bytes for key, count in counts.items()} == size


def test_columns_of_numbers(made, found):
    for name in ("words", "share", "flag"):
        column = found[1].numbers[name]
        for side, rows in (("kept", made[1]), ("left out", made[2])):
            values = [float(row[name]) for row in rows if row[name] is not None]
            figures = column.sides[side]
            assert (figures.documents, figures.missing) == (len(values), len(rows) - len(values))
            assert (figures.least, figures.greatest) == (min(values), max(values))
            assert figures.sum == pytest.approx(sum(values), rel=1e-12)
            assert figures.some == sum(value > 0 for value in values)
            assert figures.counts.sum() == len(values)
            edges = column.bins.edges
            for number in range(1, column.bins.count - 1):
                inside = sum(edges[number] <= value < edges[number + 1] for value in values)
                assert figures.counts[number] == inside


def test_what_a_bound_only_just_lets_through(made, found):
    tables, result = found
    by_rule = {near.bound.rule: near for near in result.nearest}
    shares = sorted((row["share"] for row in made[1] if row["share"] is not None), reverse=True)
    assert [value for _, _, value, _ in by_rule["too_much"].found] == shares[:3]
    words = sorted(min(row["words"] - 50, 10_000 - row["words"]) for row in made[1] if row["words"] is not None)
    assert [distance for distance, *_ in by_rule["few"].found] == words[:3]
    rows = [row for near in result.nearest for *_, row in near.found]
    fetched = tables.fetch(rows, ("words", "share", "text"), 99)
    for near in result.nearest:
        for _, _, value, row in near.found:
            assert fetched[row][near.column] == value


def test_some_of_each_reason_are_drawn_from_all_over(made, found):
    tables, result = found
    assert set(result.drawn) == {(row["reason"], "filters", "dropped") for row in made[2]}
    for (reason, *_), rows in result.drawn.items():
        assert len(rows) == 3
        assert {one["reason"] for one in tables.fetch(rows, ("reason",), 99).values()} == {reason}
    assert max(row.row for rows in result.drawn.values() for row in rows) > 200


def test_the_size_of_batches_changes_nothing_but_rounding(made, monkeypatch):
    results = []
    for size in (16_384, 37):
        monkeypatch.setattr(corpus_tables, "BATCH_ROWS", size)
        results.append(scan(Tables(made[0]), GROUPS, ["words", "share"], NOTES))
    assert results[0].drawn == results[1].drawn
    assert [near.found for near in results[0].nearest] == [near.found for near in results[1].nearest]


def test_of_too_many_values_the_common_ones_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_scan, "MOST_VALUES", 50)
    monkeypatch.setattr(corpus_tables, "BATCH_ROWS", 64)
    domains = [f"site{n}" if n % 3 else "common" for n in range(3000)]
    pq.write_table(pa.table({"text": ["x"] * 3000, "bytes": [1] * 3000, "domain": domains}), tmp_path / "a.parquet")
    groups = scan(Tables([tmp_path / "a.parquet"]), [("domain",)], [], {}).groups[("domain",)]
    assert groups.trimmed
    assert groups.counts["kept"][("common",)].documents == 1000
    assert len(groups.counts["kept"]) <= 100 + 64


def test_no_more_row_groups_are_read_than_allowed(made):
    tables = Tables(made[0])
    rows = [Row(0, n) for n in (0, 63, 64, 200)]
    assert set(tables.fetch(rows, ("text",), 2)) == set(rows[:3])
    assert tables.fetch(rows, ("text",), 9)[Row(0, 200)] == {"text": "text 200"}


def test_a_table_that_breaks_off_is_named(made, tmp_path):
    broken = tmp_path / "part-9.parquet"
    broken.write_bytes(made[0][0].read_bytes()[:500])
    with pytest.raises(ArtefactError, match=r"part-9\.parquet"):
        Tables([broken])
    damaged = bytearray(made[0][0].read_bytes())
    damaged[100:2000] = bytes(1900)
    broken.write_bytes(damaged)
    with pytest.raises(ArtefactError, match=r"part-9\.parquet"):
        scan(Tables([broken]), GROUPS, ["words"], {})
