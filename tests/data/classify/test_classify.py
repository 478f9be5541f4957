"""The linear classifier: as good as scikit-learn's on real tweets, the same every time, and careful with what it is
given: files from elsewhere, conflicting labels, one-sided examples."""

from __future__ import annotations

import csv
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file

from bedplate.config import fold_in
from bedplate.console import Console
from bedplate.data.classify.config import ClassifierConfig, Features
from bedplate.data.classify.examples import Example, text_key
from bedplate.data.classify.features import sparse_batches
from bedplate.data.classify.fitting import fit, matrix
from bedplate.data.classify.judging import Judged, choose_threshold, judge
from bedplate.data.classify.model import SETTINGS, WEIGHTS, LinearClassifier
from bedplate.data.classify.step import sources, step
from bedplate.data.classify.train_filter import TRAIN_FILTER, Aim, ExampleFile, TrainFilterConfig
from bedplate.data.classify.training import train
from bedplate.data.classify.weak_labels import combine
from bedplate.data.documents import Document
from bedplate.errors import ArtefactError, InputError, RecipeError
from bedplate.ledger import produce

SMALL = Features(buckets=1 << 14)
GOOD = ["A careful account of the river {n} and its bridges.", "The theorem of chapter {n} follows from the lemma."]
BAD = ["BUY NOW {n} cheap pills!!!", "click here click here {n} win a prize"]


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def rows(count=60):
    words = ["alpha", "beta", "gamma", "delta", "stone", "water"]
    texts = [
        (form.format(n=f"{words[n % 6]} {words[n // 6 % 6]} {n}"), label)
        for n in range(count)
        for form, label in ((GOOD[n % 2], "good"), (BAD[n % 2], "bad"))
    ]
    return [{"id": str(n), "text": text, "label": label, "annotator": "a"} for n, (text, label) in enumerate(texts)]


def config(path, **more):
    return TrainFilterConfig(**{"examples": [ExampleFile(path=path)], "positive": ["good"], "features": SMALL, **more})


def made(settings_, out, **inputs):
    return produce(TRAIN_FILTER, settings_, inputs, out, name="filter", console=Console.quiet())


@pytest.fixture(scope="module")
def filter_(tmp_path_factory):
    root = tmp_path_factory.mktemp("filter")
    return made(config(write(root / "labels.jsonl", rows())), root / "filter")


def ngrams(text, features):
    """What `features` says, said plainly: the words and word pairs of an ASCII text."""
    import re

    words = re.findall(r"[a-z0-9]+", text.lower())
    return [tuple(words[i : i + n]) for n in range(1, features.words + 1) for i in range(len(words) - n + 1)]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text("ab c.D-1\n", max_size=30), min_size=1, max_size=6))
def test_features_are_the_counted_ngrams(texts):
    features = Features(buckets=1 << 24)
    ((first, sparse),) = sparse_batches(texts, features)
    assert first == 0
    assert sparse.count == len(texts)
    for row, text in enumerate(texts):
        wanted = {}
        for line in text.split("\n"):
            for ngram in ngrams(line, features):
                wanted[ngram] = wanted.get(ngram, 0) + 1
        values = sparse.values[sparse.rows == row]
        assert sorted(values.tolist()) == pytest.approx(sorted(1 + np.log(n) for n in wanted.values()))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_a_text_s_features_don_t_depend_on_its_neighbours(texts):
    features = Features(words=2, characters=(2, 4), buckets=1 << 20)
    ((_, together),) = sparse_batches(texts, features)
    for row, text in enumerate(texts):
        ((_, alone),) = sparse_batches([text], features)
        assert together.columns[together.rows == row].tolist() == alone.columns.tolist()
        assert together.values[together.rows == row].tolist() == alone.values.tolist()


def test_character_runs_stay_within_words():
    features = Features(words=0, characters=(3, 3), buckets=1 << 24)
    ((_, sparse),) = sparse_batches(["ab, abc"], features)
    assert len(sparse.columns) == 4  # " ab" twice, "ab ", "abc", "bc "
    assert sparse.values.max() == pytest.approx(1 + np.log(2))


def test_scripts_without_spaces_have_words():
    features = Features(words=1, buckets=1 << 24)
    ((_, sparse),) = sparse_batches(["日本語 の 日", "हिन्दी", "naïve"], features)
    assert np.bincount(sparse.rows).tolist() == [4, 1, 1]


def test_the_fit_is_scikit_learn_s(shared_data):
    from sklearn.linear_model import LogisticRegression

    texts = [row["text"] for row in rows(40)]
    positive = np.array([row["label"] == "good" for row in rows(40)])
    x = matrix(texts, SMALL)
    ours = fit(x, positive, np.ones(len(texts)), 2.0)
    dense = np.zeros((x.count, len(x.buckets)))
    dense[x.rows, x.columns] = x.values
    theirs = LogisticRegression(C=2.0, tol=1e-8, max_iter=2000).fit(dense, positive)
    assert ours.converged
    assert np.abs(ours.weight - theirs.coef_[0]).max() < 1e-3
    assert abs(ours.bias - theirs.intercept_[0]) < 1e-3


def tweets(shared_data):
    with (shared_data / "hate_tweets" / "data" / "labeled_data.csv").open(encoding="utf-8", newline="") as file:
        return [(row["tweet"], row["class"] != "2") for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def toxicity(shared_data):
    examples = {}
    for text, positive in tweets(shared_data):
        examples.setdefault(text_key(text), Example(text, positive, text_key(text)))
    settings_ = TrainFilterConfig(examples=[ExampleFile(path="x")], positive=["0", "1"], negative=["2"])
    return settings_, list(examples.values()), train(settings_, list(examples.values()))


def test_tweets_as_well_as_scikit_learn(toxicity):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score, roc_auc_score

    settings_, examples, (classifier, measures) = toxicity
    examples = sorted(examples, key=lambda e: e.key)
    held = set()
    for side in (True, False):
        members = [e.key for e in examples if e.positive == side]
        members.sort(key=lambda key: fold_in(fold_in(settings_.seed, "held out"), key))
        held |= set(members[: round(0.2 * len(members))])
    train_, test = [e for e in examples if e.key not in held], [e for e in examples if e.key in held]
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    theirs = LogisticRegression(C=measures["strength"], class_weight="balanced", max_iter=500)
    theirs.fit(vectors.fit_transform([e.text for e in train_]), [e.positive for e in train_])
    scores = theirs.predict_proba(vectors.transform([e.text for e in test]))[:, 1]
    right = [e.positive for e in test]
    auc, f1 = roc_auc_score(right, scores), f1_score(right, scores > 0.5)
    ours = {name: measures[name]["value"] for name in ("roc_auc", "f1", "accuracy", "precision", "recall")}
    print("ours", ours, "scikit-learn", {"roc_auc": round(auc, 4), "f1": round(f1, 4)})
    assert len(test) == sum(measures["held_out"][side] for side in ("positive", "negative"))
    assert ours["roc_auc"] > auc - 0.01
    assert ours["roc_auc"] > 0.97
    assert ours["f1"] > f1 - 0.01
    again = classifier.score([e.text for e in test])
    assert roc_auc_score(right, again) == pytest.approx(ours["roc_auc"], abs=1e-4)


def test_hatecheck_is_out_of_its_domain(toxicity, shared_data):
    """What tweets with slang teach says nothing of these constructed sentences, whose innocent half holds slurs too
    (quoted, denied, reclaimed): about chance. A filter is for texts like those that it was trained on."""
    from sklearn.metrics import roc_auc_score

    with (shared_data / "hatecheck" / "test_suite_cases.csv").open(encoding="utf-8", newline="") as file:
        cases = list(csv.DictReader(file))
    scores = toxicity[2][0].score([case["test_case"] for case in cases])
    auc = roc_auc_score([case["label_gold"] == "hateful" for case in cases], scores)
    print("hatecheck", round(auc, 4))
    assert 0.4 < auc < 0.6


def test_speed(toxicity, shared_data):
    texts = [text for text, _ in tweets(shared_data)]
    classifier = toxicity[2][0]
    classifier.score(texts[:10])
    began = time.process_time()
    classifier.score(texts)
    assert len(texts) / (time.process_time() - began) > 3000


def test_the_same_files_whatever_the_order(tmp_path, filter_):
    path = write(tmp_path / "labels.jsonl", rows()[::-1])
    again = made(config(path), tmp_path / "again")
    for name in (WEIGHTS, SETTINGS):
        assert (again.path / name).read_bytes() == (filter_.path / name).read_bytes()


def test_measures_say_what_happened(filter_):
    measures = filter_.measures
    assert filter_.kind == "filter"
    assert measures["examples"]["used"] == 120
    assert measures["held_out"] == {"positive": 12, "negative": 12, "labels": "own"}
    assert measures["roc_auc"]["value"] == 1.0
    assert sum(measures["confusion"].values()) == 24
    assert json.loads((filter_.path / SETTINGS).read_text())["measures"]["f1"] == measures["f1"]


def test_step_sets_a_column_of_each_name(filter_):
    wanted = {"quality": ClassifierConfig(filter=str(filter_.path))}
    one = step(wanted)
    assert dict(one.columns) == {"quality": "float32"}
    documents = [Document("a", GOOD[0].format(n=7)), Document("b", BAD[0].format(n=7)), Document("c", None)]
    one(documents)
    good, bad, empty = (document.columns["quality"] for document in documents)
    assert bad < 0.5 < good
    assert 0 <= empty <= 1
    assert [s.digest for s in sources(wanted)] == [filter_.digest]


def test_step_refuses_what_is_no_filter(tmp_path, filter_):
    with pytest.raises(ArtefactError):
        step({"quality": ClassifierConfig(filter=str(tmp_path))})
    with pytest.raises(RecipeError, match="column"):
        step({"Not good": ClassifierConfig(filter=str(filter_.path))})


def damaged(filter_, tmp_path, change):
    tensors = {name: array.copy() for name, array in load_file(filter_.path / WEIGHTS).items()}
    change(tensors)
    save_file(tensors, tmp_path / WEIGHTS)
    (tmp_path / SETTINGS).write_bytes((filter_.path / SETTINGS).read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("bias"),
        lambda t: t.update(extra=np.zeros(1, np.float32)),
        lambda t: t.update(weight=t["weight"].astype(np.float16)),
        lambda t: t.update(weight=t["weight"][:-1].copy()),
        lambda t: t["weight"].__setitem__(3, np.nan),
        lambda t: t["idf"].__setitem__(3, -1),
        lambda t: t.update(huge=np.zeros(1 << 20, np.float32)),
    ],
)
def test_wrong_weights_are_refused(filter_, tmp_path, change):
    with pytest.raises(ArtefactError, match=WEIGHTS):
        LinearClassifier.load(damaged(filter_, tmp_path, change))


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"format": 2}', "\xff"])
def test_wrong_settings_are_refused(filter_, tmp_path, text):
    folder = damaged(filter_, tmp_path, lambda t: None)
    (folder / SETTINGS).write_text(text, encoding="latin-1")
    with pytest.raises(ArtefactError, match=SETTINGS):
        LinearClassifier.load(folder)


def test_cut_weights_are_refused(filter_, tmp_path):
    folder = damaged(filter_, tmp_path, lambda t: None)
    data = (folder / WEIGHTS).read_bytes()
    for cut in (data[:-5], data[:20], b"\xff" * 8 + data[8:], b""):
        (folder / WEIGHTS).write_bytes(cut)
        with pytest.raises(ArtefactError, match=WEIGHTS):
            LinearClassifier.load(folder)


def test_conflicts(tmp_path):
    twice = [*rows(), {"text": rows()[0]["text"].upper(), "label": "bad"}]
    path = write(tmp_path / "x.jsonl", twice)
    with pytest.raises(InputError, match=r"line 1 and .*line 121: the same text on both sides"):
        made(config(path), tmp_path / "out")
    tie = made(config(path, conflicts="majority"), tmp_path / "tie")
    assert tie.measures["examples"]["left_out"] == {"conflict": 2}
    path = write(tmp_path / "y.jsonl", [*twice, rows()[0]])
    settled = made(config(path, conflicts="majority"), tmp_path / "settled").measures["examples"]
    assert (settled["used"], settled["repeated"], settled["read"]) == (120, 2, 122)


def test_too_few_of_a_side_are_refused(tmp_path):
    one_sided = write(tmp_path / "x.jsonl", [row for row in rows() if row["label"] == "good"])
    with pytest.raises(InputError, match=r"0 negative examples .*good 60"):
        made(config(one_sided), tmp_path / "out")
    with pytest.raises(InputError, match="0 positive"):
        made(config(write(tmp_path / "y.jsonl", rows()), positive=["fine"]), tmp_path / "out")
    with pytest.raises(InputError, match="no rows"):
        made(config(write(tmp_path / "z.jsonl", [])), tmp_path / "out")
    with pytest.raises(InputError, match='no field "label"'):
        made(config(write(tmp_path / "w.jsonl", [{"text": "a"}])), tmp_path / "out")


def test_a_third_label_is_left_out(tmp_path):
    path = write(tmp_path / "x.jsonl", [*rows(), {"text": "neither", "label": "unsure"}])
    measures = made(config(path, negative=["bad"]), tmp_path / "out").measures["examples"]
    assert measures["left_out"] == {"other_label": 1}


def test_labels_name_documents_of_a_corpus(tmp_path, stages):
    from bedplate.data.corpus import read_corpus

    raw = tmp_path / "raw"
    raw.mkdir()
    for number, row in enumerate(rows(30)):
        (raw / f"{number:03d}.txt").write_text(row["text"], encoding="utf-8")
    corpus = stages.curate(tmp_path / "corpus", sources=[{"folder": str(raw), "license": "CC0-1.0"}])
    documents = [
        one for batch in read_corpus(corpus, ["id", "text"]) for one in zip(batch["id"], batch["text"], strict=True)
    ]
    labels = [{"id": i, "label": "bad" if "click" in t or "BUY" in t else "good"} for i, t in documents]
    path = write(tmp_path / "labels.jsonl", [*labels, {"id": "gone", "label": "good"}])
    measures = made(config(path), tmp_path / "out", corpus=corpus).measures["examples"]
    assert measures["used"] == 60
    assert measures["left_out"] == {"not_in_corpus": 1}
    with pytest.raises(InputError, match="no field"):
        made(config(path), tmp_path / "without")


def test_weak_labels_start_it(tmp_path, monkeypatch):
    (tmp_path / "my_rules.py").write_text(
        "def shouts(text):\n    return 'bad' if '!!!' in text else None\n"
        "def begs(text):\n    return 'bad' if 'click' in text else None\n"
        "def argues(text):\n    return 'good' if 'the' in text.lower().split() else None\n"
        "RULES = [shouts, begs, argues]\n"
    )
    monkeypatch.chdir(tmp_path)
    texts = write(tmp_path / "texts.jsonl", [{"text": row["text"]} for row in rows()])
    weak = {"functions": "my_rules:RULES", "texts": [{"path": texts}]}
    alone = TrainFilterConfig(positive=["good"], weak=weak, features=SMALL)
    measures = made(alone, tmp_path / "weak").measures
    assert measures["held_out"]["labels"] == "weak"
    assert measures["weak"]["labelled"] == 120
    both = config(write(tmp_path / "own.jsonl", rows(20)), weak=weak)
    measures = made(both, tmp_path / "both").measures
    assert measures["held_out"] == {"positive": 4, "negative": 4, "labels": "own"}
    assert measures["trained_on"]["weak"] == 80
    with pytest.raises(RecipeError, match="my_rules:NONE"):
        made(TrainFilterConfig(positive=["good"], weak={**weak, "functions": "my_rules:NONE"}), tmp_path / "out")


def test_agreement_counts_a_good_function_more():
    truth = ["a" if n % 2 else "b" for n in range(200)]
    rng = np.random.default_rng(1)
    other = {"a": "b", "b": "a"}
    accuracy = (0.95, 0.9, 0.55, 0.55, 0.55)
    votes = [[t if rng.random() < p else other[t] for p in accuracy] for t in truth]
    functions = [lambda text: None] * 5
    right = {}
    for how in ("majority", "agreement"):
        joint, facts = combine(votes, functions, how)
        right[how] = sum(said == t for said, t in zip(joint, truth, strict=True))
    assert right["agreement"] > right["majority"]
    assert facts[0].weight > facts[3].weight
    assert combine([["a", "b"], [None, None], ["a", None]], functions[:2], "majority", 2)[0] == [None, None, None]


def test_figures_are_scikit_learn_s():
    from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

    rng = np.random.default_rng(0)
    positive = rng.random(400) < 0.3
    scores = np.round(np.clip(positive * 0.2 + rng.random(400) * 0.8, 0, 1), 2)  # with ties
    judged = judge(scores, positive, 0.5, seed=1)
    said = scores >= 0.5
    for name, function, given_ in (
        ("roc_auc", roc_auc_score, scores), ("f1", f1_score, said), ("recall", recall_score, said),
        ("precision", precision_score, said),
    ):  # fmt: skip
        assert judged[name]["value"] == pytest.approx(function(positive, given_), abs=1e-4)
        assert judged[name]["low"] <= judged[name]["value"] <= judged[name]["high"]
    assert Judged.of(scores, positive, 0.5).auc(np.ones(400)) == pytest.approx(roc_auc_score(positive, scores))


def test_thresholds_reach_what_was_wished():
    rng = np.random.default_rng(0)
    positive = rng.random(500) < 0.4
    scores = positive * 0.3 + rng.random(500) * 0.7
    for aim, figure in ((Aim(precision=0.9), "precision"), (Aim(recall=0.95), "recall")):
        threshold, met = choose_threshold(scores, positive, aim)
        assert met
        said = scores >= threshold
        hits = (said & positive).sum()
        assert hits / (said.sum() if figure == "precision" else positive.sum()) >= getattr(aim, figure)
    assert choose_threshold(scores, positive, Aim(threshold=0.25)) == (0.25, True)
    assert not choose_threshold(np.zeros(10), np.arange(10) < 5, Aim(precision=0.9))[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"positive": ["good"], "negative": ["good"]},
        {"positive": []},
        {"examples": []},
        {"aim": {"precision": 0.9, "recall": 0.9}},
        {"features": {"buckets": 1000}},
        {"features": {"words": 0}},
        {"features": {"characters": [4, 3]}},
        {"strengths": [0.0]},
        {"weak": {"functions": "no reference"}},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        TrainFilterConfig(**{"examples": [{"path": "x"}], "positive": ["good"], **wrong})
