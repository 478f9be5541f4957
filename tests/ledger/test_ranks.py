"""Under torchrun: rank 0 leads, the others take part or wait, and all of them get the artefacts."""

from __future__ import annotations

import json
import subprocess
import sys

from bedplate.ledger import open_artefact

RECIPE = """\
name: ranks
stages:
  alone: {do: "toy_stages:WRITE", text: once}
  all: {do: "toy_stages:TOGETHER", word: here}
  after: {do: "toy_stages:JOIN", inputs: {first: alone}}
"""


def torchrun(folder, *arguments):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "bedplate", "run", "ranks.yaml", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_ranks_share_what_they_should_and_wait_otherwise(tmp_path):
    (tmp_path / "ranks.yaml").write_text(RECIPE)
    done = torchrun(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    runs = tmp_path / "runs/ranks"
    both = open_artefact(runs / "all")
    assert [output.path for output in both.manifest.outputs] == ["rank-0.txt", "rank-1.txt"]
    assert both.measures == {"rank": 0}
    open_artefact(runs / "after").verify()
    assert done.stderr.count("found runs") + done.stderr.count("made runs") == 3  # one voice
    # ... and one answer.
    decoder, text, answers = json.JSONDecoder(), done.stdout.strip(), []
    while text:
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:].strip()
    assert [list(answer) for answer in answers] == [["alone", "all", "after"]]


def test_a_failing_leader_ends_all(tmp_path):
    (tmp_path / "ranks.yaml").write_text('stages: {x: {do: "toy_stages:FAIL", how: bug}}')
    done = torchrun(tmp_path)
    assert done.returncode != 0
    assert "a bug of ours" in done.stderr
