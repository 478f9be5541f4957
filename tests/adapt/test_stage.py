"""The adapt stage: what it records, what it refuses before anything is written, and that it is a pure function."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bedplate.adapt.stage import ADAPT, AdaptConfig, check_adapt, kind_of
from bedplate.adapt.ways import KINDS
from bedplate.console import Console
from bedplate.errors import InternalError, RecipeError
from bedplate.ledger import open_artefact, produce


def config(way: dict, **more) -> AdaptConfig:
    return AdaptConfig.model_validate({"task": {"file": "t.jsonl"}, "way": way} | more)


ENDPOINT = {"url": "http://127.0.0.1:1/v1", "model": "m"}

WRONG = [
    (config({"way": "probe"}), {}, "'probe' needs the input 'encoder'"),
    (config({"way": "zero-shot"}), {}, r"'zero-shot' needs the input 'base' \(or an endpoint\)"),
    (config({"way": "few-shot"}), {"base": {}}, "needs the input 'encoder': it finds the nearest examples"),
    (config({"way": "lora"}), {}, r"'lora' needs the input 'base': it is what is tuned"),
    (config({"way": "lora", "tune": "encoder"}), {"base": {}}, "'lora' needs the input 'encoder'"),
    (config({"way": "full"}, endpoint=ENDPOINT), {}, "an endpoint's can't be trained"),
    (config({"way": "zero-shot"}, endpoint=ENDPOINT), {"base": {}}, "both an input `base` and an endpoint"),
    (config({"way": "retrieval"}), {"base": {}}, "'retrieval' needs the input 'index'"),
    (config({"way": "majority"}, task=None), {}, "no task to adapt to"),
    (config({"way": "majority"}), {"task": {}}, "both task.file and an input `task`"),
    (
        config({"way": "retrieval"}, task={"file": "t.jsonl", "label": "x"}),
        {"base": {}, "index": {}},
        "asks for classes",
    ),
]


@pytest.mark.parametrize(("settings", "inputs", "problem"), WRONG)
def test_what_cannot_go_together_is_told_at_planning(settings: AdaptConfig, inputs: dict, problem: str):
    with pytest.raises(RecipeError, match=problem) as error:
        check_adapt(settings, inputs)
    assert error.value.fix


RIGHT = [
    (config({"way": "majority"}), {}),
    (config({"way": "few-shot", "examples": "fixed"}), {"base": {}}),
    (config({"way": "few-shot"}, endpoint=ENDPOINT), {"encoder": {}}),
    (config({"way": "lora", "tune": "encoder"}, endpoint=ENDPOINT), {"encoder": {}}),
    (config({"way": "nearest"}, task=None), {"encoder": {}, "task": {}}),
    (config({"way": "retrieval"}, task=None), {"base": {}, "index": {}}),
]


@pytest.mark.parametrize(("settings", "inputs"), RIGHT)
def test_what_goes_together_passes(settings: AdaptConfig, inputs: dict):
    check_adapt(settings, inputs)


def test_the_kind_follows_the_way():
    for way, kind in KINDS.items():
        assert kind_of(config({"way": way})) == kind
        assert kind in ADAPT.kind.split("|")


def test_planning_imports_nothing_heavy():
    code = (
        "import sys, bedplate.adapt.stage, bedplate.adapt.dispatch\n"
        "heavy = ('torch', 'sklearn', 'tokenizers', 'pyarrow', 'transformers', 'lancedb')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert said.stdout.strip() == "[]", said.stdout + said.stderr


def test_it_records_what_was_used_and_how_it_did(adapt, things: Path):
    made = adapt({"way": "tfidf", "strengths": [10.0]}, things, budget={"labels": 40, "validation": 15}, seed=3)
    m = made.measures
    assert m["way"] == "tfidf"
    assert m["labels_used"] == 40
    assert m["validation_examples"] == 15
    assert m["train_seconds"] > 0
    assert m["bytes"] == sum(output.bytes for output in made.manifest.outputs)
    assert 0 <= m["validation_accuracy"] <= 1
    assert "validation_right" not in m
    assert [(i.role, i.kind) for i in made.manifest.inputs] == [("source", "raw")]
    assert made.manifest.stage == "adapt"


def test_two_runs_one_digest_and_another_seed_another_key(adapt, things: Path):
    way = {"way": "few-shot", "examples": "random", "shots": 2}
    first, second = (adapt(way, things, ("base",), budget={"labels": 9, "validation": 6}) for _ in range(2))
    assert first.digest == second.digest
    assert first.key == second.key
    assert adapt(way, things, ("base",), budget={"labels": 9, "validation": 6}, seed=1).digest != first.digest


def test_the_base_is_in_its_lineage(adapt, things: Path, base):
    made = adapt({"way": "zero-shot"}, things, ("base",), budget={"validation": 6})
    recorded = next(i for i in made.manifest.inputs if i.role == "base")
    assert recorded.digest == base.digest
    assert (made.path / recorded.path).resolve() == base.path.resolve()


def test_a_task_artefact_stands_in_for_a_file(things: Path, base, tmp_path: Path):
    """The folder of an artefact of kind task: here one made by hand from an imported model's manifest."""
    import shutil

    from bedplate.ledger.digests import outputs_digest, sha256_file
    from bedplate.ledger.manifest import MANIFEST, Output, read_manifest

    folder = tmp_path / "task"
    folder.mkdir()
    shutil.copy(things, folder / "task.jsonl")
    file = folder / "task.jsonl"
    output = Output(path="task.jsonl", bytes=file.stat().st_size, sha256=sha256_file(file))
    changes = {"kind": "task", "name": "things", "outputs": (output,), "digest": outputs_digest([output])}
    manifest = read_manifest(base.path).model_copy(update=changes)
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    settings = AdaptConfig.model_validate({"way": {"way": "keywords"}})
    made = produce(
        ADAPT, settings, {"task": open_artefact(folder)}, tmp_path / "out", name="k", console=Console.quiet()
    )
    assert made.measures["validation_accuracy"] > 0.8


def test_an_artefact_that_disagrees_with_its_own_fitting_is_never_committed(
    adapt, things: Path, tmp_path: Path, monkeypatch
):
    """What the weights of the opened artefact say is held against what was measured while it was made."""
    import bedplate.adapt.probing as probing

    class Broken(probing.Head):
        def scores(self, vectors):
            return super().scores(vectors)[:, ::-1]

    monkeypatch.setattr(probing, "Head", Broken)
    with pytest.raises(InternalError, match="the artefact, opened again, is right on"):
        adapt({"way": "probe"}, things, ("encoder",))
    assert not (tmp_path / "probe-0").exists()


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"text": f"t {i}", "label": "only"} for i in range(20)], "class"),
        ([], "empty|no "),
        ([{"text": "a", "label": ""}], "label"),
    ],
)
def test_bad_tasks_leave_nothing_behind(adapt, tmp_path: Path, rows: list, problem: str):
    from bedplate.errors import UserError

    file = tmp_path / "bad.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=problem):
        adapt({"way": "majority"}, file)
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []
