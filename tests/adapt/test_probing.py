"""The probe against scikit-learn and the vote against counting; both bound to their encoder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bedplate.adapt.opening import open_face
from bedplate.adapt.probing import UNSEEN, Neighbours, unit
from bedplate.adapt.ways import TaskConfig
from bedplate.errors import ArtefactError
from bedplate.families.encoder_model import EncoderModel
from bedplate.ledger import open_artefact
from bedplate.tasks.task_file import load_task


def test_probe_gives_scikit_learns_probabilities(adapt, things: Path, encoder):
    from sklearn.linear_model import LogisticRegression

    made = adapt({"way": "probe", "strengths": [10.0]}, things, ("encoder",))
    task = load_task(TaskConfig(file=str(things)))
    model = EncoderModel.load(encoder.path)
    theirs = LogisticRegression(C=10.0, max_iter=300)
    theirs.fit(unit(model.embed([e.input for e in task.train])), [e.target for e in task.train])
    texts = [e.input for e in task.test]
    result = open_face(made.path).classify(texts)
    assert np.abs(result.scores - theirs.predict_proba(unit(model.embed(texts)))).max() < 1e-5
    assert list(result.classes) == list(theirs.classes_)
    assert made.kind == "probe"


def test_probe_keeps_the_best_and_counts_what_it_read(adapt, things: Path, encoder):
    made = adapt({"way": "probe"}, things, ("encoder",))
    tried = {float(s): v["accuracy"] for s, v in made.measures["tried"].items()}
    assert made.measures["validation_accuracy"] == pytest.approx(max(tried.values()), abs=1e-4)
    result = open_face(made.path).classify(["a small owl", "the hammer is old"])
    model = EncoderModel.load(encoder.path)
    assert result.prompt_tokens == tuple(len(ids) for ids in model.encode_batch(["a small owl", "the hammer is old"]))
    assert made.manifest.resources["flops"].value > 0
    assert set(load_file(made.path / "head.safetensors")) == {"weight", "bias"}


def test_nearest_votes_by_similarity(adapt, things: Path, encoder):
    made = adapt({"way": "nearest", "neighbours": [3]}, things, ("encoder",))
    task = load_task(TaskConfig(file=str(things)))
    model = EncoderModel.load(encoder.path)
    train = unit(model.embed([e.input for e in task.train]))
    face = open_face(made.path)
    result = face.classify(["one heron too many"])
    similar = unit(model.embed(["one heron too many"])) @ train.T
    best = np.argsort(-similar[0])[:3]
    weights = np.exp(similar[0][best] / face._head.temperature)
    weights /= weights.sum()
    for k, label in enumerate(result.classes):
        votes = sum(w for w, i in zip(weights, best, strict=True) if task.train[i].target == label)
        assert result.scores[0, k] == pytest.approx(votes * (1 - UNSEEN) + UNSEEN / 3, abs=1e-4)
    assert result.scores.sum() == pytest.approx(1, abs=1e-5)


def test_more_neighbours_than_examples_are_all_of_them():
    vectors = unit(np.eye(3, dtype=np.float32))
    scores = Neighbours(vectors, np.array([0, 1, 1]), 2, 99, 1e9).scores(vectors)
    assert np.allclose(scores[:, 1] * 3 / 2, scores[:, 0] * 3, atol=0.02)
    assert np.allclose(scores.sum(axis=1), 1)


@pytest.mark.parametrize("way", ["probe", "nearest"])
def test_a_real_encoder_knows_birds_from_tools(adapt, things: Path, minilm: Path, way: str):
    made = adapt({"way": way}, things, {"encoder": open_artefact(minilm)})
    assert made.measures["validation_accuracy"] > 0.9
    result = open_face(made.path).classify(["I photographed a kestrel", "pass me the screwdriver", "a ripe mango"])
    assert result.labels == ("a_bird", "a_tool", "a_fruit")


@pytest.mark.parametrize("way", ["probe", "nearest"])
def test_another_encoder_is_refused(adapt, things: Path, make_encoder, way: str, tmp_path: Path):
    made = adapt({"way": way}, things, ("encoder",))
    with pytest.raises(ArtefactError, match="was made on the model 'encoder'"):
        open_face(made.path, base=make_encoder(1).path)


def test_changed_weights_at_the_same_place_are_refused(adapt, things: Path, make_encoder, tmp_path: Path):
    """The manifest still says the old digest: only the weights' own digest shows it."""
    first, second = make_encoder(2), make_encoder(3)
    made = adapt({"way": "probe"}, things, {"encoder": first})
    shutil.copy(second.path / "model.safetensors", first.path / "model.safetensors")
    with pytest.raises(ArtefactError, match=r"damaged|digest"):
        open_face(made.path)


def test_a_moved_encoder_is_named_and_found(adapt, things: Path, make_encoder, tmp_path: Path):
    encoder = make_encoder(4)
    made = adapt({"way": "probe"}, things, {"encoder": encoder})
    before = open_face(made.path).classify(["a crow"])
    moved = tmp_path / "moved"
    shutil.move(encoder.path, moved)
    with pytest.raises(ArtefactError, match="--base FOLDER"):
        open_face(made.path)
    after = open_face(made.path, base=moved).classify(["a crow"])
    assert (before.scores == after.scores).all()
