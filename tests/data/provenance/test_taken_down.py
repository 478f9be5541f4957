"""What was taken out of a corpus doesn't come back into what is made of it, and its keys are gone."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.corpus import identity
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.data.documents import Document
from bedplate.data.provenance.removing import remove_documents
from bedplate.data.provenance.taken_down import TAKEN_DOWN, TakenDown, carry, write
from bedplate.ledger import produce

QUIET = Console.quiet()
A, B, C = "a" * 24, "b" * 24, "c" * 64


def words(start, count=60):
    return " ".join(f"word{number}" for number in range(start, start + count))


def curate(out, inputs=None, **config):
    return produce(CURATE, CurateConfig(**config), inputs or {}, out, name=out.name, console=QUIET)


def kept(corpus):
    return [row for path in sorted(corpus.path.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def dropped(corpus):
    return pq.read_table(corpus.path / "dropped.parquet").to_pylist()


def listed(corpus):
    return (corpus.path / TAKEN_DOWN).read_text().splitlines()


def test_lists_are_hashes_and_add_up(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    gone = [{"id": A, "record_sha256": C}, {"id": B, "record_sha256": None}]
    write(gone, [{"id": B, "record_sha256": "d" * 64}], [], one)  # another document that stays has the text of B
    assert (one / TAKEN_DOWN).read_text() == f'{{"id": "{A}"}}\n{{"sha256": "{C}"}}\n'
    write([{"id": B, "record_sha256": None}], [], [str(one / TAKEN_DOWN)], two)
    assert [json.loads(line) for line in (two / TAKEN_DOWN).read_text().splitlines()] == [
        {"id": A}, {"id": B}, {"sha256": C},
    ]  # fmt: skip
    carry([str(one / TAKEN_DOWN), str(two / TAKEN_DOWN)], tmp_path)
    assert (tmp_path / TAKEN_DOWN).read_bytes() == (two / TAKEN_DOWN).read_bytes()
    carry([], one / "none")
    assert not (one / "none").exists()


def test_the_step_goes_by_text_picture_and_record(tmp_path):
    document = Document("x", "a caption", title="T", metadata={"author": "Jane", "picture": {"sha256": C}})
    document.images = ("x.png",)
    plain = Document("y", "a caption")
    from hashlib import sha256

    digest = sha256(b"a caption").hexdigest()
    write([{"id": identity(digest, C)[:24], "record_sha256": None}], [], [], tmp_path)
    step = TakenDown([str(tmp_path / TAKEN_DOWN)])
    step([document, plain])
    assert (document.stage, document.reason, document.title) == ("takedown", "taken_down", None)
    assert document.metadata == {"picture": {"sha256": C}}
    assert plain.alive  # of one caption, but without that picture
    carried = Document("z", "what was left of it", columns={"id": identity(digest, C)[:24]})
    record = Document("z", "now extracted otherwise", record_sha256="e" * 64)
    write([{"id": None, "record_sha256": "e" * 64}], [], [str(tmp_path / TAKEN_DOWN)], tmp_path)
    TakenDown([str(tmp_path / TAKEN_DOWN)])([carried, record])
    assert not carried.alive
    assert not record.alive


@pytest.fixture
def days(tmp_path):
    folder = tmp_path / "days"
    folder.mkdir()

    def day(name, texts):
        rows = [{"text": text, "url": f"https://{host}/{n}"} for n, (host, text) in enumerate(texts)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    near = words(3000).replace("word3030", "another")
    nearer = near.replace("word3050", "one more")
    day("monday", [("ab"[n % 2] + ".org", words(1000 * n)) for n in range(20)])
    day("tuesday", [("c.org", near), ("c.org", nearer), ("mirror.org", words(4000))])
    config = {
        "sources": [{"jsonl": str(folder), "license": "MIT", "name": "days", "url_field": "url"}],
        "deduplicate": {"exact": {}, "minhash": {"threshold": 0.5}},
        "clusters": None,
        "validation": 0.3,
    }
    return day, config, nearer


def test_a_removal_leaves_what_a_later_curation_needs(days, tmp_path):
    _, config, _ = days
    first = curate(tmp_path / "first", **config)
    assert {row["reason"] for row in dropped(first)} == {"exact_duplicate", "near_duplicate"}
    done = remove_documents(first.path, matches=["domain=b.org"], why="w", out=tmp_path / "without", console=QUIET)
    new = done.corpus
    new.verify()
    assert (new.path / "sources.json").read_bytes() == (first.path / "sources.json").read_bytes()
    gone = {row["id"] for row in kept(first)} - {row["id"] for row in kept(new)}
    assert len(gone) == 10
    # What was left out as a near copy of what goes, and as a copy of that, goes with it; each by its text and record.
    copies = {row["id"] for row in dropped(first) if row["reason"] == "near_duplicate"}
    assert len(copies) == 2
    ids = {json.loads(line)["id"] for line in listed(new) if "id" in line}
    assert ids == gone | copies
    assert all(row["excerpt"] is None for row in dropped(new) if row["id"] in ids)
    assert not any("word" in line for line in listed(new))
    # The index has the keys of what stays, as if the rest had never been.
    sizes = json.loads((new.path / "index" / "index.json").read_text())["sections"]
    assert {name: sum(section["rows"]) for name, section in sizes.items()} == {"exact": 10, "minhash": 10}
    again = remove_documents(new.path, matches=["id=" + kept(new)[0]["id"]], why="w", in_place=True, console=QUIET)
    assert set(listed(again.corpus)) > set(listed(new)) or len(listed(again.corpus)) > len(ids)
    sizes = json.loads((again.corpus.path / "index" / "index.json").read_text())["sections"]
    assert sum(sizes["exact"]["rows"]) == 9


def test_what_is_counted_of_what_is_left(tmp_path):
    rows = [
        {"text": words(1000 * n), "url": f"https://{'ab'[n % 2]}.org/{n}", "license": ("MIT", "CC0-1.0")[n % 2]}
        for n in range(40)
    ]
    for row in rows[:10]:
        row["by"] = json.dumps({"generator": "g"})
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"jsonl": str(tmp_path / "x.jsonl"), "url_field": "url", "license_field": "license", "license": "unknown"}
    one = curate(tmp_path / "one", sources=[source], clusters=None, validation=0.3)
    two = curate(tmp_path / "two", {"corpus": [one]}, clusters=None, validation=0.3)
    assert two.measures["sources"]["x.jsonl"]["license"] == "CC0-1.0, MIT"
    new = remove_documents(two.path, matches=["domain=b.org"], why="w", out=tmp_path / "new", console=QUIET).corpus
    left = curate(
        tmp_path / "left", {"corpus": [new]}, clusters=None, validation=0.3
    ).measures  # counted from nothing but its rows
    for name in ("kept", "documents", "bytes", "licenses", "languages", "domains", "synthetic"):
        assert new.measures[name] == left[name], name
    assert new.measures["sources"]["x.jsonl"]["license"] == left["sources"]["x.jsonl"]["license"] == "MIT"


def test_what_was_taken_down_does_not_come_back(days, tmp_path):
    day, config, nearer = days
    first = curate(tmp_path / "first", **config)
    new = remove_documents(first.path, matches=["domain=b.org"], why="w", out=tmp_path / "new", console=QUIET).corpus
    fresh = words(90_000)
    day("wednesday", [("d.org", words(5000)), ("d.org", words(4000)), ("d.org", nearer), ("d.org", fresh)])
    second = curate(tmp_path / "second", {"earlier": new}, **config)
    assert [row["text"] for row in kept(second)] == [*(row["text"] for row in kept(new)), fresh]
    counts = second.measures["stages"]["takedown"]
    assert (counts["read"], counts["dropped"]) == (4, {"taken_down": 2})
    assert second.measures["dropped"]["taken_down"] == 12
    back = [row for row in dropped(second) if row["stage"] == "takedown"]
    assert {row["detail"].partition(" by ")[0] for row in back} == {"taken out before,"}
    assert all(row["title"] is row["metadata"] is row["excerpt"] is None for row in back)
    assert listed(second) == listed(new)
    # And so it is where the corpus is an input among others, and on from there.
    day("thursday", [("e.org", words(7000)), ("e.org", words(95_000))])
    third = curate(tmp_path / "third", {"earlier": second}, **config)
    assert third.measures["dropped"]["taken_down"] == 13
    anew = curate(tmp_path / "anew", {"corpus": [new]}, **config)
    assert not {row["id"] for row in kept(anew)} & {json.loads(line).get("id") for line in listed(new)}
    assert listed(anew) == listed(new)


def test_masked_texts_are_known_again(days, tmp_path):
    """The corpus has what masking left of a text, and its id is of that."""
    day, config, _ = days
    day("monday", [("a.org", f"{words(1000 * n)} write to jane{n}@posteo.de") for n in range(20)])
    config = config | {"privacy": {}}
    first = curate(tmp_path / "first", **config)
    row = next(row for row in kept(first) if "word7000" in row["text"])
    assert "jane" not in row["text"]
    new = remove_documents(first.path, matches=[f"id={row['id']}"], why="w", out=tmp_path / "new", console=QUIET).corpus
    day("wednesday", [("d.org", f"{words(7000)} write to jane7@posteo.de"), ("d.org", words(90_000))])
    second = curate(tmp_path / "second", {"earlier": new}, **config)
    assert second.measures["stages"]["takedown"]["dropped"] == {"taken_down": 1}
