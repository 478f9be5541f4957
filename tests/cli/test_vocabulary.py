"""`bedplate extend` and `bedplate fertility` as processes: what they make, what they say, what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from bedplate.cli.app import app
from bedplate.codecs.text import TextTokenizer
from bedplate.data.train_tokenizer import TrainTokenizerConfig, train
from bedplate.errors import UserError
from bedplate.ledger import open_artefact

TEXTS = ["the enzyme photosynthesis of the leaf is the sum of light and dark steps"] * 4


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    config = TrainTokenizerConfig(vocabulary=290)
    return TextTokenizer(train(config, lambda: iter([TEXTS])).to_str(), config.special_tokens.roles)


@pytest.fixture
def model(tmp_path: Path, tokenizer: TextTokenizer) -> Path:
    """A Hugging Face folder of a tiny random Llama, `base` in the working directory."""
    from bedplate.families.llama import build
    from bedplate.families.llama_config import LlamaConfig
    from bedplate.families.model import Model
    from bedplate.nn.initialise import initialise

    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=tokenizer.vocab_size, bos_token_id=tokenizer.bos_id, eos_token_id=tokenizer.eos_id,
    )  # fmt: skip
    net = build(config)
    initialise(net, 0)
    Model(config, net, tokenizer).save(tmp_path / "base")
    return tmp_path / "base"


def test_extend_makes_a_model_artefact(cli, model, tmp_path, tokenizer):
    (tmp_path / "words.txt").write_text("photosynthesis\n\nribosome\r\n", encoding="utf-8")
    done = cli("extend", "base", "more", "--token", "鋼", "--tokens", "words.txt", "--multiple", "64")
    assert done.returncode == 0, done.stderr
    assert "'photosynthesis' is token" in done.stderr
    made = open_artefact(tmp_path / "more", "model")
    made.verify()
    facts = made.measures["extension"]
    assert [added["token"] for added in facts["added"]] == ["鋼", "photosynthesis", "ribosome"]
    assert (facts["rows_before"], facts["rows"]) == (tokenizer.vocab_size, 320)
    assert made.measures["certificate"]["greatest_logit_error"] == 0
    assert [(source.kind, source.path) for source in made.manifest.inputs] == [("raw", "../base")]
    again = TextTokenizer.load(tmp_path / "more")
    assert len(again.encode("photosynthesis")) == 1

    # An artefact is taken as such, from a recipe too; what is made is found.
    stage = {"do": "extend", "inputs": {"model": "more"}, "tokens": ["<|turn|>"], "special": True, "out": "most"}
    (tmp_path / "extend.yaml").write_text(yaml.safe_dump({"name": "e", "stages": {"most": stage}}))
    run = cli("run", "extend.yaml")
    assert run.returncode == 0, run.stderr
    said = cli("--json", "extend", "more", "most", "--token", "<|turn|>", "--special")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["cached"] is True
    assert open_artefact(tmp_path / "most").manifest.inputs[0].digest == made.digest


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["base", "more"], "no token to add"),
        (["base", "more", "--token", "the"], "token 'the' is in the vocabulary"),
        (["base", "more", "--token", "zq", "--token", "zq"], "token 'zq' is given twice"),
        (["base", "more", "--token", " "], "only white space"),
        (["base", "more", "--tokens", "none.txt"], "none.txt: can't be read"),
        (["base", "more", "--tokens", "latin.txt"], "latin.txt: not UTF-8 at byte 4"),
        (["nowhere", "more", "--token", "zq"], "nowhere: no such file or folder"),
    ],
)
def test_extend_says_what_is_wrong_and_makes_nothing(model, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.txt").write_bytes("Stra\u00dfe".encode("latin-1"))
    assert expected in _mistake("--quiet", "extend", *arguments)
    assert not (tmp_path / "more").exists()


def _mistake(*arguments: str) -> str:
    """What a command says is wrong and how to mend it, without a process for it."""
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, UserError), error
    assert error.exit_code == 2
    assert error.fix
    return error.problem


def test_a_mistake_is_told_plainly(cli, tmp_path):
    done = cli("fertility", tmp_path, "--text", "en.txt")
    assert done.returncode == 2
    assert "--text en.txt: not of the form LANGUAGE=FILE" in done.stderr
    assert "Traceback" not in done.stderr


def test_fertility_prints_a_table_or_json(cli, tmp_path, tokenizer):
    tokenizer.save(tmp_path / "bpe")
    found = TrainTokenizerConfig(kind="bytes", vocabulary=400)
    TextTokenizer(train(found, lambda: iter([])).to_str(), found.special_tokens.roles).save(tmp_path / "bytes")
    (tmp_path / "en.txt").write_text("\n".join(TEXTS) + "\n\n", encoding="utf-8")
    (tmp_path / "zh.txt").write_text("光合作用\n", encoding="utf-8")
    arguments = ("fertility", "bpe", "bytes", "--text", "en=en.txt", "--text", "zh=zh.txt")
    shown = cli(*arguments)
    assert shown.returncode == 0, shown.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown.stdout.splitlines()]
    assert [row[:2] for row in rows[2:]] == [["en", "bpe"], ["en", "bytes"], ["zh", "bpe"], ["zh", "bytes"]]
    facts = json.loads(cli("--json", *arguments).stdout)
    assert facts[0]["texts"] == 4
    assert facts[3]["per_word"] == 3.0  # a letter is a word here, of three bytes
    assert rows[2][2] == f"{facts[0]['per_word']:.3f}"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["bpe"], "no text to measure"),
        (["bpe", "--text", "en.txt"], "--text en.txt: not of the form LANGUAGE=FILE"),
        (["bpe", "--text", "en=en.txt", "--text", "en=en.txt"], "--text en is given twice"),
        (["bpe", "bpe", "--text", "en=en.txt"], "bpe is given twice"),
        (["bep", "--text", "en=en.txt"], "bep: no such folder; nearest: bpe"),
        (["en.txt", "--text", "en=en.txt"], "en.txt: a file, not a folder"),
        (["other", "--text", "en=en.txt"], "other: no tokenizer.json"),
        (["bpe", "--text", "en=none.txt"], "none.txt: can't be read"),
        (["bpe", "--text", "en=empty.txt"], "empty.txt: no text in it"),
    ],
)
def test_fertility_says_what_is_wrong(tmp_path, monkeypatch, tokenizer, arguments, expected):
    monkeypatch.chdir(tmp_path)
    tokenizer.save(tmp_path / "bpe")
    (tmp_path / "other").mkdir()
    (tmp_path / "en.txt").write_text("a text", encoding="utf-8")
    (tmp_path / "empty.txt").write_text(" \n", encoding="utf-8")
    assert expected in _mistake("fertility", *arguments)
