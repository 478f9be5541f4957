"""Every way of tuning, on either input, for either kind of task: what it leaves, what it says, what it refuses."""

from __future__ import annotations

import json
import random

import pytest
import torch
from safetensors.torch import load_file

from bedplate.adapt.face import Answerer, Classifier
from bedplate.adapt.opening import open_face
from bedplate.errors import ArtefactError, InputError, RecipeError
from bedplate.ledger import open_artefact

WAYS = ("lora", "last-layer", "bitfit", "full")
SHORT = {"learning_rates": [3e-3], "epochs": 1.0, "batch": 8, "length": 64}
LORA = {"adapter_config.json", "adapter_model.safetensors", "bedplate_adapter.json"}
SUBSET = {"delta.json", "delta.safetensors", "bedplate_adapter.json"}
FILES = {"lora": LORA, "last-layer": SUBSET, "bitfit": SUBSET}
HEAD = {"head.safetensors", "classes.json"}


WORDS = {"gear": ("cog", "tooth", "mesh"), "oil": ("slick", "drip", "film"), "bolt": ("thread", "nut", "torque")}


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Texts of three classes, each of its own few words: a random net's states tell them apart."""
    draw = random.Random(0)
    texts = {
        (label, " ".join(draw.choices(own, k=draw.randint(3, 9)))) for label, own in WORDS.items() for _ in range(60)
    }
    rows = [{"text": text, "label": label} for label, text in sorted(texts)]
    return written(tmp_path_factory.mktemp("words") / "words.jsonl", rows)


@pytest.fixture(scope="module")
def manners(tmp_path_factory):
    """Questions that are all answered alike, which even a random net can learn."""
    rows = [{"prompt": f"Is {i} more than {i - 1}?", "answer": "so it is"} for i in range(40)]
    return written(tmp_path_factory.mktemp("manners") / "manners.jsonl", rows)


def files(artefact):
    return {path.relative_to(artefact.path).as_posix() for path in artefact.path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("on", ["base", "encoder"])
@pytest.mark.parametrize("way", WAYS)
def test_classes(adapt, words, base, way, on):
    made = adapt({"way": way, "tune": on, **SHORT}, words, (on,))
    face = open_face(made.path)
    assert isinstance(face, Classifier)
    assert face.classes == ("bolt", "gear", "oil")
    result = face.classify(["slick film drip", "nut thread nut thread torque", "slick film drip"])
    assert result.scores.shape == (3, 3)
    assert result.labels[0] == result.labels[2]
    assert result.scores.sum(1) == pytest.approx([1.0] * 3, abs=1e-6)
    assert min(result.prompt_tokens) > 3
    assert made.measures["validation_accuracy"] > 0.5
    # Opened again, it is what it was when it was trained.
    assert made.measures["validation_accuracy"] == pytest.approx(made.measures["validation"]["accuracy"])
    assert made.measures["epochs"] == pytest.approx(1.0, abs=0.15)
    assert made.measures["flops"] == made.manifest.resources["flops"].value > 0
    if way != "full":
        assert files(made) == FILES[way] | HEAD | {"bedplate.json"}
    else:
        assert {"model.safetensors", "config.json", "tokenizer.json"} | HEAD <= files(made)
    assert not [name for name in files(made) if "checkpoint" in name or "tuning" in name]


@pytest.mark.parametrize("way", WAYS)
def test_answers(adapt, manners, base, way):
    made = adapt({"way": way, **SHORT, "learning_rates": [1e-2], "epochs": 4.0}, manners, ("base",))
    face = open_face(made.path)
    assert isinstance(face, Answerer)
    assert not isinstance(face, Classifier)
    assert face.generate([{"role": "user", "content": "Is 9 more than 8?"}]).usage.completion_tokens > 0
    before = json.loads((base.path / "config.json").read_text())
    assert before["model_type"] == "llama"
    assert made.measures["validation"]["loss"] < 0.9 * made.measures["start"]["loss"]
    if way != "full":
        assert files(made) == FILES[way] | {"bedplate.json"}
    else:
        stored = load_file(made.path / "model.safetensors")
        kept = load_file(base.path / "model.safetensors")
        assert stored.keys() == kept.keys()
        assert not torch.equal(stored["model.norm.weight"], kept["model.norm.weight"])


def test_the_same_twice_is_the_same_to_the_bit(adapt, words):
    way = {"way": "lora", "tune": "encoder", **SHORT, "dropout": 0.1}
    first, second = (adapt(way, words, ("encoder",), seed=3) for _ in range(2))
    assert first.digest == second.digest
    assert adapt(way, words, ("encoder",), seed=4).digest != first.digest


def test_the_better_learning_rate_goes_on(adapt, words):
    way = {"way": "bitfit", "tune": "encoder", **SHORT, "epochs": 4.0, "learning_rates": [1e-7, 1e-2, 10.0]}
    made = adapt(way, words, ("encoder",))
    tried = {each["learning_rate"]: each for each in made.measures["tried"]}
    assert set(tried) == {1e-7, 1e-2, 10.0}
    steps = {rate: each["steps"] for rate, each in tried.items()}
    assert max(steps, key=steps.get) == made.measures["learning_rate"]
    assert steps[10.0] < steps[1e-2]
    assert sorted(steps.values())[0] < sorted(steps.values())[-1]


def test_a_run_that_only_gets_worse_leaves_what_it_began_with(adapt, words):
    """Best by validation, the start included: here the linear probe that the head begins as."""
    way = {"way": "full", "tune": "encoder", **SHORT, "learning_rates": [30.0], "epochs": 3.0}
    made = adapt(way, words, ("encoder",))
    assert made.measures["best"] == {"learning_rate": None, "step": 0}


def test_a_learning_rate_that_diverges_is_dropped(adapt, words):
    way = {"way": "full", "tune": "encoder", **SHORT, "epochs": 2.0, "learning_rates": [1e30, 3e-3]}
    made = adapt(way, words, ("encoder",))
    assert made.measures["learning_rate"] == 3e-3
    assert [each["validation"] for each in made.measures["tried"]][1] == "diverged"
    with pytest.raises(InputError, match=r"the loss was no finite number any more at step \d+ with way.learning_rates"):
        adapt(way | {"learning_rates": [1e30]}, words, ("encoder",))


def test_the_budget_bounds_the_operations(adapt, words):
    way = {"way": "lora", "tune": "encoder", **SHORT, "epochs": 20.0, "learning_rates": [1e-3, 3e-3]}
    whole = adapt(way, words, ("encoder",)).measures
    budget = whole["flops"] / 4
    cut = adapt(way, words, ("encoder",), budget={"flops": budget})
    assert cut.measures["flops"] <= budget
    assert 0 < cut.measures["planned_steps"] < whole["planned_steps"]
    with pytest.raises(RecipeError, match=r"the budget of 1e\+06 operations allows 0 steps with 2 learning rates"):
        adapt(way, words, ("encoder",), budget={"flops": 1e6})


def test_another_encoder_is_refused(adapt, words, make_encoder):
    made = adapt({"way": "lora", "tune": "encoder", **SHORT}, words, ("encoder",))
    with pytest.raises(ArtefactError, match=r"was made on the model 'encoder' \(digest"):
        open_face(made.path, base=make_encoder(1).path)


def test_whole_weights_need_no_base(adapt, words, tmp_path):
    made = adapt({"way": "full", "tune": "encoder", **SHORT}, words, ("encoder",))
    moved = tmp_path / "elsewhere" / "deep"
    moved.parent.mkdir()
    made.path.rename(moved)
    assert isinstance(open_face(open_artefact(moved).path), Classifier)


def test_an_encoder_answers_nothing(adapt, capitals):
    with pytest.raises(RecipeError, match="an encoder can only tell classes apart"):
        adapt({"way": "lora", "tune": "encoder", **SHORT}, capitals, ("encoder",))


@pytest.mark.parametrize("on", ["base", "encoder"])
def test_a_long_text_is_refused_or_cut_and_counted(adapt, tmp_path, on):
    rows = [
        {"text": f"{word} number {i}" + " and so on" * (20 * (i == 3)), "label": word}
        for i in range(30)
        for word in ("gear", "oil")
    ]
    task = written(tmp_path / "task.jsonl", rows)
    way = {"way": "bitfit", "tune": on, **SHORT, "length": 48}
    with pytest.raises(InputError, match=r"task line [78]: \d+ tokens, more than the 48 allowed"):
        adapt(way, task, (on,))
    made = adapt(way | {"too_long": "truncate"}, task, (on,))
    assert 0 < made.measures["texts_cut"] <= 2


def test_many_turns(adapt, tmp_path):
    """Rows of messages: every turn of the assistant counts."""
    rows = [
        {"messages": [
            {"role": "user", "content": f"Count from {i}."}, {"role": "assistant", "content": f"{i}, {i + 1}"},
            {"role": "user", "content": "And then?"}, {"role": "assistant", "content": f"{i + 2}"},
        ]}
        for i in range(30)
    ]  # fmt: skip
    task = written(tmp_path / "chats.jsonl", rows)
    made = adapt({"way": "lora", **SHORT, "epochs": 2.0}, task, ("base",))
    examples = made.measures["training_examples"]
    assert examples["truncated_examples"] == 0
    assert examples["supervised_tokens"] > 6 * examples["examples"]
