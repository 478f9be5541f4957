"""What stands around the command line: pipes that close, disks that fill, machines that read, `--help`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

NEEDS_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
BEDPLATE = f"{sys.executable} -m bedplate"


@pytest.fixture(scope="module")
def shell(workshop, perform):
    """`shell(line)`: what bash made of a command line, in which `bedplate` is the command."""

    def run(line: str) -> subprocess.CompletedProcess[str]:
        script = f'bedplate() {{ {BEDPLATE} "$@"; }}\n{line}'
        return subprocess.run(["bash", "-c", script], cwd=workshop, capture_output=True, text=True, timeout=120)

    return run


SHOW, RUN = "bedplate show runs/tiny/tokenizer", "bedplate run tiny.yaml"


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        (f"{SHOW} | head -1", "141 0"),
        ("bedplate --help | head -1", "141 0"),
        (f"{RUN} 2>&1 | head -1", "0 0"),
        ("bedplate --json run tiny.yaml 2>&1 >/dev/null | head -c 5", "0 0"),
        ("bedplate chat runs/tiny/release --raw --prompt the --max-tokens 400 | head -c 1", "141 0"),
    ],
)
def test_a_reader_that_has_seen_enough(shell, line, codes):
    done = shell(f"{line} >/dev/null; echo ${{PIPESTATUS[*]}}")
    assert done.stdout.strip() in (codes, codes.replace("141", "0")), done  # 0: it had all been written by then
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&- <&-", pytest.param("2>/dev/full", marks=NEEDS_FULL)])
def test_closed_or_full_streams_don_t_stop_the_work(shell, streams):
    done = shell(f"{RUN} {streams}")
    assert done.returncode == 0, done
    assert "Traceback" not in done.stderr


@NEEDS_FULL
@pytest.mark.parametrize("command", [SHOW, "bedplate --json run tiny.yaml --quiet"])
def test_an_answer_that_can_t_be_written(shell, command):
    done = shell(f"{command} >/dev/full")
    assert done.returncode == 2, done
    assert "error: what was to be written: No space left on device" in done.stderr or '"event": "error"' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_the_terminal_s_encoding_lacks(shell):
    done = shell("mv runs/tiny/tokens runs/tiny/日本 && PYTHONIOENCODING=ascii bedplate show runs/tiny/日本")
    assert done.returncode == 0, done
    assert "tokens: a tokens artefact in runs/tiny/" in done.stdout
    shell("mv runs/tiny/日本 runs/tiny/tokens")


JSON = {
    "run tiny.yaml": dict,
    "show runs/tiny/model --verify": dict,
    "export runs/tiny/release out": dict,
    "import out in": dict,
}


def test_machines_are_answered_in_json(workshop, perform):
    """One JSON document on stdout; on stderr one JSON object a line."""
    for said, kind in zip(perform(workshop, [["--json", *line.split()] for line in JSON]), JSON.values(), strict=True):
        assert said.code == 0, said
        assert isinstance(json.loads(said.out), kind)
        assert all("event" in json.loads(line) for line in said.err.splitlines())
    wrong = ["run nowhere.yaml", "show nowhere", "chat nowhere", "import nowhere out", "--nonsense", "run"]
    for said in perform(workshop, [["--json", *line.split()] for line in wrong]):
        assert (said.code, said.out) == (2, "")
        last = json.loads(said.err.splitlines()[-1])
        assert (last["event"], bool(last["problem"])) == ("error", True)


def test_quiet_is_quiet(workshop, perform):
    for said in perform(workshop, [["--quiet", "run", "tiny.yaml"], ["export", "runs/tiny/release", "q", "--quiet"]]):
        assert (said.code, said.out, said.err) == (0, "", "")


def test_open_without_a_browser(shell):
    done = shell(
        f"/usr/bin/env -u DISPLAY -u WAYLAND_DISPLAY BROWSER=none PATH=/nowhere {BEDPLATE} show runs/tiny/model --open"
    )
    assert done.returncode == 0, done
    assert done.stderr == "warning: there is no browser to open it in\n"
    assert "page: " in done.stdout


def test_the_evaluation_s_answer_is_a_table_and_a_sentence(bench, perform):
    (said,) = perform(bench, [["run", "tiny.yaml", "evaluation.out=again"]])
    said.is_done()
    lines = said.err.splitlines()
    first = lines.index(next(line for line in lines if line.startswith("held-out text coded by")))
    assert lines[first].split("  ")[1:3] == ["bits per byte", "95% interval"]
    names = [line.split("  ")[0] for line in lines[first + 2 : first + 9]]
    assert names == [
        "the model",
        "5-gram (same tokens)",
        "5-gram (all tokens)",
        "gzip -9",
        "gzip -9 (one stream)",
        "xz -9",
        "xz -9 (one stream)",
    ]
    assert lines[first + 9].startswith("The model needs ")
    assert max(len(line) for line in lines if "bedplate " not in line and "The model needs" not in line) <= 110
