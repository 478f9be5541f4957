"""Labels on disk: nothing that was promised is lost, whoever is killed and however many write."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.data.labels.record import Label, parse, standing
from bedplate.data.labels.store import LabelFile
from bedplate.errors import InputError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(TEXTS, TEXTS, TEXTS, st.floats(0, 1e6))
def test_a_label_survives_its_line(document, label, annotator, seconds):
    record = Label(document, label, annotator, None, seconds, "2024-05-01T12:00:00Z", "ab")
    assert parse(record.line()) == record
    assert record.line().count(b"\n") == 1


def test_later_ones_stand_in_place_of_earlier_ones(said):
    records = [said("a", "good"), said("a", "bad"), said("b", "good"), said("a", "good", "bob"), said("c", None)]
    held = standing([*records, said("b", None, action="undo")])
    assert {(r.document[:4], r.annotator): r.label for r in held.values()} == {
        (said("a", "x").document[:4], "ann"): "bad",
        (said("a", "x").document[:4], "bob"): "good",
        (said("c", "x").document[:4], "ann"): None,
    }


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_torn_last_line_is_passed_over_and_taken_away(tmp_path_factory, said, data):
    """Cut off at every place: whole records stay, and what comes next is whole too."""
    path = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    records = [said(f"text {n} ü", "good") for n in range(3)]
    whole = b"".join(record.line() for record in records)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    # A record without the end of its line is whole.
    expected = records[: whole[:cut].count(b"\n") + (whole[cut : cut + 1] == b"\n")]
    file = LabelFile(path)
    assert file.records() == expected
    fresh = said("fresh", "bad")
    file.append(fresh)
    assert file.records() == [*expected, fresh]
    assert LabelFile(path).records() == [*expected, fresh]
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_a_line_that_is_no_label_is_named(tmp_path, said):
    path = tmp_path / "labels.jsonl"
    path.write_bytes(said("a", "good").line() + b'{"document": 3}\n' + said("b", "good").line())
    with pytest.raises(InputError, match="record 2: not a label"):
        LabelFile(path).records()


WRITER = """
import sys
from pathlib import Path
from bedplate.data.labels.record import Label
from bedplate.data.labels.store import LabelFile
file = LabelFile(Path(sys.argv[1]))
for number in range(60):
    file.append(Label(f"{number}" * 50, "good", sys.argv[2], None, 1.0, "2024-05-01T12:00:00Z", "ab"))
    print(number, flush=True)
"""


def test_processes_that_write_at_once_lose_nothing_also_when_one_is_killed(tmp_path):
    path = tmp_path / "labels.jsonl"
    start = [sys.executable, "-c", WRITER, str(path)]
    writers = {
        name: subprocess.Popen([*start, name], stdout=subprocess.PIPE, text=True, env=os.environ)
        for name in ("ann", "bob", "cyd")
    }
    promised = [next(writers["cyd"].stdout) for _ in range(10)]
    writers["cyd"].kill()
    promised += list(writers["cyd"].stdout)
    for name in ("ann", "bob"):
        assert len(list(writers[name].stdout)) == 60
    for writer in writers.values():
        writer.wait(30)
        writer.stdout.close()
    records = LabelFile(path).records()
    by = {name: [record for record in records if record.annotator == name] for name in writers}
    assert len(by["ann"]) == len(by["bob"]) == 60
    assert len(by["cyd"]) >= len(promised)
