"""Recipes run: order, checks before anything runs, reuse, summary, next commands."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

import bedplate
from bedplate.console import Console
from bedplate.errors import ArtefactError, InputError, RecipeError
from bedplate.pipeline.next_commands import next_commands
from bedplate.pipeline.plan import plan, upto

RECIPE = """\
name: toys
stages:
  last:
    do: toy_stages:JOIN
    inputs: {first: both, others: [one]}
  both:
    do: toy_stages:JOIN
    inputs: {first: one, others: [two, one]}
    separator: "-"
  one: {do: "toy_stages:WRITE", text: first}
  two: {do: "toy_stages:WRITE", text: second, copies: 2}
  three: {do: "toy_stages:WRITE", text: third}
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "toys.yaml"
    path.write_text(RECIPE)
    return path


def run(recipe, *overrides, **options):
    return bedplate.run(recipe, overrides, console=Console.quiet(), **options)


def test_runs_in_the_order_of_the_inputs_and_finds_all_again(recipe):
    made = run(recipe)
    assert list(made) == ["one", "two", "both", "last", "three"]
    assert str(made["last"].path) == "runs/toys/last"
    assert made["last"].file("text.txt").read_text() == "first-secondsecond-first first"
    assert not any(artefact.cached for artefact in made.values())
    assert all(artefact.cached for artefact in run(recipe).values())


def test_a_change_runs_what_depends_on_it_and_nothing_else(recipe):
    run(recipe)
    with pytest.raises(ArtefactError, match=r"runs/toys/two: already holds .*\n  copies: 2 there, 3 asked for"):
        run(recipe, "two.copies=3")
    made = run(recipe, "two.copies=3", replace=True)
    assert {name: artefact.cached for name, artefact in made.items()} == {
        "one": True,
        "two": False,
        "both": False,
        "last": False,
        "three": True,
    }


def test_a_later_stages_missing_sources_are_told_before_an_earlier_one_runs(recipe):
    recipe.write_text(RECIPE + '  four: {do: "toy_stages:READ", path: nowhere.txt}\n')
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt"):
        run(recipe)
    assert not recipe.with_name("runs").exists()


def test_sources_that_an_earlier_stage_makes_are_waited_for(recipe):
    recipe.write_text(RECIPE + '  zz: {do: "toy_stages:READ", path: runs/toys/one/text.txt}\n')
    assert run(recipe)["zz"].file("text.txt").read_text() == "first"


TRAINING = """\
name: foreseen
stages:
  corpus: {do: curate, sources: [{folder: raw, license: MIT}]}
  tokenizer: {do: train-tokenizer, inputs: {corpus: corpus}}
  tokens: {do: tokenize, inputs: {corpus: corpus, tokenizer: tokenizer}}
  model:
    do: pretrain
    inputs: {tokens: tokens}
    steps: 2
    length: 32
    architecture: {hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2,
                   max_position_embeddings: 64}
  evaluation: {do: evaluate, inputs: {run: model, tokens: tokens, corpus: corpus}}
"""


@pytest.mark.parametrize(
    ("overrides", "error", "says"),
    [
        (["corpus.sources.0.folder=nowhere"], InputError, "nowhere: no such file or folder"),
        (["evaluation.tasks=[piqa]", "evaluation.task_data=raw"], InputError, "task piqa: no .* in raw"),
        (["evaluation.context=65"], RecipeError, "stages.evaluation: context 65: the model is made for at most 64"),
        (["evaluation.stride=33"], RecipeError, "stages.evaluation: stride 33 with context 32"),
        (["evaluation.stride=9", "evaluation.context=8"], RecipeError, "stride 9 with context 8"),
        (["model.length=65"], RecipeError, "length 65 is more than architecture.max_position_embeddings 64"),
    ],
)
def test_what_can_be_known_beforehand_is_told_beforehand(recipe, overrides, error, says):
    recipe.write_text(TRAINING)
    (recipe.parent / "raw").mkdir()
    (recipe.parent / "raw" / "a.txt").write_text("text")
    with pytest.raises(error, match=says):
        run(recipe, *overrides)
    assert not (recipe.parent / "runs").exists()


def test_one_stage_with_what_it_needs(recipe):
    assert list(run(recipe, stage="both")) == ["one", "two", "both"]
    with pytest.raises(RecipeError, match=r"no stage 'bth' in the recipe; expected one of .*nearest: both"):
        run(recipe, stage="bth")


def test_a_verb_finds_its_stage(recipe):
    assert list(run(recipe, verb="write", stage="three")) == ["three"]
    with pytest.raises(RecipeError, match="several stages of the recipe do write: one, two, three"):
        run(recipe, verb="write")
    with pytest.raises(RecipeError, match="no stage of the recipe does curate"):
        run(recipe, verb="curate")
    with pytest.raises(RecipeError, match="the stage 'both' does join, not write"):
        run(recipe, verb="write", stage="both")


def test_artefacts_from_elsewhere_and_folders_of_ones_own(recipe, tmp_path):
    run(recipe, "one.out=there/one", stage="one")
    made = run(recipe, "both.inputs.first=there/one", stage="both")
    assert made["both"].manifest.inputs[0].path == "../../../there/one"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["one.do=curat"], "override 'one.do=curat': stages.one.do: unknown verb 'curat'"),
        (["one.do=toy_stages:NONE"], "toy_stages:NONE can't be imported: module 'toy_stages' has no attribute"),
        (["one.do=no_such_module:X"], "no_such_module:X can't be imported: No module named"),
        (["one.do=toy_stages:slow"], "toy_stages:slow is a function, not a bedplate.Stage"),
        (["last.textt=x"], "stages.last.textt: unknown key; expected one of separator, do, inputs, out"),
        (
            ["both.inputs.frist=one"],
            "unknown input of toy_stages:JOIN; expected one of first, others, aside; near",
        ),
        (["both.inputs={}"], "stages.both.inputs.first: missing; toy_stages:JOIN needs a toy or joined artefact"),
        (["both.inputs.first=[one, two]"], "stages.both.inputs.first: takes one artefact, not a list"),
        (["last.inputs.others=[both]"], "the stage 'both' makes a joined artefact, where a toy artefact is needed"),
        (
            ["last.inputs.first=bohh"],
            "(last, both, one, two, three) nor a folder; nearest: both",
        ),
        (["last.inputs.first=toys.yaml"], "stages.last.inputs.first: toys.yaml: a file, not an artefact"),
        (["both.inputs.first=last"], "stages need each other in a circle: last <- both <- last"),
        (["both.inputs.first=both"], "stages need each other in a circle: both <- both"),
        (["one.out=x", "two.out=./x"], "where the stage 'one' writes too"),
    ],
)
def test_mistakes_are_found_before_anything_runs(recipe, tmp_path, overrides, expected):
    with pytest.raises((RecipeError, ArtefactError)) as caught:
        run(recipe, *overrides)
    assert expected in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_an_input_of_the_wrong_kind_from_elsewhere(recipe, tmp_path):
    run(recipe, stage="both")
    with pytest.raises(ArtefactError, match=r"stages\.last\.inputs\.others: runs/toys/both: a joined artefact"):
        run(recipe, "last.inputs.others=[runs/toys/both]")


def test_the_summary_names_every_stage_and_what_to_do_next(recipe):
    stream = io.StringIO()
    bedplate.run(recipe, console=Console.plain(stream))
    text = stream.getvalue()
    table = text[text.index("stage  ") :]
    assert [line.split()[0] for line in table.splitlines()[2:7]] == ["one", "two", "both", "last", "three"]
    assert "letters 12" in table
    assert "bedplate show runs/toys/three" in table


@pytest.fixture
def fake(tmp_path):
    """What `next_commands` looks at in an artefact, without the work of making one."""

    def make(kind, name, stage, *, template=False, **facts):
        folder = tmp_path / name
        folder.mkdir()
        if template:
            (folder / "chat_template.jinja").write_text("{{ messages }}")
        manifest = SimpleNamespace(stage=stage)
        return SimpleNamespace(kind=kind, path=folder, manifest=manifest, measures={}, config={}, **facts)

    return make


def said(*artefacts):
    return [" ".join(command) for command, _ in next_commands(artefacts)]


def test_next_commands_fit_the_model(fake, tmp_path):
    plain = said(fake("release", "plain", "release"), fake("report", "report", "evaluate"))
    assert f"bedplate chat {tmp_path}/plain --raw" in plain
    assert f"bedplate show {tmp_path}/report --open" in plain
    assert f"bedplate chat {tmp_path}/chatty" in said(fake("model", "chatty", "import", template=True))
    assert said() == []


@pytest.mark.parametrize(
    ("model_type", "first", "export"),
    [
        ("llama", "chat {} --raw", "export {} {}-gguf --format gguf"),
        ("gpt2", "chat {} --raw", "export {} {}-hf --format hf"),
        ("bedplate-mixer", "chat {} --raw", None),
        ("bert", "serve {}", "export {} {}-hf --format hf"),
        ("t5", "show {} --open", "export {} {}-hf --format hf"),
    ],
)
def test_next_commands_fit_what_was_trained(fake, model_type, first, export):
    """Encoders and encoder-decoders don't chat, and GGUF says few families."""
    run = fake("run", "run", "pretrain")
    (run.path / "model").mkdir()
    (run.path / "model" / "config.json").write_text(f'{{"model_type": "{model_type}"}}')
    commands = said(run)
    assert commands[0] == f"bedplate {first.format(run.path)}"
    exported = [command for command in commands if " export " in command]
    assert exported == ([f"bedplate {export.format(run.path, run.path)}"] if export else [])


def test_next_commands_fit_what_was_adapted(fake, tmp_path):
    base = fake("model", "base", "import", template=True)
    encoder = fake("model", "encoder", "import")
    encoder.measures["architecture"] = "encoder"
    index = fake("index", "index", "index")
    answers = fake("prompt", "answers", "adapt")
    answers.config["way"] = {"way": "retrieval"}
    report = fake("report", "comparison", "compare")
    assert said(base, encoder, index)[0] == f"bedplate chat {tmp_path}/base"
    assert f"bedplate chat {tmp_path}/index --base {tmp_path}/base" in said(base, encoder, index)
    commands = said(base, encoder, index, answers, report)
    assert commands[:2] == [f"bedplate show {tmp_path}/comparison --open", f"bedplate chat {tmp_path}/answers"]
    assert f"bedplate serve {tmp_path}/base {tmp_path}/answers" in commands


def test_plan_keeps_the_recipes_order_where_it_may(recipe):
    from bedplate.config import load_recipe

    steps = plan(load_recipe(recipe))
    assert [step.name for step in steps] == ["one", "two", "both", "last", "three"]
    assert [step.name for step in upto(steps, "two")] == ["two"]


def test_the_summary_shows_the_telling_measures(recipe):
    from bedplate.pipeline.runner import key_measures

    made = run(recipe, stage="one")["one"]
    measures = {
        "flops": 10**15,
        "train": {"loss": 2.34567, "bits_per_byte": 1.5},
        "placement": {"device": "cpu", "compiled": True},
        "steps": 12_345,
        "mfu": 0.3,
        "sources": {"a": {"kept": 3}},
    }
    shown = made.__class__(made.path, made.manifest.model_copy(update={"measures": measures}))
    assert key_measures(shown) == "train bits per byte 1.5, train loss 2.346, steps 12,345"
