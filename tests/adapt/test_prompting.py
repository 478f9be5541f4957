"""Prompts for classes and for free answers, on a model here and on an endpoint."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from stand_in import StandIn

from bedplate.adapt.asking import ask_all, is_right
from bedplate.adapt.calibration import Calibration, candidates, choose
from bedplate.adapt.examples import Chooser
from bedplate.adapt.face import Answerer, Classifier
from bedplate.adapt.label_prompts import ExamplesDroppedWarning, parse_label
from bedplate.adapt.opening import open_face
from bedplate.adapt.prompt_file import Prompt, default_prompt
from bedplate.adapt.ways import TaskConfig
from bedplate.config.randomness import fold_in
from bedplate.console import Console
from bedplate.errors import InputError
from bedplate.families.imports import import_model
from bedplate.generate.params import SamplingParams
from bedplate.ledger import open_artefact
from bedplate.tasks.task_file import limited, load_task


def test_zero_shot_is_the_stated_arithmetic_of_the_bases_likelihoods(adapt, things: Path):
    made = adapt({"way": "zero-shot"}, things, ("base",), budget={"validation": 12})
    face = open_face(made.path)
    assert isinstance(face, Classifier)
    texts = ["a small owl", "my hammer is old", ""]
    result = face.classify(texts)
    assert result.classes == ("a_bird", "a_fruit", "a_tool")
    stored = json.loads((made.path / "prompt.json").read_text())
    assert stored["label_texts"] == ["a bird", "a fruit", "a tool"]
    asked = [
        [{"role": "system", "content": stored["instruction"]}, {"role": "user", "content": text}] for text in texts
    ]
    sums = face.base.score(asked, stored["label_texts"]).sums
    c = stored["calibration"]
    scores = (sums * np.array(c["gain"]) + np.array(c["offset"])) / c["temperature"]
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    assert np.allclose(result.scores, powers / powers.sum(axis=1, keepdims=True), atol=1e-5)
    assert result.labels == tuple(result.classes[k] for k in scores.argmax(axis=1))
    assert result.prompt_tokens == tuple(len(face.base.prompt_tokens(m)) for m in asked)
    assert made.measures["labels_used"] == 0
    assert made.measures["rule"] == c["rule"]
    best = max(rule["accuracy"] for rule in made.measures["tried"].values())
    assert made.measures["validation_accuracy"] == pytest.approx(best, abs=1e-4)
    assert made.manifest.resources["flops"].value > 0


def test_calibration_rules_are_their_formulas():
    rng = np.random.default_rng(0)
    sums, tokens, free = rng.normal(-20, 5, (9, 4)), np.array([2, 3, 4, 5]), rng.normal(-20, 5, (3, 4))
    by_rule = {c.rule: c.scores(sums) for c in candidates(sums, tokens, free)}
    assert np.allclose(by_rule["mean"], sums / tokens)
    prior = np.log(np.exp(free).mean(axis=0))
    assert np.allclose(by_rule["mean less prior"], (sums - prior) / tokens)
    assert np.allclose(by_rule["sum less domain"], sums - sums.mean(axis=0))
    assert np.allclose(by_rule["standardised"].mean(axis=0), 0)
    assert np.allclose(by_rule["standardised"].std(axis=0), 1)


def test_the_best_rule_wins_and_its_temperature_calibrates():
    """A base that always prefers label 0 by 10 nats, and beneath that is right: only rules that take it away see it."""
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 3, 300)
    sums = rng.normal(0, 0.5, (300, 3)) - 20
    sums[np.arange(300), targets] += 1
    sums[:, 0] += 10
    classes = ("a", "b", "c")
    rule, tried, right = choose(
        candidates(sums, np.array([3, 3, 3]), np.full((1, 3), -20.0)), sums, classes, [classes[t] for t in targets]
    )
    assert rule.rule in ("sum less domain", "standardised")
    assert tried["sum"]["accuracy"] == pytest.approx((targets == 0).mean(), abs=1e-4)
    sure = rule.probabilities(sums).max(axis=1)
    assert sure.mean() == pytest.approx(np.mean(right), abs=0.05)


def test_instructions_are_made_from_the_task(things: Path):
    task = load_task(TaskConfig(file=str(things), description="the kind of thing", label_texts={"a_bird": "bird!"}))
    prompt = default_prompt(task, None, list_labels=True)
    assert prompt.instruction == (
        "Classify each text by the kind of thing. Answer with the class only. The classes are: bird!; a fruit; a tool."
    )
    assert default_prompt(task, "Say it.", list_labels=False).instruction == "Say it."
    turns = prompt.messages("what?", [("an owl", "a_bird")])
    assert [m["role"] for m in turns] == ["system", "user", "assistant", "user"]
    assert turns[2]["content"] == "bird!"


def test_fixed_examples_are_the_same_for_all_and_from_every_class(adapt, things: Path):
    made = adapt({"way": "few-shot", "examples": "fixed", "shots": 3}, things, ("base",), budget={"validation": 6})
    kept = json.loads((made.path / "prompt.json").read_text())["examples"]["kept"]
    assert {label for _, label in kept} == {"a_bird", "a_fruit", "a_tool"}
    assert len(kept) == 3 == made.measures["labels_used"]
    train = {(e.input, e.target) for e in load_task(TaskConfig(file=str(things))).train}
    assert {tuple(pair) for pair in kept} <= train
    face = open_face(made.path)
    assert face.classify(["a crow"]).prompt_tokens[0] > 3 * 10


def test_random_examples_depend_on_the_text_and_the_seed_alone():
    kept = [(f"text {i}", "ab"[i % 2]) for i in range(40)]
    one, other = Chooser("random", kept, 4, seed=1), Chooser("random", kept, 4, seed=2)
    together = one.choose(["x", "y", "z"])
    assert one.choose(["z"])[0] == together[2] == one.choose(["z", "x"])[0]
    assert together[0] != together[1]
    assert other.choose(["x"])[0] != together[0]
    assert all(len(set(row)) == 4 for row in together)
    assert fold_in(1, "examples", "x") != fold_in(2, "examples", "x")


def test_nearest_examples_are_the_nearest_and_the_nearest_is_last():
    vectors = np.eye(5, dtype=np.float32)
    chooser = Chooser("nearest", [(str(i), "a") for i in range(5)], 2, 0, vectors=vectors, embed=lambda t: vectors[2:3])
    assert chooser.choose(["?"])[0][-1] == ("2", "a")
    assert len(chooser.choose(["?"])[0]) == 2


def test_few_shot_nearest_is_found_again_from_its_artefact(adapt, things: Path):
    made = adapt({"way": "few-shot", "shots": 2}, things, ("base", "encoder"), budget={"labels": 30, "validation": 6})
    assert {f.name for f in made.path.iterdir()} == {"prompt.json", "examples.safetensors", "bedplate.json"}
    first, again = open_face(made.path), open_face(made.path)
    texts = ["one heron too many", "this vice is old"]
    assert (first.classify(texts).scores == again.classify(texts).scores).all()
    assert made.measures["labels_used"] == 30


def test_examples_that_do_not_fit_are_dropped_and_counted(adapt, things: Path, make_model, tmp_path: Path):
    make_model(max_position_embeddings=128).save(tmp_path / "hf")
    small = import_model(tmp_path / "hf", tmp_path / "small", console=Console.quiet())
    way = {"way": "few-shot", "examples": "fixed", "shots": 12}
    with pytest.warns(ExamplesDroppedWarning):
        made = adapt(way, things, {"base": small}, budget={"validation": 6})
    assert made.measures["examples_dropped"] > 0
    face = open_face(made.path)
    with pytest.warns(ExamplesDroppedWarning, match="examples were left out of the prompts for 2 texts"):
        result = face.classify(["a crow", "a saw"])
    assert max(result.prompt_tokens) + 8 <= 128
    with pytest.raises(InputError, match=r"a text of 3,000 characters makes a prompt of .* the context of .* is 128"):
        face.classify(["a crow", "owl" * 1000])


def test_free_answers_and_the_two_halves_of_generate(adapt, capitals: Path):
    made = adapt({"way": "few-shot", "examples": "random", "shots": 2}, capitals, ("base",), budget={"validation": 3})
    face = open_face(made.path)
    assert isinstance(face, Answerer)
    assert not isinstance(face, Classifier)
    asked = [{"role": "user", "content": "What is the capital of Wales?"}]
    params = SamplingParams(max_tokens=5)
    prepared = face.prepare(asked)
    assert [m["role"] for m in prepared.messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert prepared.messages[-1] == asked[0]
    answer = face.generate(asked, params)
    assert answer == face.finish(prepared, face.base.generate(prepared.messages, params))
    assert ask_all(face, [asked, asked], params)[1].text == answer.text
    assert 0 <= made.measures["validation_accuracy"] <= 1
    assert made.measures["self_check"]["examples"] == 3


def test_history_and_system_messages_keep_their_places(adapt, capitals: Path):
    made = adapt({"way": "zero-shot"}, capitals, ("base",), budget={"validation": 2})
    face = open_face(made.path)
    told = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "And Wales?"},
    ]
    messages = face.prepare(told).messages
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]
    assert messages[0]["content"].endswith("\n\nBe brief.")
    with pytest.raises(InputError, match="the last isn't a text from the user"):
        face.prepare(told[:3])


def test_a_template_without_system_messages_gets_the_instruction_in_the_first_question(
    adapt, things: Path, make_model, tmp_path: Path
):
    make_model().save(tmp_path / "hf")
    template = tmp_path / "hf" / "chat_template.jinja"
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    template.write_text(refuses + template.read_text())
    picky = import_model(tmp_path / "hf", tmp_path / "picky", console=Console.quiet())
    made = adapt({"way": "zero-shot"}, things, {"base": picky}, budget={"validation": 6})
    stored = json.loads((made.path / "prompt.json").read_text())
    assert stored["system"] is False
    prompt = Prompt(stored["instruction"], system=False)
    assert prompt.messages("an owl")[0]["content"] == f"{stored['instruction']}\n\nan owl"
    assert len(open_face(made.path).classify(["an owl"]).labels) == 1


ANSWERS = {
    "a bird": 0,
    "A Bird.": 0,
    '"a bird"\nbecause it flies': 0,
    "The class is a bird": 0,
    "a birds": 0,
    "a bird of prey": 1,
    "I think a bird of prey it is": 1,
    "a bird or a tool": -1,
    "": -1,
    "no idea": -1,
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_parsing(answer: str):
    labels = ["a bird", "a bird of prey", "a tool"]
    assert parse_label(answer, labels) == ANSWERS[answer]


def test_an_endpoint_that_echoes_scores_labels_by_log_probabilities(adapt, things: Path):
    def logprob(text: str, place: int) -> float:
        """Tokens of the label are likely where the text holds the word that gives it away."""
        known = {"owl": "bird", "crow": "bird", "wren": "bird", "saw": "tool", "drill": "tool", "plum": "fruit"}
        question = text.split("Text: ")[-1]
        said = text.rstrip().split(" ")[-1]
        right = any(w in question.split("\n")[0] and k == said for w, k in known.items())
        return -0.1 if right else -1.5 - place / 1000

    with StandIn(logprob=logprob) as server:
        endpoint = {"url": server.url, "model": "small", "timeout": 10.0}
        made = adapt({"way": "zero-shot"}, things, endpoint=endpoint, budget={"validation": 6})
        assert made.measures["label_scores"] == "logprobs"
        face = open_face(made.path)
        result = face.classify(["an owl", "a plum", "the drill"])
        assert result.labels == ("a_bird", "a_fruit", "a_tool")
        assert min(result.prompt_tokens) > 30  # three requests each
        assert np.allclose(result.scores.sum(axis=1), 1, atol=1e-6)
        assert all(r["path"] == "/v1/completions" for r in server.requests)
        assert server.requests[-1]["body"]["prompt"].endswith("\n")


def test_an_endpoint_that_does_not_echo_is_parsed_and_what_cannot_be_is_counted(adapt, things: Path):
    def answer(body) -> str:
        asked = set(body["messages"][-1]["content"].rstrip("?").split())
        birds = {"owl", "crow", "heron", "kite", "wren", "robin", "finch", "magpie"}
        return "A bird." if asked & birds else "who knows"

    with StandIn(answer=answer) as server:
        endpoint = {"url": server.url, "model": "small", "timeout": 10.0}
        made = adapt({"way": "zero-shot"}, things, endpoint=endpoint, budget={"validation": 12})
        assert made.measures["label_scores"] == "parse"
        seen = limited(load_task(TaskConfig(file=str(things))), labels=None, validation=12, seed=0).validation
        birds = sum(e.target == "a_bird" for e in seen)
        assert made.measures["unparsed"] == 12 - birds > 0
        assert made.measures["validation_accuracy"] == pytest.approx(birds / 12)
        stored = json.loads((made.path / "prompt.json").read_text())
        assert stored["instruction"].endswith("The classes are: a bird; a fruit; a tool.")
        face = open_face(made.path)
        result = face.classify(["an owl", "a plum"])
        assert result.labels[0] == "a_bird"
        assert np.allclose(result.scores[1], 1 / 3)
        assert face.unparsed == 1
        assert made.config["endpoint"]["url"] == server.url


def test_free_answers_from_an_endpoint(adapt, capitals: Path):
    known = {"France": "Paris", "Peru": "Lima"}

    def answer(body) -> str:
        country = body["messages"][-1]["content"].split()[-1].rstrip("?")
        return known.get(country, "Nowhere")

    with StandIn(answer=answer) as server:
        endpoint = {"url": server.url, "model": "small"}
        made = adapt({"way": "few-shot", "examples": "fixed", "shots": 2}, capitals, endpoint=endpoint)
        face = open_face(made.path)
        got = face.generate([{"role": "user", "content": "What is the capital of Peru?"}])
        assert got.text == "Lima"
        assert len(server.requests[-1]["body"]["messages"]) == 6


@pytest.mark.parametrize(
    ("answer", "target", "right"),
    [("Paris", "paris", True), (' "Paris." ', "Paris", True), ("Paris, France", "Paris", False), ("42", "42.0", False)],
)
def test_exact_match(answer: str, target: str, right: bool):
    assert is_right(answer, target) is right


@pytest.mark.slow
def test_a_real_model_with_nearest_examples(adapt, things: Path, smollm2: Path, minilm: Path):
    given = {"base": open_artefact(smollm2), "encoder": open_artefact(minilm)}
    made = adapt({"way": "few-shot", "shots": 3}, things, given, budget={"validation": 18})
    assert made.measures["validation_accuracy"] > 0.8
    assert open_face(made.path).classify(["I photographed a kestrel"]).labels == ("a_bird",)


def test_calibration_survives_json(tmp_path: Path):
    rule = Calibration("standardised", (0.1, 1 / 3), (1e-9, -2.5), 0.37)
    prompt = Prompt("Say.", ("x", "y"), ("x", "y"), calibration=rule)
    prompt.save(tmp_path, "zero-shot")
    assert Prompt.load(tmp_path / "prompt.json") == prompt
