"""Recipes: what is read, and how each mistake is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, field_validator

from bedplate.config import Config, build, load_recipe
from bedplate.config.overrides import parse_override
from bedplate.errors import RecipeError

RECIPE = """\
# a comment
name: mine
stages:
  corpus:
    do: curate
    sources:
      - {kind: folder, path: a}
      - kind: folder
        path: b
  model:
    do: pretrain
    inputs: {corpus: corpus, extra: [one, two]}
    out: elsewhere/model
    steps: 300
    optimizer: {rate: 0.1}
"""


class Folder(Config):
    kind: Literal["folder"] = Field(description="A folder.")
    path: str = Field(description="Where.")


class Hub(Config):
    kind: Literal["hub"] = Field(description="From the hub.")
    identifier: str = Field(description="Which.")


class Curate(Config):
    sources: list[Annotated[Folder | Hub, Field(discriminator="kind")]] = Field(description="Where the documents are.")


class Optimizer(Config):
    rate: float = Field(0.1, gt=0, description="How fast.")


class Pretrain(Config):
    steps: int = Field(description="How many steps.")
    optimizer: Optimizer = Field(Optimizer(), description="How.")
    language: str = Field("en", description="Which.")

    @field_validator("steps")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even, because of the pairs")
        return value


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def problem(call) -> str:
    with pytest.raises(RecipeError) as caught:
        call()
    return str(caught.value)


def test_reads_stages_inputs_options_and_lines(tmp_path):
    recipe = load_recipe(written(tmp_path, RECIPE))
    assert recipe.name == "mine"
    assert list(recipe.stages) == ["corpus", "model"]
    model = recipe.stages["model"]
    assert (model.do, model.out) == ("pretrain", "elsewhere/model")
    assert model.inputs == {"corpus": "corpus", "extra": ["one", "two"]}
    assert model.options == {"steps": 300, "optimizer": {"rate": 0.1}}
    assert model.place("steps").line == 14
    assert recipe.stages["corpus"].place("sources", 1, "path").line == 9
    assert build(Pretrain, model).steps == 300
    assert build(Curate, recipe.stages["corpus"]).sources[1] == Folder(kind="folder", path="b")


def test_the_name_is_the_files_unless_given(tmp_path):
    path = tmp_path / "quick-start.yaml"
    path.write_text("stages: {a: {do: curate}}")
    assert load_recipe(path).name == "quick-start"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "stages: {a: {do: x}}\nstagez: 1",
            "line 2: stagez: unknown key; expected one of name, stages; near",
        ),
        ("name: x", "stages: expected a mapping"),
        ("- 1", "a recipe is a mapping"),
        ("", "a recipe is a mapping"),
        ("name: ../up\nstages: {a: {do: x}}", "line 1: name: '../up' can't be a folder's name"),
        ("stages:\n  a.b: {do: x}", "line 2: stages.a.b: not a stage's name"),
        ("stages:\n  a: 3", "line 2: stages.a: expected a mapping"),
        ("stages:\n  a: {dO: x}", "line 2: stages.a.do: expected the stage's verb"),
        ("stages:\n  a:\n    do: x\n    steps: 1\n    steps: 2", "line 5: the key 'steps' repeats that of line 4"),
        ("stages:\n  a:\n    do: x\n    inputs: [b]", "line 4: stages.a.inputs: expected a mapping"),
        ("stages:\n  a:\n    do: x\n    on: 3", "line 4: stages.a.True: a key must be a word"),
        ("stages:\n  a: {do: x\n", "line 3: not valid YAML"),
        ("stages: {a: {do: !!python/object/apply:os.system [ls]}}", "line 1: not valid YAML"),
        ("stages: {a: {do: x, when: 2024-13-45}}", "not valid YAML"),
        ("stages: {a: {? [1, 2] : 3}}", "line 1: a key that isn't a single value"),
    ],
)
def test_mistakes_are_told_with_file_line_and_key(tmp_path, text, expected):
    path = written(tmp_path, text)
    message = problem(lambda: load_recipe(path))
    assert expected in message
    assert str(path) in message


def test_a_missing_file_a_folder_and_bytes(tmp_path):
    assert "no such recipe" in problem(lambda: load_recipe(tmp_path / "none.yaml"))
    assert "a folder, not a recipe" in problem(lambda: load_recipe(tmp_path))
    (tmp_path / "b.yaml").write_bytes(b"stages: \xff")
    assert "not UTF-8 at byte 8" in problem(lambda: load_recipe(tmp_path / "b.yaml"))


def test_aliases_that_unfold_without_bound_are_refused(tmp_path):
    bomb = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    assert "more than 100,000 values" in problem(lambda: load_recipe(written(tmp_path, bomb)))
    assert "more than 100,000 values" in problem(lambda: load_recipe(written(tmp_path, "stages: &a {b: *a}")))


def test_merge_keys_work_as_in_safe_load(tmp_path):
    text = "stages:\n  a: &a {do: x, steps: 1}\n  b:\n    <<: *a\n    steps: 2\n"
    recipe = load_recipe(written(tmp_path, text))
    assert recipe.stages["b"].options == {"steps": 2}
    assert recipe.stages["b"].place("steps").line == 5


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_override_values_are_what_yaml_says(value):
    text = yaml.safe_dump(value)
    path, parsed = parse_override(f"stage.field.deep={text}")
    assert path == ["stage", "field", "deep"]
    assert parsed == yaml.safe_load(text)


@given(st.lists(st.from_regex(r"[a-z_0-9]+", fullmatch=True), min_size=2, max_size=5), st.integers())
def test_override_paths(parts, value):
    assert parse_override(f"{'.'.join(parts)}={value}") == (parts, value)


@pytest.mark.parametrize("text", ["", "a", "a=1", ".b=1", "a.=1", "a..b=1", "=1", "steps 3"])
def test_override_forms_that_are_refused(text):
    assert "not of the form stage.field=value" in problem(lambda: parse_override(text))


def test_overrides_reach_options_inputs_lists_and_new_fields(tmp_path):
    recipe = load_recipe(
        written(tmp_path, RECIPE),
        [
            "model.steps=20",
            "model.optimizer.rate=1e-3",
            "model.inputs.corpus=runs/other",
            "corpus.sources.1.path=c=d",
            "model.schedule.warmup.steps=3",
            "model.out=there",
        ],
    )
    model = recipe.stages["model"]
    assert model.options["steps"] == 20
    assert model.options["schedule"] == {"warmup": {"steps": 3}}
    assert model.inputs["corpus"] == "runs/other"
    assert model.out == "there"
    assert recipe.stages["corpus"].options["sources"][1]["path"] == "c=d"
    assert str(model.place("steps")) == "override 'model.steps=20'"


def test_an_override_stays_in_its_stage(tmp_path):
    """Aliases and merge keys share what they name; a value set in one stage isn't one of the other's."""
    text = (
        "stages:\n  a: &a {do: x, deep: &deep {v: 1}, l: [{v: 1}]}\n  b: *a\n  c: {<<: *a}\n  d: {do: x, deep: *deep}"
    )
    recipe = load_recipe(written(tmp_path, text), ["a.deep.v=2", "a.l.0.v=3", "a.steps=4"])
    assert recipe.stages["a"].options == {"deep": {"v": 2}, "l": [{"v": 3}], "steps": 4}
    for other in "bc":
        assert recipe.stages[other].options == {"deep": {"v": 1}, "l": [{"v": 1}]}
    assert recipe.stages["d"].options == {"deep": {"v": 1}}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("modle.steps=1", "unknown stage 'modle'; expected one of corpus, model; nearest: model"),
        ("corpus.sources.7.path=c", "corpus.sources is a list of 2, and '7' isn't one of its places"),
        ("model.steps.deep=1", "model.steps is 300, which has nothing inside"),
        ("model.steps={a: 1, a: 2}", "the key 'a' repeats"),
        ("model.steps=[", "not valid YAML"),
    ],
)
def test_overrides_that_lead_nowhere(tmp_path, override, expected):
    assert expected in problem(lambda: load_recipe(written(tmp_path, RECIPE), [override]))


def test_a_typo_gives_file_line_key_what_was_expected_and_the_nearest(tmp_path):
    path = written(tmp_path, RECIPE.replace("steps: 300", "stepz: 300"))
    message = problem(lambda: build(Pretrain, load_recipe(path).stages["model"]))
    assert (
        f"{path} line 14: stages.model.stepz: unknown key; expected one of "
        "steps, optimizer, language, do, inputs, out; nearest: steps" in message
    )
    assert f"{path} line 10: stages.model.steps: missing; How many steps." in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.steps=many", "stages.model.steps: expected a whole number; got 'many'"),
        ("model.steps=3", "must be even, because of the pairs; got 3"),
        ("model.optimizer.rte=3", "stages.model.optimizer.rte: unknown key; expected one of rate; nearest: rate"),
        ("model.optimizer.rate=-1", "stages.model.optimizer.rate: must be greater than 0; got -1"),
        ("model.steps=false", "stages.model.steps: expected a number; got False (YAML reads yes, no"),
        ("model.optimizer.rate=yes", "stages.model.optimizer.rate: expected a number; got True"),
        ("model.language=no", "YAML reads yes, no, on and off as true and false"),
    ],
)
def test_bad_values_name_the_override(tmp_path, override, expected):
    message = problem(lambda: build(Pretrain, load_recipe(written(tmp_path, RECIPE), [override]).stages["model"]))
    assert expected in message
    assert f"override '{override}'" in message


def test_inside_a_union_the_right_branchs_keys_are_told(tmp_path):
    path = written(tmp_path, RECIPE.replace("path: b", "pth: b"))
    message = problem(lambda: build(Curate, load_recipe(path).stages["corpus"]))
    assert (
        f"{path} line 9: stages.corpus.sources.1.pth: unknown key; expected one of kind, path; nearest: path" in message
    )
    assert f"{path} line 8: stages.corpus.sources.1.path: missing" in message


def test_config_imports_no_torch():
    import subprocess
    import sys

    script = "import sys, bedplate, bedplate.config, bedplate.ledger; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "False"
