"""Going on with a corpus: only new files are read, old parts stay as they are, copies of old documents are told."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.data.reading import find
from bedplate.errors import InputError
from bedplate.ledger import produce


def curate(out, earlier=None, **config):
    inputs = {} if earlier is None else {"earlier": earlier}
    return produce(CURATE, CurateConfig(**config), inputs, out, name="corpus", console=Console.quiet())


def texts_of(corpus):
    return [
        text
        for path in sorted(corpus.path.glob("part-*.parquet"))
        for text in pq.read_table(path, columns=["text"]).column("text").to_pylist()
    ]


def config_of(folder):
    return {
        "sources": [{"jsonl": str(folder), "license": "MIT", "name": "days"}],
        "signals": {},
        "deduplicate": {"exact": {}, "minhash": {}},
        "validation": 0.2,
    }


def words(start, count):
    return " ".join(f"word{number}" for number in range(start, start + count))


@pytest.fixture
def days(tmp_path):
    """A folder that gets a file a day."""
    folder = tmp_path / "days"
    folder.mkdir()

    def write(day, texts):
        (folder / f"{day}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    write("monday", [words(1000 * n, 200) for n in range(20)])
    write("tuesday", [words(1000 * n, 200) for n in range(20, 40)])
    return folder, write


def test_only_what_is_new_is_read_and_copies_of_old_documents_go(days, tmp_path):
    folder, write = days
    first = curate(tmp_path / "first", **config_of(folder))
    near = words(3000, 200).replace("word3100", "another")
    new = [words(90_000, 200), words(5000, 200), near]
    write("wednesday", new)
    second = curate(tmp_path / "second", first, **config_of(folder))
    assert second.measures["stages"]["read"]["read"] == 3
    assert texts_of(second) == [*texts_of(first), new[0]]
    for path in first.path.glob("part-*.parquet"):
        assert (second.path / path.name).read_bytes() == path.read_bytes()
    assert second.measures["dropped"] == {"exact_duplicate": 1, "near_duplicate": 1}
    assert (second.measures["read"], second.measures["kept"]) == (43, 41)
    assert second.measures["earlier"] == {"read": 40, "kept": 40, "changed_files": 0}
    assert second.measures["sources"]["days"]["read"] == 43
    dropped = {row["text"] if "text" in row else row["reason"]: row for row in rows_of_dropped(second)}
    ids = dict(zip(texts_of(first), ids_of(first), strict=True))
    assert dropped["exact_duplicate"]["other"] == ids[words(5000, 200)]
    assert dropped["near_duplicate"]["other"] == ids[words(3000, 200)]
    # And on from there: the index is that of both.
    write("thursday", [new[0], words(7000, 200), words(95_000, 200)])
    third = curate(tmp_path / "third", second, **config_of(folder))
    assert texts_of(third) == [*texts_of(second), words(95_000, 200)]
    assert third.manifest.inputs[0].digest == second.digest


def rows_of_dropped(corpus):
    return pq.read_table(corpus.file("dropped.parquet")).to_pylist()


def ids_of(corpus):
    return [
        name
        for path in sorted(corpus.path.glob("part-*.parquet"))
        for name in pq.read_table(path, columns=["id"]).column("id").to_pylist()
    ]


def test_nothing_new_is_said(days, tmp_path):
    folder, _ = days
    first = curate(tmp_path / "first", **config_of(folder))
    with pytest.raises(InputError, match="has read all of these sources already"):
        curate(tmp_path / "second", first, **config_of(folder))
    assert not list(tmp_path.glob("second*"))


def test_what_has_to_see_all_documents_is_refused(days, tmp_path):
    folder, write = days
    first = curate(tmp_path / "first", **config_of(folder))
    write("wednesday", [words(90_000, 200)])
    for more in ({"mix": {}}, {"clusters": {}}, {"deduplicate": {"exact": {}, "substring": {}}}):
        with pytest.raises(InputError, match="has to see all documents"):
            curate(tmp_path / "second", first, **(config_of(folder) | more))


def test_a_corpus_of_other_stages_is_refused(days, tmp_path):
    folder, write = days
    first = curate(tmp_path / "first", **config_of(folder))
    write("wednesday", [words(90_000, 200)])
    with pytest.raises(InputError, match="other columns"):
        curate(tmp_path / "second", first, **(config_of(folder) | {"privacy": {}}))


def test_a_corpus_as_input_goes_through_further_stages_with_all_that_is_known(days, tmp_path):
    folder, _ = days
    first = curate(tmp_path / "first", **config_of(folder))
    config = {"filters": {"rules": [{"column": "words", "min": 10}]}, "mix": {"weights": {"days": 1}, "budget": 2000}}
    second = produce(
        CURATE, CurateConfig(**config), {"corpus": [first]}, tmp_path / "second", name="c", console=Console.quiet()
    )
    before = {row["id"]: row for path in first.path.glob("part-*") for row in pq.read_table(path).to_pylist()}
    after = [row for path in second.path.glob("part-*") for row in pq.read_table(path).to_pylist()]
    assert 0 < len(after) < len(before)
    for row in after:
        old = before[row["id"]]
        for column in ("text", "source", "label", "license", "split", "words", "offset", "language_detected"):
            assert row[column] == old[column], column
    assert second.measures["dropped"] == {"mixed_out": len(before) - len(after)}
    assert second.manifest.inputs[0].digest == first.digest


def test_a_source_that_changes_while_it_is_read_is_refused(days, tmp_path, monkeypatch):
    folder, write = days
    looked = []

    def find_and_write(source):
        found = find(source)
        looked.append(1)
        if len(looked) == 2:  # the plan of the curation itself, behind that of its key
            write("monday", ["something else"])
            write("wednesday", [words(90_000, 200)])
        return found

    looked.append(1)
    monkeypatch.setattr("bedplate.data.curation.run.find", find_and_write)
    with pytest.raises(InputError, match=r"monday\.jsonl: it has changed while it was read"):
        curate(tmp_path / "first", **config_of(folder))
    monkeypatch.undo()
    first = curate(tmp_path / "first", **config_of(folder))
    assert set(json.loads((first.path / "sources.json").read_text())["days"]) == {
        f"days/{day}.jsonl" for day in ("monday", "tuesday", "wednesday")
    }


def test_a_changed_file_is_read_again_and_counted(days, tmp_path):
    folder, write = days
    first = curate(tmp_path / "first", **config_of(folder))
    write("monday", [words(1000 * n, 200) for n in range(20)] + [words(80_000, 200)])
    second = curate(tmp_path / "second", first, **config_of(folder))
    assert second.measures["earlier"]["changed_files"] == 1
    assert second.measures["dropped"]["exact_duplicate"] == 20
    assert texts_of(second) == [*texts_of(first), words(80_000, 200)]


def test_columns_that_only_some_runs_fill_are_no_obstacle(days, tmp_path):
    folder, write = days
    write("monday", [words(1000 * n, 200) for n in range(20)] + [words(0, 200)])
    first = curate(tmp_path / "first", **config_of(folder))
    assert first.measures["dropped"] == {"exact_duplicate": 1}
    write("wednesday", [words(90_000, 200)])
    second = curate(tmp_path / "second", first, **config_of(folder))
    assert second.measures["kept"] == first.measures["kept"] + 1
