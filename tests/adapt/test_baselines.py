"""The baselines against scikit-learn, against counting by hand, and on what they should find easy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.adapt.opening import open_face
from bedplate.adapt.tfidf import Features, fit_tfidf
from bedplate.errors import ArtefactError, RecipeError

WORDS = ["card", "lost", "the", "a", "ATM", "can't", "déjà", "3x", "cash-back", "straße", "пин", "銀行", "", "tab\tend"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=0, max_size=12).map(" ".join)


def test_majority_is_the_shares_of_the_classes(adapt, tmp_path: Path):
    rows = [("one", "a")] * 20 + [("two", "b")] * 60
    file = tmp_path / "t.jsonl"
    file.write_text(
        "".join(json.dumps({"text": f"{t} {i}", "label": label}) + "\n" for i, (t, label) in enumerate(rows))
    )
    made = adapt({"way": "majority"}, file)
    counts = json.loads((made.path / "baseline.json").read_text())["counts"]
    result = open_face(made.path).classify(["anything", "at all"])
    assert result.labels == ("b", "b")
    assert np.allclose(result.scores[0], np.array([counts["a"], counts["b"]]) / sum(counts.values()))
    assert made.kind == "baseline"
    assert result.prompt_tokens == (0, 0)


def test_keywords_are_readable_and_right(adapt, things: Path):
    made = adapt({"way": "keywords", "words": 30}, things)
    rules = json.loads((made.path / "baseline.json").read_text())
    assert "hammer" in rules["words"]["a_tool"]
    assert "hammer" not in rules["words"]["a_bird"]
    assert "is" not in rules["words"]["a_bird"] or rules["words"]["a_bird"]["is"] < 1
    result = open_face(made.path).classify(["hammer, saw and pliers", "nothing known here"])
    assert result.labels[0] == "a_tool"
    assert np.allclose(result.scores.sum(axis=1), 1, atol=1e-6)
    assert made.measures["validation_accuracy"] > 0.8


def test_keyword_weights_are_smoothed_log_odds(adapt, things: Path):
    made = adapt({"way": "keywords"}, things)
    rules = json.loads((made.path / "baseline.json").read_text())
    word, weight = next(iter(rules["words"]["a_fruit"].items()))
    from bedplate.adapt.ways import TaskConfig
    from bedplate.tasks.task_file import load_task

    train = load_task(TaskConfig(file=str(things))).train
    inside = [e for e in train if e.target == "a_fruit"]
    outside = [e for e in train if e.target != "a_fruit"]
    n = sum(word in e.input.lower().replace("?", "").split() for e in inside)
    m = sum(word in e.input.lower().replace("?", "").split() for e in outside)
    by_hand = np.log((n + 0.5) / (len(inside) + 1)) - np.log((m + 0.5) / (len(outside) + 1))
    assert weight == pytest.approx(by_hand, abs=1e-4)


@pytest.fixture(scope="module")
def fitted():
    """Our classifier, and scikit-learn's pipeline with the same settings."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    texts = [" ".join(WORDS[i % len(WORDS)] for i in range(n, n + 5)) for n in range(60)]
    labels = ["xyz"[n % 3] for n in range(60)]
    ours, logistic = fit_tfidf(texts, labels, texts[:9], labels[:9], Features(), (10.0,))
    union = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )
    theirs = make_pipeline(union, LogisticRegression(C=10.0, max_iter=300)).fit(texts, labels)
    return ours, logistic, theirs


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_tfidf_probabilities_equal_scikit_learn(fitted, texts: list[str]):
    ours, logistic, theirs = fitted
    logits = ours.logits(texts)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    # float32 weights of size about 3, times features of length 1 each
    assert np.abs(powers / powers.sum(axis=1, keepdims=True) - theirs.predict_proba(texts)).max() < 2e-6
    assert tuple(theirs.classes_) == logistic.classes


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_features_are_scikit_learns_for_any_text(text: str):
    from sklearn.feature_extraction.text import TfidfVectorizer

    features = Features(words=3)
    words = TfidfVectorizer(ngram_range=(1, 3)).build_analyzer()
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5)).build_analyzer()
    assert list(features.word_ngrams(text)) == words(text)
    assert list(features.character_ngrams(text)) == characters(text)


def test_tfidf_artefact_holds_no_pickle_and_opens_without_scikit_learn(adapt, things: Path, cli, tmp_path: Path):
    import subprocess
    import sys

    made = adapt({"way": "tfidf", "strengths": [1.0, 10.0]}, things)
    assert {f.suffix for f in made.path.iterdir()} <= {".json", ".safetensors"}
    here = open_face(made.path).classify(["a small owl", "my hammer"])
    code = (
        "import sys; sys.modules['sklearn'] = None; sys.modules['scipy'] = None\n"
        "from bedplate.adapt.opening import open_face\n"
        f"print(open_face({str(made.path)!r}).classify(['a small owl', 'my hammer']).labels)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    assert said.stdout.strip() == repr(here.labels) == "('a_bird', 'a_tool')"


def test_two_classes_have_two_probabilities(adapt, tmp_path: Path):
    file = tmp_path / "two.jsonl"
    rows = [{"text": f"{w} number {i}", "label": w} for w in ("yes", "no") for i in range(30)]
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    result = open_face(adapt({"way": "tfidf"}, file).path).classify(["yes indeed", "no way", ""])
    assert result.labels[:2] == ("yes", "no")
    assert result.scores.shape == (3, 2)
    assert np.allclose(result.scores.sum(axis=1), 1, atol=1e-6)


def test_baselines_need_classes(adapt, capitals: Path):
    with pytest.raises(RecipeError, match="tells classes apart"):
        adapt({"way": "keywords"}, capitals)


def test_a_broken_baseline_is_named(adapt, things: Path):
    made = adapt({"way": "majority"}, things)
    (made.path / "baseline.json").write_text('{"way": "majority"}')
    with pytest.raises(ArtefactError, match=r"baseline\.json: not a baseline"):
        open_face(made.path)


def test_no_texts_no_classes(adapt, things: Path):
    result = open_face(adapt({"way": "majority"}, things).path).classify([])
    assert result.labels == ()
    assert result.scores.shape == (0, 3)
