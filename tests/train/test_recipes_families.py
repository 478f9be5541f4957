"""Every recipe of a kind of model runs from raw documents to its last stage, small, and gives a model that opens."""

from __future__ import annotations

import email
import random
from pathlib import Path

import pytest

import bedplate
from bedplate.console import Console
from bedplate.families.encoder_model import EncoderModel
from bedplate.families.model import Model
from bedplate.families.seq2seq_model import Seq2SeqModel

RECIPES = Path(__file__).resolve().parents[2] / "recipes"

# The package that README's examples are tested on, too.
TEXT = (
    f"corpus.sources=[{{folder: '{Path(email.__file__).parent}', include: ['*.py'], license: PSF-2.0}}]",
    "corpus.validation=0.3",
)
SMALL = (
    "model.architecture.hidden_size=64",
    "model.architecture.intermediate_size=128",
    "model.architecture.num_attention_heads=2",
    "model.steps=3",
    "model.schedule.warmup=1",
    "model.batch=4",
    "model.length=64",
    "model.validation_tokens=2000",
)
TWO_LAYERS = ("model.architecture.num_hidden_layers=2",)
SHORT = ("evaluation.max_bytes=5000", "evaluation.samples=2", "evaluation.sample_tokens=8")
TWO_HEADS = ("model.architecture.num_key_value_heads=2",)
KINDS: dict[str, tuple[type, tuple[str, ...]]] = {
    "protein": (EncoderModel, TWO_LAYERS),
    "encoder": (EncoderModel, (*TEXT, *TWO_LAYERS, "tokenizer.vocabulary=600")),
    "encoder-decoder": (Seq2SeqModel, (*TEXT, *TWO_LAYERS, "tokenizer.vocabulary=600")),
    "mixture-of-experts": (Model, (*TEXT, *TWO_LAYERS, *TWO_HEADS, *SHORT, "tokenizer.vocabulary=512")),
    "fill-in-the-middle": (Model, (*TEXT, *TWO_LAYERS, *TWO_HEADS, *SHORT, "tokenizer.vocabulary=512")),
    "recurrent": (Model, (*TEXT, *SHORT, "tokenizer.vocabulary=512")),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_recipe_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    choose = random.Random(0)
    proteins = ["".join(choose.choices("ACDEFGHIKLMNPQRSTVWY", k=choose.randint(30, 120))) for _ in range(60)]
    Path("my.fasta").write_text("".join(f">protein {i}\n{letters}\n" for i, letters in enumerate(proteins)))
    kind, overrides = KINDS[name]
    if name == "protein":  # whose file the user names, as the recipe's first lines say
        overrides = (*overrides, "corpus.sources=[{fasta: my.fasta, license: CC-BY-4.0}]")
    artefacts = bedplate.run(RECIPES / f"{name}.yaml", [*SMALL, *overrides], console=Console.quiet())
    assert artefacts["model"].measures["steps"] == 3
    assert isinstance(bedplate.load(Path("runs") / name / "model"), kind)
