"""Tuning of a real encoder on real texts: 77 intents of a bank's customers, ten examples of each."""

from __future__ import annotations

import csv
import random
import re

import pytest

from bedplate.adapt.opening import open_face
from bedplate.adapt.stage import ADAPT, AdaptConfig
from bedplate.console import Console
from bedplate.ledger import open_artefact, produce

TRAIN, VALIDATION, TEST = 10, 4, 500


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def intents(shared_data, tmp_path_factory):
    """A task file, and its test examples. Questions that differ in punctuation alone are taken once."""
    draw, seen = random.Random(0), set()

    def fresh(text):
        key = re.sub(r"[^a-z0-9]", "", text.lower())
        return not (key in seen or seen.add(key))

    folder = shared_data / "banking77" / "banking_data"
    train, test = read(folder / "train.csv"), read(folder / "test.csv")
    draw.shuffle(train)
    draw.shuffle(test)
    tests = [(text, label) for text, label in test if fresh(text)][:TEST]
    rows = [(*row, "test") for row in tests]
    for name in sorted({label for _, label in train}):
        own = [text for text, label in train if label == name and fresh(text)][: TRAIN + VALIDATION]
        rows += [(text, name, "train" if i < TRAIN else "validation") for i, text in enumerate(own)]
    path = tmp_path_factory.mktemp("intents") / "intents.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label", "split"), *rows])
    return path, tests


@pytest.mark.slow
@pytest.mark.parametrize("way", ["lora", "bitfit"])
def test_ten_examples_a_class_are_enough_for_four_in_five(intents, minilm, tmp_path, way):
    """Four in five of 500 is 3.6 points of a 95% interval below what it reaches."""
    path, tests = intents
    config = AdaptConfig.model_validate(
        {"task": {"file": str(path), "split": "split"}, "way": {"way": way, "tune": "encoder", "epochs": 2.0}}
    )
    inputs = {"encoder": open_artefact(minilm)}
    made = produce(ADAPT, config, inputs, tmp_path / "made", name=way, console=Console.quiet())
    found = open_face(made.path).classify([text for text, _ in tests]).labels
    right = sum(label == wanted for label, (_, wanted) in zip(found, tests, strict=True))
    assert right / len(tests) >= 0.8
    scores = made.measures
    assert scores["validation"]["accuracy"] >= scores["start"]["accuracy"]
    assert scores["validation_accuracy"] == pytest.approx(scores["validation"]["accuracy"])
