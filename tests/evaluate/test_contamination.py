"""Clean and dirty scores against a hand computation, with items planted in corpora of every kind."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.curation.evaluations import INDEX_FILE
from bedplate.data.decontaminate import index as index_module
from bedplate.errors import ArtefactError, InputError
from bedplate.evaluate.contamination import find_contamination, training_corpora
from bedplate.evaluate.multiple_choice import accuracies, answer
from bedplate.evaluate.scoring import load_for_evaluation
from bedplate.evaluate.short import evaluate_model
from bedplate.ledger import open_artefact
from bedplate.pipeline import verbs
from bedplate.tasks.catalogue import load_task

QUIET = Console.quiet()
ITEMS = 30
PLANTED = tuple(range(0, 24, 3))  # of which every other one stands in a document that is set aside for validation
SHORT = (28, 29)
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}


def prose(draw, count):
    return " ".join(f"word{draw.randrange(2000)}" for _ in range(count))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of tasks' data with a PIQA of our own: thirty goals, the last two of few words."""
    draw = random.Random(3)
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for number in range(ITEMS):
        goal = prose(draw, 2 if number in SHORT else 16)
        choices = [prose(draw, 2) for _ in range(2)]
        text = f"Please choose the correct solution to the question: {goal}\n\n" + "\n\n".join(
            f"Solution{i}: {choice}" for i, choice in enumerate(choices, 1)
        )
        rows.append(
            {
                "instruction": text + "\n\nAnswer format: solution1/solution2",
                "answer": f"solution{draw.randrange(2) + 1}",
            }
        )
    for name in ("piqa", "ARC-Easy"):
        place = folder / "commonsense_qa" / "dataset" / name
        place.mkdir(parents=True)
    (folder / "commonsense_qa" / "dataset" / "piqa" / "test.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture(scope="module")
def goals(data):
    return [item.context.removeprefix("Question: ").removesuffix("\nAnswer:") for item in load_task("piqa", data).items]


@pytest.fixture(scope="module")
def sources(tmp_path_factory, goals):
    """Sources of 120 documents; some have an item in their middle, and one all of the short ones."""
    draw = random.Random(4)
    folder = tmp_path_factory.mktemp("raw")
    texts = [prose(draw, 120) for _ in range(110)]
    texts += [f"{prose(draw, 60)} {goals[number].upper()} {prose(draw, 60)}" for number in PLANTED]
    texts += [f"{prose(draw, 60)} {goals[SHORT[0]]} {goals[SHORT[1]]}", prose(draw, 100)]
    draw.shuffle(texts)
    (folder / "raw.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return {"sources": [{"jsonl": str(folder / "raw.jsonl"), "license": "MIT"}], "validation": 0.3}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory, sources, data):
    folder = tmp_path_factory.mktemp("corpora")
    sections = {"never": None} | {
        action: {"tasks": ["piqa"], "task_data": str(data), "action": action} for action in ("mark", "drop", "remove")
    }
    return {
        name: verbs.curate({**sources, "decontaminate": section}, {}, folder / name, console=QUIET)
        for name, section in sections.items()
    }


def dirty_by_hand(corpus, goals) -> set[int]:
    """The numbers of the items that stand, whole, in a training document."""
    tables = [pq.read_table(path).to_pylist() for path in sorted(corpus.path.glob("part-*.parquet"))]
    texts = " | ".join(row["text"].lower() for rows in tables for row in rows if row["split"] == "train")
    return {number for number, goal in enumerate(goals) if number not in SHORT and goal in texts}


def states(found, data):
    return [found.state("piqa", item.id) for item in load_task("piqa", data).items]


@pytest.mark.parametrize("name", ["never", "mark", "drop", "remove"])
def test_what_training_sees_is_told(corpora, goals, data, name):
    found = find_contamination([corpora[name]], ["piqa"], data, QUIET)
    dirty = dirty_by_hand(corpora[name], goals)
    assert (0 < len(dirty) < len(PLANTED)) == (name in ("never", "mark"))
    expected = ["too_short" if n in SHORT else "dirty" if n in dirty else "clean" for n in range(ITEMS)]
    assert states(found, data) == expected
    assert (found.words, found.least, found.corpora) == (13, 8, ((corpora[name].name, corpora[name].digest),))


def test_marks_spare_looking_at_clean_documents_and_are_not_believed_otherwise(corpora, data, tmp_path, monkeypatch):
    seen = []
    looked = index_module.EvaluationIndex.matches
    monkeypatch.setattr(
        index_module.EvaluationIndex, "matches", lambda self, texts: seen.extend(texts) or looked(self, texts)
    )

    def texts_looked_at(corpus):
        seen.clear()
        return states(find_contamination([corpus], ["piqa"], data, QUIET), data), len(seen)

    assert texts_looked_at(corpora["mark"])[1] <= len(PLANTED)
    whole = texts_looked_at(corpora["never"])
    assert whole[1] > 70
    # A corpus that was marked with other items, or with documents of an earlier one, is looked through.
    (tmp_path / "items.txt").write_text("one two three four five six seven eight nine ten eleven twelve thirteen")
    other = verbs.curate(
        {
            "decontaminate": {"files": [{"path": str(tmp_path / "items.txt"), "name": "piqa"}]},
            "validation": 0.3,
        },
        {"corpus": [corpora["never"]]},
        tmp_path / "other",
        console=QUIET,
    )
    assert texts_looked_at(other) == whole


def test_documents_of_an_earlier_corpus_are_looked_at_too(corpora, sources, goals, data, tmp_path):
    """They were marked by the same items; a corpus that was cleaned of others can't be gone on with."""
    (tmp_path / "items.txt").write_text(" ".join(f"other{number}" for number in range(13)))
    place = tmp_path / "new.jsonl"
    draw = random.Random(5)
    place.write_text("".join(json.dumps({"text": prose(draw, 100)}) + "\n" for _ in range(30)))
    more = {"jsonl": str(place), "license": "MIT", "name": "more"}
    other = {"files": [{"path": str(tmp_path / "items.txt")}], "action": "mark"}
    ours = {"tasks": ["piqa"], "task_data": str(data), "action": "mark"}
    first = verbs.curate({**sources, "decontaminate": ours}, {}, tmp_path / "first", console=QUIET)
    config = {"sources": [*sources["sources"], more], "validation": 0.3, "decontaminate": ours}
    with pytest.raises(InputError, match="it was cleaned of other evaluations"):
        verbs.curate(config | {"decontaminate": other}, {"earlier": first}, tmp_path / "second", console=QUIET)
    second = verbs.curate(config, {"earlier": first}, tmp_path / "second", console=QUIET)
    found = find_contamination([second], ["piqa"], data, QUIET)
    assert (
        {n for n, state in enumerate(states(found, data)) if state == "dirty"} == dirty_by_hand(second, goals) != set()
    )


def test_a_damaged_index_is_told(corpora, data, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(corpora["mark"].path, copy)
    (copy / INDEX_FILE).write_bytes(b"PK")
    with pytest.raises(ArtefactError, match=f"{INDEX_FILE}: not an index"):
        find_contamination([open_artefact(copy)], ["piqa"], data, QUIET)


def test_items_that_are_all_too_short(corpora, tmp_path):
    place = tmp_path / "commonsense_qa" / "dataset" / "piqa"
    place.mkdir(parents=True)
    text = "Please choose the correct solution to the question: {}\n\nSolution1: a\n\nSolution2: b\n\n"
    rows = [
        {"instruction": text.format(goal) + "Answer format: solution1/solution2", "answer": "solution1"}
        for goal in ("Who?", "What?")
    ]
    (place / "test.json").write_text(json.dumps(rows))
    found = find_contamination([corpora["never"]], ["piqa", "piqa"], tmp_path, QUIET)
    assert states(found, tmp_path) == ["too_short", "too_short"]
    assert found.apart("piqa", [])["clean"] == {"items": 0} | accuracies([])


@pytest.fixture(scope="module")
def trained(corpora, tmp_path_factory):
    """A model with corpora in its lineage: that of its tokens, and, beside it, that of its tokenizer."""
    folder = tmp_path_factory.mktemp("trained")
    tokenizer = verbs.train_tokenizer({"vocabulary": 300}, {"corpus": corpora["drop"]}, folder / "tok", console=QUIET)
    tokens = verbs.tokenize({}, {"corpus": corpora["mark"], "tokenizer": tokenizer}, folder / "tokens", console=QUIET)
    training = {"steps": 2, "batch": 2, "length": 32, "architecture": SHAPE, "threads": 1}
    return verbs.pretrain(training, {"tokens": tokens}, folder / "run", console=QUIET), tokens


def test_scores_are_those_of_a_hand_computation(trained, corpora, goals, data, capsys):
    run, _ = trained
    (result,) = evaluate_model(run.path, ["piqa"], None, data, Console.plain())
    answered = answer(load_for_evaluation(run.path), load_task("piqa", data).items)
    right = np.array([a.picked == a.item.answer for a in answered])
    right_norm = np.array([a.picked_norm == a.item.answer for a in answered])
    dirty = dirty_by_hand(corpora["mark"], goals)
    groups = {"dirty": sorted(dirty), "too_short": list(SHORT), "clean": sorted({*range(28)} - dirty)}
    part = result["contamination"]
    assert sum(part[name]["items"] for name in groups) == result["items"] == ITEMS
    for name, numbers in groups.items():
        assert part[name] == {
            "items": len(numbers),
            "acc": pytest.approx(right[numbers].mean()),
            "acc_stderr": pytest.approx(right[numbers].std(ddof=1) / len(numbers) ** 0.5),
            "acc_norm": pytest.approx(right_norm[numbers].mean()),
            "acc_norm_stderr": pytest.approx(right_norm[numbers].std(ddof=1) / len(numbers) ** 0.5),
        }
    corpus = corpora["mark"]
    assert part["corpora"] == [{"name": corpus.name, "digest": corpus.digest}]  # not the tokenizer's
    shown = capsys.readouterr().err
    assert "clean items" in shown
    assert f"the training text of {corpus.name} has 13 words in a row" in shown


def test_a_corpus_that_is_named_goes_before_the_lineage(trained, corpora, data, cli):
    run, _ = trained
    shown = cli("--json", "evaluate", run.path, "--tasks", "piqa", "--limit", 12, "--data", data, "--corpus",
                corpora["drop"].path)  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    (result,) = json.loads(shown.stdout)
    assert (result["contamination"]["clean"]["items"], result["contamination"]["dirty"]["items"]) == (12, 0)
    assert result["contamination"]["dirty"]["acc"] is None
    refused = cli("evaluate", run.path, "--text", "a.txt", "--corpus", corpora["drop"].path)
    assert refused.returncode == 2
    assert "--corpus" in refused.stderr
    with pytest.raises(ArtefactError, match="where corpus is needed"):
        evaluate_model(run.path, ["piqa"], None, data, QUIET, run.path)


def test_a_lineage_that_is_gone_is_warned_of(trained, tmp_path, make_model, data, capsys):
    run, tokens = trained
    assert [corpus.name for corpus in training_corpora(run.path, QUIET)] == ["mark"]
    hidden = tokens.path.rename(tokens.path.with_name("hidden"))
    try:
        assert training_corpora(run.path, Console.plain()) == []
    finally:
        hidden.rename(tokens.path)
    assert "isn't there any more (missing)" in capsys.readouterr().err
    make_model().save(tmp_path / "foreign")
    assert training_corpora(tmp_path / "foreign", QUIET) == []
    (result,) = evaluate_model(tmp_path / "foreign", ["piqa"], 2, data, QUIET)
    assert "contamination" not in result


def test_the_stage_reports_them_in_json_on_the_page_and_by_item(trained, corpora, goals, data, tmp_path):
    run, tokens = trained
    config = {"max_bytes": 2000, "tasks": ["piqa"], "task_data": str(data)}
    inputs = {"run": run, "tokens": tokens, "corpus": corpora["mark"]}
    report = verbs.evaluate(config, inputs, tmp_path / "report", console=QUIET)
    (result,) = json.loads(report.file("evaluation.json").read_text())["tasks"]
    dirty = dirty_by_hand(corpora["mark"], goals)
    assert result["contamination"]["dirty"]["items"] == len(dirty)
    assert report.measures["tasks"]["piqa"]["contamination"] == result["contamination"]
    rows = [json.loads(line) for line in report.file("items.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {number for number, row in enumerate(rows) if row["contamination"] == "dirty"} == dirty
    page = report.file("report.html").read_text()
    assert "Clean and dirty items" in page
    assert "too short to tell" in page


def test_memory_is_bounded_by_a_piece_of_the_corpus(corpora, data, tmp_path):
    """A long document is looked through piece by piece, and what is in its end is found."""
    copy = tmp_path / "copy"
    shutil.copytree(corpora["never"].path, copy)
    part = next(copy.glob("part-*.parquet"))
    table = pq.read_table(part)
    rows = table.to_pylist()
    goal = load_task("piqa", data).items[1].context.removeprefix("Question: ").removesuffix("\nAnswer:")
    rows[0] |= {"text": "filler " * 500_000 + goal, "split": "train", "bytes": 3_500_100}
    pq.write_table(pa.Table.from_pylist(rows, table.schema), part)
    found = find_contamination([open_artefact(copy)], ["piqa"], data, QUIET)
    assert states(found, data)[1] == "dirty"
