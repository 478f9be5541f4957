"""Labels to Label Studio and back, and to training examples."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from bedplate.data.labels.documents import LabelledCorpus
from bedplate.data.labels.export import export_examples, export_label_studio, import_label_studio
from bedplate.data.labels.label_studio import labelling_config, read_label_studio
from bedplate.data.labels.record import standing
from bedplate.data.labels.store import LabelFile
from bedplate.errors import ArtefactError, InputError

TEXTS = ["a good text", "a bad <b>text</b>", "one that nobody\nagrees on", "one that is skipped", "unlabelled"]


@pytest.fixture
def corpus(tmp_path, write_corpus):
    return write_corpus(tmp_path / "corpus", TEXTS, {"score": "float32"}, score=[0.9, 0.1, None, 0.5, 0.4])


@pytest.fixture
def labels(tmp_path, said):
    file = LabelFile(tmp_path / "labels.jsonl")
    file.append(
        said(TEXTS[0], "bad"),
        said(TEXTS[0], "good"),
        said(TEXTS[0], "good", "bob"),
        said(TEXTS[1], "bad"),
        said(TEXTS[1], "good", "bob"),
        said(TEXTS[1], "bad", "cyd"),
        said(TEXTS[2], "good"),
        said(TEXTS[2], "bad", "bob"),
        said(TEXTS[3], None),
        said("a text that has left the corpus", "good"),
        said(TEXTS[4], "good", sha256="0" * 64),
    )
    return file


def test_a_majority_is_what_most_say(tmp_path, corpus, labels, said):
    found = export_examples(corpus, labels.path, tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["text"], row["label"], row["annotator"]) for row in rows] == [
        (TEXTS[0], "good", "ann,bob"),
        (TEXTS[1], "bad", "ann,cyd"),
    ]
    assert all(row["id"] == said(row["text"], "x").document for row in rows)
    assert found.written == 2
    assert found.tied == (said(TEXTS[2], "x").document,)
    assert found.missing == (said("a text that has left the corpus", "x").document,)
    assert found.changed == (said(TEXTS[4], "x").document,)
    assert found.missing[0] in found.told()[0]


def test_all_labels_are_examples_too(tmp_path, corpus, labels):
    assert export_examples(corpus, labels.path, tmp_path / "out.jsonl", keep="all").written == 7


def test_label_studio_gets_what_it_can_import_and_gives_it_back(tmp_path, corpus, labels, said):
    """By its documentation of the task format: data, annotations, and results that name the interface's tags."""
    found = export_label_studio(corpus, labels.path, tmp_path / "tasks.json")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert found.written == len(tasks) == 4
    interface = ET.fromstring((tmp_path / "tasks.json.xml").read_text())
    choices, text = interface.find("Choices"), interface.find("Text")
    for task in tasks:
        assert isinstance(task["data"][text.get("value").removeprefix("$")], str)
        for annotation in task["annotations"]:
            assert "completed_by" not in annotation
            for result in annotation["result"]:
                assert (result["from_name"], result["to_name"]) == (choices.get("name"), text.get("name"))
                assert result["type"] == "choices"
                allowed = [choice.get("value") for choice in choices]
                assert all(value in allowed for value in result["value"]["choices"])
    back = standing(read_label_studio(tmp_path / "tasks.json"))
    there = {key: label for key, label in standing(labels.records()).items() if label.sha256 == said_sha(label, said)}
    assert back == there


def said_sha(label, said):
    """The hash of the text that a label is of, where the text is in the corpus."""
    return {said(text, "x").document: said(text, "x").sha256 for text in TEXTS}.get(label.document)


def test_a_foreign_export_is_read(tmp_path, said):
    annotation = {
        "result": [{"type": "choices", "from_name": "quality", "to_name": "t", "value": {"choices": ["good"]}}],
        "completed_by": {"id": 7, "email": "someone@example.org"},
        "lead_time": 3.5,
        "created_at": "2021-03-09T22:16:08.728353Z",
    }
    skipped = {"result": [], "was_cancelled": True, "completed_by": {"email": "other@example.org"}}
    task = {"id": 1, "data": {"text": TEXTS[0]}, "annotations": [annotation, skipped]}
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task]))
    one, other = read_label_studio(path)
    assert (one.document, one.label, one.annotator) == (said(TEXTS[0], "x").document, "good", "labelstudio-7")
    assert (other.action, other.label) == ("skip", None)
    assert "@" not in other.annotator
    assert import_label_studio(path, tmp_path / "labels.jsonl") == 2
    assert import_label_studio(path, tmp_path / "labels.jsonl") == 0
    path.write_text(json.dumps([task, {"id": 2, "text": "as JSON-MIN has it", "label": "good"}]))
    with pytest.raises(InputError, match="task 2"):
        read_label_studio(path)


def test_choices_with_signs_are_escaped():
    found = ET.fromstring(labelling_config(['"quoted" & <b>', "plain"]))
    assert [choice.get("value") for choice in found.iter("Choice")] == ['"quoted" & <b>', "plain"]


def test_documents_are_found_by_place_and_by_id(corpus, said):
    opened = LabelledCorpus(corpus)
    assert len(opened) == 5
    assert [opened.row(index)["text"] for index in range(5)] == TEXTS
    assert opened.numbers("score").tolist()[:2] == pytest.approx([0.9, 0.1])
    with pytest.raises(InputError, match="nope"):
        opened.numbers("nope")
    wanted = [said(TEXTS[3], "x").document, said(TEXTS[1], "x").document, "absent"]
    assert [document["text"] for document in opened.texts(wanted)] == [TEXTS[1], TEXTS[3]]


def test_no_corpus_and_no_labels(tmp_path, corpus):
    with pytest.raises(ArtefactError, match="not a corpus"):
        LabelledCorpus(tmp_path)
    with pytest.raises(InputError, match="no labels"):
        export_examples(corpus, tmp_path / "none.jsonl", tmp_path / "out.jsonl")
