"""Recipes and overrides with every mistake that we could think of: said before anything runs, nothing written."""

from __future__ import annotations

import pytest

CURATE = "{do: curate, sources: [{folder: docs, license: MIT}]}"
BOMB = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)), "stages: *a9"]
)
MERGES = "\n".join(
    [
        "x0: &x0 {a: 1}",
        *(f"x{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 10)}]}}" for n in range(1, 10)),
        "stages: *x9",
    ]
)

# The text of a recipe, and what is said of it. No colon follows a phrase's file name: the line may be named there.
TEXTS = {
    "empty": ("", ["a recipe is a mapping with the keys name and stages", "For example:"]),
    "a list": ("- a\n- b\n", ["a recipe is a mapping"]),
    "no stages": ("name: x\n", ["stages: expected a mapping of stages"]),
    "a name that climbs": (f"name: ../../evil\nstages: {{a: {CURATE}}}", ["line 1: name: '../../evil' can't be"]),
    "a stage that climbs": (f"name: x\nstages: {{../a: {CURATE}}}", ["line 2: stages.../a: not a stage's name"]),
    "a key twice": (
        f"name: x\nstages:\n  a: {CURATE}\n  a: {CURATE}\n",
        ["line 4: the key 'a' repeats that of line 3", "Remove one of the two."],
    ),
    "a tab": ("name: x\nstages:\n\ta: {do: curate}\n", ["line 3: not valid YAML", "'\\t'"]),
    "two documents": ("name: x\n---\nname: y\n", ["line 2: not valid YAML", "another document"]),
    "an unclosed list": ("name: x\nstages: [a\n", ["not valid YAML", "Correct the line."]),
    "a python call": (
        'name: x\nstages: !!python/object/apply:os.system ["touch pwned"]\n',
        ["line 2: not valid YAML", "python/object/apply"],
    ),
    "a python name": ("name: !!python/name:os.system\n", ["line 1: not valid YAML", "python/name"]),
    "an alias bomb": (BOMB, ["more than 100,000 values, aliases unfolded"]),
    "a merge bomb": (MERGES, ["more than 100,000 values, aliases unfolded"]),
    "an alias of itself": ("stages: &a {a: *a}\n", ["aliases unfolded"]),
    "brackets without end": ("stages: " + "[" * 5000 + "]" * 5000, ["nested too deeply"]),
    "a null character": (b"name: x\nstages: \0\n", ["line 2: not valid YAML", "U+0000"]),
    "Latin-1": ("name: café\n".encode("latin-1"), ["not UTF-8 at byte 9", "Save the recipe as UTF-8."]),
    "not a number": (f"stages: {{a: {CURATE[:-1]}, validation: .nan}}}}", ["stages.a.validation", "finite number"]),
    "a number of 5,000 digits": (f"stages: {{a: {CURATE[:-1]}, largest_document: {'9' * 5000}}}}}", ["not valid YAML"]),
    "YAML's no": (
        "stages: {a: {do: curate, sources: [{folder: docs, license: no}]}}",
        ["line 1: stages.a.sources.0.license: expected a text; got False", "quote the word"],
    ),
    "a date": ("stages: {a: {do: curate, sources: 2020-01-01}}", ["stages.a.sources: expected a list"]),
    "a stage that is nothing": ("name: x\nstages: {a: }", ["line 2: stages.a: expected a mapping with the key do"]),
    "a number as key": ("name: x\nstages: {a: {do: curate, 1: 2}}", ["stages.a.1: a key must be a word", "Quote it."]),
    "a list as key": ("stages: {? [a, b] : 1}", ["line 1: a key that isn't a single value"]),
    "an escape sequence as key": (
        f'stages:\n  a: {CURATE[:-1]}, "\\e]0;pwned\\a\\e[31m": 2}}\n',
        ["line 2: stages.a.␛]0;pwned␇␛[31m: unknown key"],
    ),
    "an input of itself": (
        "stages:\n  a: {do: tokenize, inputs: {corpus: c, tokenizer: b}}\n  c: " + CURATE + "\n"
        "  b: {do: train-tokenizer, inputs: {corpus: b}}\n",
        ["line 4: stages.b.inputs.corpus: the stage 'b' makes a tokenizer artefact, where a corpus artefact is needed"],
    ),
}

OVERRIDES = {
    "model.stepz=3": ["stages.model.stepz: unknown key", "nearest: steps"],
    "model.architecture.hiden_size=3": ["stages.model.architecture.hiden_size: unknown key", "nearest: hidden_size"],
    "corpus.sources.0.licence=MIT": ["stages.corpus.sources.0.licence: unknown key", "nearest: license"],
    "modle.steps=3": ["unknown stage 'modle'", "nearest: model"],
    "model.do=pretain": ["stages.model.do: unknown verb 'pretain'", "nearest: pretrain"],
    "model.do=os:system": ["os:system is a builtin_function_or_method, not a bedplate.Stage"],
    "model.do=..x:y": ["'..x:y' is neither a verb nor an import path"],
    "model.do=no_such_module:STAGE": ["no_such_module:STAGE can't be imported"],
    "model.do=broken_module:STAGE": ["broken_module:STAGE can't be imported: ZeroDivisionError", "Mend that module."],
    "model.steps=many": ["stages.model.steps: expected a whole number; got 'many'"],
    "model.steps=-1": ["stages.model.steps: must be greater than 0; got -1"],
    "model.architecture.num_attention_heads=3": ["hidden_size 32 is no multiple of num_attention_heads 3"],
    "corpus.sources=docs": ["stages.corpus.sources: expected a list; got 'docs'"],
    "corpus.sources=[]": ["made differently", "[] asked for"],
    "model.inputs.tokns=tokens": ["stages.model.inputs.tokns: unknown input of pretrain", "nearest: tokens"],
    "model.inputs.tokens=corpus": ["makes a corpus artefact, where a tokens artefact is needed", "make one: tokens."],
    "model.inputs.tokens=tokns": ["'tokns' is neither a stage of this recipe", "nearest: tokens"],
    "model.inputs.tokens=docs": ["stages.model.inputs.tokens: docs: a folder without bedplate.json"],
    "evaluation.tasks=[arc]": ["unknown task 'arc'; expected one of arc_easy"],
    "model.out=docs": ["docs: exists and isn't an artefact of Bedplate's, so it won't be touched"],
    "model.out=tiny.yaml": ["tiny.yaml: exists and isn't an artefact"],
    "model.out=.": [".: an artefact's folder needs a name of its own"],
    "model.out=/": ["/: an artefact's folder needs a name of its own"],
    "model.out=runs/tiny/tokens/in": ["inside the artefact", "Choose a folder outside of it."],
    "model.out=runs/tiny/tokens": ["where the stage 'tokens' writes too"],
    "release.title=other": ["already holds an artefact that was made differently", "title: None there, 'other' asked"],
    "model.steps": ["'model.steps' isn't of the form stage.field=value"],
    "model=3": ["not of the form stage.field=value", "For example: model.steps=400"],
    "model.steps={a: [}": ["not valid YAML"],
    "": ["'' isn't of the form stage.field=value"],
}


@pytest.fixture(scope="module")
def told_of_texts(workshop, perform):
    folder = workshop / "recipes"
    folder.mkdir()
    commands = []
    for number, (text, _) in enumerate(TEXTS.values()):
        path = folder / f"{number}.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        commands.append(["run", path.name])
    said = dict(zip(TEXTS, perform(folder, commands), strict=True))
    assert sorted(path.suffix for path in folder.iterdir()) == [".yaml"] * len(TEXTS), "something was written"
    return said


@pytest.mark.parametrize("what", TEXTS)
def test_a_wrong_recipe(told_of_texts, what):
    told_of_texts[what].is_mistake(*TEXTS[what][1])


@pytest.fixture(scope="module")
def told_of_overrides(workshop, perform):
    (workshop / "broken_module.py").write_text("1 / 0\n")
    before = snapshot(workshop)
    said = dict(zip(OVERRIDES, perform(workshop, [["run", "tiny.yaml", each] for each in OVERRIDES]), strict=True))
    assert snapshot(workshop) == before, "something was written"
    return said


def snapshot(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_wrong_override(told_of_overrides, override):
    told_of_overrides[override].is_mistake(*OVERRIDES[override])


def test_commands_that_name_no_recipe(workshop, perform):
    missing, folder, nothing, verb = perform(
        workshop, [["run", "nowhere.yaml"], ["run", "docs"], ["run"], ["rnu", "tiny.yaml"]]
    )
    missing.is_mistake("nowhere.yaml: no such recipe")
    folder.is_mistake("docs: a folder, not a recipe")
    nothing.is_mistake("Missing argument 'recipe'", "See: bedplate run --help")
    verb.is_mistake("No such command 'rnu'. Did you mean 'run'?")


def test_anchors_and_merges_are_good_yaml(bench, perform):
    (bench / "anchors.yaml").write_text(
        "name: anchors\nstages:\n  a: &a {do: curate, sources: [{folder: docs, license: MIT}], validation: 0.1}\n"
        "  b: {<<: *a, validation: 0.2}\n"
    )
    (said,) = perform(bench, [["run", "anchors.yaml"]])
    said.is_done()
    assert (bench / "runs/anchors/b/bedplate.json").is_file()
