"""The labelling server over real HTTP on the loopback: what is put on record, by whom, and who is refused."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import httpx2 as httpx
import numpy as np
import pytest

from bedplate.data.corpus import CORPUS_SCHEMA, ParquetTable
from bedplate.data.labels.documents import LabelledCorpus
from bedplate.data.labels.record import standing
from bedplate.data.labels.store import LabelFile
from bedplate.errors import InputError, UserError
from bedplate.serve.labelling.order import ordered
from bedplate.serve.labelling.server import label


def test_labels_are_on_record_with_all_that_belongs_to_them(page, tmp_path):
    state = page.get("state")
    assert (state["total"], state["labelled"], state["choices"]) == (15, 0, ["good", "bad", "unsure"])
    assert page.get("next")["at"] == 0
    page.say(0, "good")
    page.say(1, None)
    progress = page.say(2, "bad")
    assert (progress["labelled"], progress["skipped"], progress["median_seconds"]) == (2, 1, 1.2)
    assert page.get("next", after=2)["at"] == 3
    version = hashlib.sha256((tmp_path / "guideline.md").read_bytes()).hexdigest()[:12]
    records = LabelFile(tmp_path / "labels.jsonl").records()
    assert [(r.label, r.action, r.annotator, r.guideline) for r in records] == [
        ("good", "label", "ann", version),
        (None, "skip", "ann", version),
        ("bad", "label", "ann", version),
    ]
    assert records[0].sha256[:24] == records[0].document
    assert page.post("undo")["at"] == 2
    assert page.post("undo")["at"] == 1
    assert page.post("undo")["at"] == 0
    assert page.post("undo")["at"] is None
    assert not standing(LabelFile(tmp_path / "labels.jsonl").records())


def test_a_document_comes_with_its_fate_and_its_signals(page, long_text):
    documents = [page.get("document", at=at) for at in range(15)]
    assert Counter(d["fate"]["status"] for d in documents) == {"kept": 12, "dropped": 3}
    dropped = next(d for d in documents if d["fate"]["status"] == "dropped")
    assert (dropped["fate"]["stage"], dropped["fate"]["reason"]) == ("filters", "gopher_short")
    titled = next(d for d in documents if d["about"].get("title") == "Title 3")
    assert titled["signals"]["quality"] == "nan"
    assert titled["metadata"] == {"og:type": "article", "n": 3}
    long = next(d for d in documents if d["characters"] == len(long_text))
    text = long["text"]
    while len(text) < long["characters"]:
        text += page.get("text", at=long["at"], **{"from": len(text)})["text"]
    assert text == long_text


def test_who_has_no_token_or_comes_from_elsewhere_is_refused(page, tmp_path):
    document = page.get("document", at=0)
    body = {"id": document["id"], "sha256": document["sha256"], "action": "label", "label": "good", "seconds": 1}
    with httpx.Client(base_url=page.url) as stranger:
        assert stranger.get("/").status_code == 200
        assert page.token not in stranger.get("/").text
        for path in ("/api/state", "/api/document?at=0", "/api/agreement"):
            assert stranger.get(path).status_code == 401
        assert stranger.post("/api/say", json=body).status_code == 401
    post = page.http.post
    assert post("/api/say", json=body, headers={"Origin": "https://evil.example"}).status_code == 403
    assert post("/api/say", json=body, headers={"Origin": "null"}).status_code == 403
    assert post("/api/say", json=body, headers={"Host": "evil.example"}).status_code == 421
    assert post("/api/say", content=json.dumps(body), headers={"Content-Type": "text/plain"}).status_code == 415
    assert not (tmp_path / "labels.jsonl").exists()
    answer = post("/api/say", json=body, headers={"Origin": page.url})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"id": "none"}, "id"),
        ({"label": "great"}, "label"),
        ({"action": "skip"}, "label"),
        ({"seconds": "1"}, "seconds"),
        ({"sha256": "f" * 64}, "sha256"),
        ({"sha256": "f" * 1_900_000}, "sha256"),
        ({"sha256": "\ud800"}, "sha256"),
        ({"sha256": None}, "sha256"),
        ({"id": "\ud800" * 100_000}, "id"),
        ({"id": ["x"]}, "id"),
        ({"action": ["label"]}, "action"),
        ({"label": {"good": 1}}, "label"),
        ({"seconds": True}, "seconds"),
    ],
)
def test_a_bad_label_is_refused(page, tmp_path, change, param):
    document = page.get("document", at=0)
    body = {"id": document["id"], "sha256": document["sha256"], "action": "label", "label": "good", "seconds": 1}
    answer = page.http.post("/api/say", content=json.dumps(body | change), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert page.http.get("/api/document", params={"at": 99}).status_code == 404
    assert not (tmp_path / "labels.jsonl").exists()


def test_two_annotators_at_once_and_how_they_agree(labelling, labelled_corpus, tmp_path):
    labels = tmp_path / "labels.jsonl"
    with labelling(labelled_corpus, labels) as ann, labelling(labelled_corpus, labels, annotator="bob") as bob:
        for at in range(15):
            ann.say(at, "good" if at % 2 else "bad")
            bob.say(at, "good" if at % 2 or at == 4 else "bad")
        assert ann.get("document", at=4)["label"] == "bad"
        assert bob.get("document", at=4)["label"] == "good"
        found = ann.get("agreement")
        assert (found["documents"], found["shared"]) == (15, 15)
        assert found["observed"] == pytest.approx(14 / 15)
        assert [(one["at"], one["labels"]) for one in found["disputed"]] == [(4, {"ann": "bad", "bob": "good"})]
        assert ann.get("next")["at"] is None
    with labelling(labelled_corpus, labels) as again:  # where one stopped, one goes on
        assert again.get("state")["labelled"] == 15


def test_the_order_is_a_function_of_the_seed(labelled_corpus):
    opened = LabelledCorpus(labelled_corpus)
    one, same, other = (ordered(opened, "random", seed=seed).tolist() for seed in (0, 0, 1))
    assert one == same != other
    assert sorted(one) == list(range(15))
    assert ordered(opened, "corpus", which="dropped").tolist() == [12, 13, 14]
    doubtful = ordered(opened, "uncertain", column="quality", which="kept")
    values = np.abs(opened.numbers("quality")[doubtful] - 0.5)
    assert (np.diff(values[:-1]) >= 0).all()
    assert np.isnan(values[-1])
    with pytest.raises(UserError, match="needs a column"):
        ordered(opened, "uncertain")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"choices": ["good"]}, "two to 9"),
        ({"choices": ["good", "good"]}, "all different"),
        ({"annotator": "ann@example.org"}, "pseudonym"),
        ({"guideline": "none.md"}, "can't be read"),
        ({"column": "quality"}, "needs a column"),
    ],
)
def test_settings_that_cant_be_are_refused_before_anything_is_served(labelled_corpus, tmp_path, change, told):
    usual = {"corpus": labelled_corpus, "labels": tmp_path / "labels.jsonl", "choices": ["good", "bad"]}
    change = {name: tmp_path / value if name == "guideline" else value for name, value in change.items()}
    with pytest.raises(UserError, match=told):
        label(**usual | {"annotator": "ann"} | change)
    with pytest.raises(UserError, match="inside the corpus"):
        label(**usual | {"annotator": "ann", "labels": labelled_corpus / "labels.jsonl"})
    assert list(tmp_path.iterdir()) == []


def test_a_broken_labels_file_is_told_at_once(labelled_corpus, tmp_path):
    (tmp_path / "labels.jsonl").write_text("nonsense\n")
    with pytest.raises(InputError, match="record 1: not a label"):
        label(labelled_corpus, tmp_path / "labels.jsonl", ["good", "bad"], "ann")


def test_time_has_a_greatest_length_however_it_is_written(page, tmp_path):
    document = page.get("document", at=0)
    body = {"id": document["id"], "sha256": document["sha256"], "action": "label", "label": "good"}
    for written in ("1" + "0" * 400, "1e300", "-5"):
        content = json.dumps(body)[:-1] + f', "seconds": {written}}}'
        answer = page.http.post("/api/say", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 200
    assert [r.seconds for r in LabelFile(tmp_path / "labels.jsonl").records()] == [86400, 86400, 0]
    answer = page.http.post(
        "/api/say", content=json.dumps(body)[:-1] + ', "seconds": 1e999}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400


def test_odd_documents_are_shown(labelling, tmp_path):
    """Half a surrogate pair, a number too large, and metadata of a size and depth that nobody reads."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    odd = ['{"a": "\\ud83d", "\\udc00": 1}', '{"a": 1e999}', "[" * 900 + "]" * 900, '{"a": %s}' % ("1" * 5000)]
    odd += [json.dumps({"a": "x" * 3_000_000}), "[" * 100_000]
    with ParquetTable(folder, "part", CORPUS_SCHEMA | {"metadata": "string"}) as table:
        for n, metadata in enumerate(odd):
            sha256 = hashlib.sha256(str(n).encode()).hexdigest()
            known = {"id": sha256[:24], "text": str(n), "sha256": sha256, "bytes": 1, "source": f"s{n}"}
            table.add(dict.fromkeys(CORPUS_SCHEMA) | known | {"metadata": metadata, "title": "t" * 100_000})
    with labelling(folder, tmp_path / "labels.jsonl", order="corpus") as page:
        shown = [page.get("document", at=at) for at in range(len(odd))]
        assert shown[0]["metadata"] == {"a": "?", "?": 1}
        assert shown[1]["metadata"] == {"a": "inf"}
        assert all(len(json.dumps(one)) < 30_000 for one in shown)
