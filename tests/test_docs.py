"""The manual is true: blocks of add-a-family.md are the files that they say, examples run, fields of stages are valid,
tables name what there is.

In the pages below a fenced block says above it what holds it to the truth: `<!-- test -->` (it runs, in the page's
order, in a folder of tiny models), `<!-- file: PATH -->`, `<!-- part of: PATH -->`, `<!-- fields of VERB -->`, or
`<!-- not tested: why -->`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("add-a-family", "corpora", "data", "families", "objectives", "tokenizers")
BLOCK = re.compile(r"(?P<marker><!--[^>]*-->)?\n```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
TEXTS = ["the enzyme photosynthesis of the leaf is the sum of light and dark steps", "ribosomes read the message"] * 4


@dataclass(frozen=True)
class Example:
    """A fenced block, where it stands, and what the comment above it says."""

    page: str
    line: int
    says: str
    language: str
    body: str


def _examples() -> list[Example]:
    found = []
    for page in PAGES:
        text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
        for m in BLOCK.finditer(text):
            says = (m["marker"] or "").removeprefix("<!--").removesuffix("-->").strip()
            line = text.count("\n", 0, m.start("language")) + 1
            found.append(Example(page, line, says, m["language"], m["body"]))
    return found


def _that(says: str) -> list[Example]:
    return [example for example in EXAMPLES if example.says.startswith(says)]


def _name(example: Example) -> str:
    return f"{example.page} line {example.line}"


EXAMPLES = _examples()


def test_every_block_says_what_holds_it() -> None:
    known = ("test", "file: ", "part of: ", "fields of ", "not tested: ")
    assert [_name(e) for e in EXAMPLES if not e.says.startswith(known)] == []


@pytest.mark.parametrize("example", _that("file: "), ids=_name)
def test_a_shown_file_is_the_file(example: Example) -> None:
    assert example.body == (ROOT / example.says.removeprefix("file: ")).read_text(encoding="utf-8")


@pytest.mark.parametrize("example", _that("part of: "), ids=_name)
def test_a_shown_part_is_in_the_file(example: Example) -> None:
    assert example.body in (ROOT / example.says.removeprefix("part of: ")).read_text(encoding="utf-8")


@pytest.mark.parametrize("example", _that("fields of "), ids=_name)
def test_shown_fields_are_valid(example: Example) -> None:
    from bedplate.pipeline.verbs import config_class

    config = config_class(example.says.removeprefix("fields of ")).model_validate(yaml.safe_load(example.body))
    assert config.model_fields_set


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", text)
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_the_manual_lists_every_page() -> None:
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs/README.md").read_text(encoding="utf-8")))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


def _first_column(page: str, column: int) -> set[str]:
    """What stands in backticks in a column of the page's tables."""
    rows = [line.split("|") for line in (ROOT / f"docs/{page}.md").read_text(encoding="utf-8").splitlines()]
    return {name for row in rows if len(row) > column + 1 for name in re.findall(r"`([^`]+)`", row[column])}


def test_every_family_stands_in_the_table() -> None:
    from bedplate.families.registry import ENCODER_DECODERS, ENCODERS, FAMILIES

    listed = _first_column("families", 2) - {"model_type"}
    assert listed == {*FAMILIES, *ENCODERS, *ENCODER_DECODERS}


def test_every_objective_stands_in_the_tables() -> None:
    from bedplate.train.objective_config import FITS

    first = _first_column("objectives", 1) - {"name"}
    assert {name for names in FITS.values() for name in names} <= first
    classes = {name for name in first if "." in name and name != "bedplate.objectives"}
    files = {path.stem for path in (ROOT / "src/bedplate/objectives").glob("*.py")}
    assert {name.partition(".")[0] for name in classes} == files - {"__init__", "term", "hooks", "prediction"}


def test_every_kind_of_tokenizer_stands_in_the_tables() -> None:
    from typing import get_args

    from bedplate.data.train_tokenizer import Kind, Scheme

    assert {*get_args(Kind), *get_args(Scheme)} <= _first_column("tokenizers", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny models and texts that the pages name."""
    made = tmp_path_factory.mktemp("manual")
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    encoder = {**shape, "max_position_embeddings": 64}
    _model(made / "models/bert", "bert", "wordpiece", head="masked", **encoder)
    _model(made / "models/minilm", "bert", "wordpiece", **encoder)
    _model(made / "models/classifier", "bert", "wordpiece", head="classes", labels=("plants", "animals"), **encoder)
    _model(made / "models/tagger", "bert", "wordpiece", head="token-classes", labels=("O", "NOUN"), **encoder)
    _model(made / "models/t5", "t5", "unigram", head_dim=8, **shape)
    _model(made / "models/starcoder2", "starcoder2", "bpe", num_key_value_heads=2, **shape)
    (made / "english.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    (made / "german.txt").write_text("das Blatt ist dunkel\n", encoding="utf-8")
    return made


def _model(folder: Path, model_type: str, kind: str, **shape: object) -> None:
    from bedplate.codecs.text import TextTokenizer
    from bedplate.data.train_tokenizer import TrainTokenizerConfig, train
    from bedplate.families.configs import config_class
    from bedplate.families.opening import model_of
    from bedplate.families.registry import any_family_of
    from bedplate.nn.initialise import initialise

    asked = TrainTokenizerConfig(kind=kind, vocabulary={"unigram": 420, "wordpiece": 75}.get(kind, 290))
    tokenizer = TextTokenizer(train(asked, lambda: iter([TEXTS])).to_str(), dict(asked.special_tokens.roles))
    tokens = {"eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    config = config_class(model_type).model_validate({**shape, **tokens, "vocab_size": tokenizer.vocab_size})
    net = any_family_of(model_type, "").build(config)
    initialise(net, 0)
    model_of(config, net, tokenizer).save(folder)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(e.page == page for e in _that("test"))])
def test_examples_run(page: str, folder: Path) -> None:
    environment = {
        **os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    for example in _that("test"):
        if example.page != page:
            continue
        shell = {"python": [sys.executable, "-c"], "bash": ["bash", "-euo", "pipefail", "-c"]}[example.language]
        done = subprocess.run(
            [*shell, example.body], cwd=folder, env=environment, input="", capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{_name(example)}:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
