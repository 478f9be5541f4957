"""The command line as a process: answers, exit codes, mistakes, signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import bedplate
from bedplate.pipeline.stages import VERBS

RECIPE = """\
name: toys
stages:
  one: {do: "toy_stages:WRITE", text: first}
  two: {do: "toy_stages:JOIN", inputs: {first: one}}
"""
STOPPED = "stopped; what was finished is kept; run the same command to go on"


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "toys.yaml").write_text(RECIPE)
    return "toys.yaml"


def test_run_and_run_again(cli, recipe, tmp_path):
    first = cli("run", recipe)
    assert first.returncode == 0, first.stderr
    assert first.stdout == ""
    assert "bedplate show runs/toys/two" in first.stderr
    again = cli("--json", "run", recipe)
    answer = json.loads(again.stdout)
    assert [(name, facts["kind"], facts["cached"]) for name, facts in answer.items()] == [
        ("one", "toy", True),
        ("two", "joined", True),
    ]
    assert all(json.loads(line)["event"] for line in again.stderr.splitlines())
    quiet = cli("run", recipe, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_show(cli, recipe, tmp_path):
    cli("run", recipe)
    shown = cli("show", "runs/toys/two", "--verify")
    assert shown.returncode == 0, shown.stderr
    assert "two: a joined artefact in runs/toys/two" in shown.stdout
    assert "first: toy  runs/toys/one" in shown.stdout
    assert "verified: all 1 files" in shown.stdout
    machine = json.loads(cli("show", "runs/toys/two", "--json").stdout)
    assert machine["manifest"]["measures"] == {"parts": 1, "letters": 5}
    assert machine["lineage"]["from"][0]["name"] == "one"
    (tmp_path / "runs/toys/two/text.txt").write_text("other")
    damaged = cli("show", "runs/toys/two", "--verify")
    assert damaged.returncode == 2
    assert "text.txt: its bytes have changed" in damaged.stderr


def test_show_names_its_page(cli, recipe, tmp_path):
    cli("run", recipe)
    page = re.search(r"^page: (.+)$", cli("show", "runs/toys/two").stdout, re.MULTILINE)
    assert page
    assert "</html>" in (tmp_path / page[1]).read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rnu", "x.yaml"], "No such command 'rnu'. Did you mean 'run'?"),
        (["run"], "Missing argument"),
        (["run", "none.yaml"], "none.yaml: no such recipe"),
        (["run", "toys.yaml", "one.txt=x"], "stages.one.txt: unknown key; expected one of text, copies, workers, do"),
        (["run", "toys.yaml", "two"], "'two' isn't of the form stage.field=value"),
        (["curate", "toys.yaml"], "no stage of the recipe does curate"),
        (["pretrain", "toys.yaml", "one", "two"], "one stage at a time; got one, two"),
        (["run", "toys.yaml", "--replac"], "No such option"),
        (["show", "nowhere"], "nowhere: no such artefact"),
        (["evaluate", "."], ".: a folder, not a recipe"),
        (["evaluate", "toys.yaml", "--limit", "3"], "--limit and --data belong to --tasks"),
    ],
)
def test_mistakes_exit_with_2_and_say_what_to_do(cli, recipe, arguments, expected):
    done = cli(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    told = [json.loads(line) for line in cli("--json", *arguments).stderr.splitlines()]
    assert told[-1]["event"] == "error"
    assert expected in told[-1]["problem"]


def test_our_faults_exit_with_1_and_a_traceback(cli, tmp_path):
    (tmp_path / "bug.yaml").write_text('stages: {x: {do: "toy_stages:FAIL", how: bug}}')
    done = cli("run", "bug.yaml")
    assert done.returncode == 1
    assert "this is our fault, not yours: ValueError: a bug of ours" in done.stderr
    assert "Traceback" in done.stderr


def test_a_stage_may_lie_in_the_working_directory(cli, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from pydantic import Field\n"
        "from bedplate import Config, Stage\n"
        "class MyConfig(Config):\n    word: str = Field(description='A word.')\n"
        "def work(config, inputs, work):\n    (work.path / 'word.txt').write_text(config.word)\n"
        "MINE = Stage('mine', 1, 'word', MyConfig, {}, 'mine:work')\n"
    )
    (tmp_path / "mine.yaml").write_text('stages: {x: {do: "mine:MINE", word: hello}}')
    # As the installed command is run: without the working directory on the path.
    script = "import sys; sys.path = [p for p in sys.path if p]; from bedplate.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, "run", "mine.yaml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/mine/x/word.txt").read_text() == "hello"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_stop_in_order_and_the_same_command_goes_on(tmp_path, number, code):
    (tmp_path / "slow.yaml").write_text('name: s\nstages: {x: {do: "toy_stages:SLOW", parts: 40, pause_s: 0.05}}')
    command = [sys.executable, "-m", "bedplate", "run", "slow.yaml"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("runs/s/x.partial-*/part-3.txt")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, text = process.communicate(timeout=30)
    assert process.returncode == code, text
    assert STOPPED in text
    assert "Traceback" not in text
    assert not (tmp_path / "runs/s/x").exists()
    done = subprocess.run([*command, "x.pause_s=0"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "wrote 0\n" not in done.stderr
    assert (tmp_path / "runs/s/x/part-39.txt").exists()


def test_a_reader_that_stops_reading_is_no_error(cli, recipe, tmp_path):
    cli("run", recipe)
    line = f"{sys.executable} -m bedplate show runs/toys/two | head -1"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert "two: a joined artefact" in done.stdout
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_version(cli):
    assert cli("--version").stdout == f"bedplate {bedplate.__version__}\n"


def test_the_version_is_pyprojects():
    import tomllib
    from pathlib import Path

    pyproject = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())
    assert bedplate.__version__ == pyproject["project"]["version"]


def test_help_is_a_manual(cli):
    shown = cli("--help")
    assert shown.returncode == 0
    for word in (*VERBS, "run", "export", "merge", "fertility", "chat", "serve", "label", "labels"):
        assert word in shown.stdout
    for phrase in ("bedplate run recipes/quickstart.yaml", "Exit codes", "--json", "doctor"):
        assert phrase in shown.stdout
    assert cli().stdout == shown.stdout


@pytest.mark.parametrize("verb", [*VERBS, "export", "merge", "fertility", "chat", "serve", "label"])
def test_every_verb_has_help_with_an_example(cli, verb):
    shown = cli(verb, "--help")
    assert shown.returncode == 0, shown.stderr
    assert "Example" in shown.stdout
    if verb in VERBS:
        assert f"In a recipe: do: {verb}, which makes a" in shown.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["pretrain", "--help"], ["--version"], ["show", "nowhere"]])
def test_light_commands_load_no_torch(arguments):
    script = (
        "import sys\nfrom bedplate.cli.entry import main\n"
        f"main({arguments!r})\n"
        "print('loaded', [m for m in ('torch', 'transformers', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ)
    assert "loaded []" in done.stdout, done.stdout + done.stderr


def test_importing_bedplate_loads_next_to_nothing():
    script = "import sys, bedplate; print([m for m in ('torch', 'pydantic', 'numpy', 'yaml') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"


def test_public_names():
    assert set(bedplate.__all__) <= set(dir(bedplate))
    assert bedplate.Config.__name__ == "Config"
    assert bedplate.open_artefact.__name__ == "open_artefact"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = bedplate.nothing
