"""Corpora that are cleaned of evaluation items, from sources to manifest: each action, with items planted in them."""

from __future__ import annotations

import json
import random

import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.data.curation.evaluations import INDEX_FILE
from bedplate.data.decontaminate.config import DecontaminateConfig, EvaluationFile
from bedplate.data.decontaminate.index import EvaluationIndex
from bedplate.data.decontaminate.items import evaluation_items
from bedplate.ledger import produce

ACTIONS = ("drop", "remove", "mark")
PLANTED = 40
CLEAN = 160


def prose(draw: random.Random, count: int) -> str:
    return " ".join(f"word{draw.randrange(3000)}" for _ in range(count))


@pytest.fixture(scope="module")
def own_items(tmp_path_factory):
    """A file of a hundred items of which ten are too short to be found."""
    draw = random.Random(1)
    path = tmp_path_factory.mktemp("items") / "exam.jsonl"
    rows = [{"q": f"What about {prose(draw, 15)}?", "a": "this"} for _ in range(90)]
    rows += [{"q": f"Who is {prose(draw, 2)}?", "a": "that"} for _ in range(10)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"files": [{"path": str(path), "fields": ["q", "a"]}]}


@pytest.fixture(scope="module")
def real_items(shared_data):
    """MMLU and ARC as the evaluator has them, and GSM8K out of its file."""
    path = shared_data / "gsm8k" / "grade_school_math" / "data" / "test.jsonl"
    named = {"path": str(path), "fields": ["question", "answer"], "name": "gsm8k"}
    return {"tasks": ["mmlu", "arc_easy"], "task_data": str(shared_data), "files": [named]}


def planted_sources(folder, items):
    """Two sources with items in the middle of every fifth document. (sources, names of the planted items)."""
    draw = random.Random(2)
    files = tuple(EvaluationFile(**file) for file in items["files"])
    every, origins = evaluation_items(DecontaminateConfig(**(items | {"files": files})))
    covered = EvaluationIndex.build(every, origins).covered
    chosen = draw.sample([item for item, found in zip(every, covered, strict=True) if found], PLANTED)
    texts = [prose(draw, 200) for _ in range(CLEAN)]
    for number, item in enumerate(chosen):
        inside = "\n".join(item.passages)
        texts.append(f"{prose(draw, 100)} {inside.upper() if number % 2 else inside} {prose(draw, 100)}")
    draw.shuffle(texts)
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[:90]))
    (folder / "b").mkdir()
    for number, text in enumerate(texts[90:]):
        (folder / "b" / f"{number:03d}.txt").write_text(text)
    places = ({"jsonl": str(folder / "a.jsonl")}, {"folder": str(folder / "b")})
    return [place | {"license": "MIT"} for place in places], {(item.task, item.id) for item in chosen}


def curate(out, sources, section, workers=None):
    config = CurateConfig.model_validate(
        {"sources": sources, "decontaminate": section, "validation": 0.2, "workers": workers}
    )
    return produce(CURATE, config, {}, out, name="corpus", console=Console.quiet())


def rows_of(corpus, pattern):
    return [row for path in sorted(corpus.path.glob(pattern)) for row in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize("kind", ["own_items", "real_items"])
def test_every_action_finds_all_and_says_so_by_task(kind, request, tmp_path):
    items = request.getfixturevalue(kind)
    sources, planted = planted_sources(tmp_path, items)
    corpora = {action: curate(tmp_path / action, sources, {**items, "action": action}) for action in ACTIONS}

    for action, corpus in corpora.items():
        measures = corpus.measures
        assert measures["read"] == CLEAN + PLANTED
        stage = measures["stages"]["decontaminate"]
        assert stage["dropped"] == ({"contaminated": PLANTED} if action == "drop" else {})
        assert measures["kept"] == CLEAN + (0 if action == "drop" else PLANTED)
        index = EvaluationIndex.load(corpus.file(INDEX_FILE))
        assert measures["decontaminate"]["index"]["origins"] == [
            {"task": o.task, "place": o.place, "sha256": o.sha256} for o in index.origins
        ]
        tasks = measures["decontaminate"]["tasks"]
        for task, figures in tasks.items():
            mine = {name for name in planted if name[0] == task}
            assert figures["items"] == sum(name[0] == task for name in index.items)
            # Other items may share runs with the planted ones; of documents there are as many as were planted in.
            assert figures["touched"] >= len(mine)
            assert figures["documents"] >= len(mine)
        if kind == "own_items":
            assert tasks == {"exam": {"items": 100, "covered": 90, "touched": PLANTED, "documents": PLANTED}}
        assert set(tasks) == {name for name, _ in index.items}

        kept = rows_of(corpus, "part-*.parquet")
        touched = {name for row in kept for name in index.items_touched(row["text"])}
        marked = [row for row in kept if row["contaminated_by"] is not None]
        if action == "mark":
            assert planted <= touched
            assert len(marked) == PLANTED
            assert all(row["contamination_ngrams"] > 0 for row in marked)
        else:
            assert touched == set()
            assert len(marked) == (PLANTED if action == "remove" else 0)
    dropped = [row for row in rows_of(corpora["drop"], "dropped.parquet") if row["reason"] == "contaminated"]
    assert len(dropped) == PLANTED
    assert all(row["stage"] == "decontaminate" and row["detail"] == row["contaminated_by"] for row in dropped)
    clean = {row["text"] for row in rows_of(corpora["drop"], "part-*.parquet")}
    assert clean < {row["text"] for row in rows_of(corpora["remove"], "part-*.parquet")}
    assert clean < {row["text"] for row in rows_of(corpora["mark"], "part-*.parquet")}


def test_workers_change_nothing(own_items, tmp_path):
    sources, _ = planted_sources(tmp_path, own_items)
    section = {**own_items, "action": "remove"}
    here, one, two = (curate(tmp_path / str(workers), sources, section, workers) for workers in (None, 1, 2))
    assert two.digest == one.digest == here.digest
    assert two.measures["decontaminate"] == one.measures["decontaminate"] == here.measures["decontaminate"]


def test_the_index_of_one_corpus_serves_for_another(own_items, tmp_path):
    sources, _ = planted_sources(tmp_path, own_items)
    first = curate(tmp_path / "first", sources, own_items)
    second = curate(tmp_path / "second", sources, {"index": str(first.file(INDEX_FILE))})
    assert second.measures["decontaminate"] == first.measures["decontaminate"]
    assert [row["text"] for row in rows_of(second, "part-*")] == [row["text"] for row in rows_of(first, "part-*")]
