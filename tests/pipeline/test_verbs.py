"""The verbs: each resolves to a stage that is declared as the design says, and is a function too."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bedplate
from bedplate.config import Config
from bedplate.errors import RecipeError
from bedplate.pipeline.describe import describe_verb
from bedplate.pipeline.stages import VERBS, verb_stage

KINDS = {
    "curate": "corpus",
    "train-filter": "filter",
    "synthesize": "corpus",
    "train-tokenizer": "tokenizer",
    "tokenize": "tokens",
    "pretrain": "run",
    "evaluate": "report",
    "release": "release",
    "import": "model",
    "extend": "model",
    "python-docs": "task",
    "index": "index",
    "adapt": "prompt|probe|adapter|model|baseline",
    "compare": "report",
}
FUNCTIONS = {"import": "import_model", "extend": "extend_model"}  # the first is a name that Python keeps for itself


def test_every_verb_is_declared():
    assert set(VERBS) == set(KINDS)


@pytest.mark.parametrize("verb", VERBS)
def test_stage_is_what_it_says(verb):
    stage = verb_stage(verb)
    assert (stage.name, stage.kind) == (verb, KINDS[verb])
    assert issubclass(stage.config, Config)
    assert callable(getattr(bedplate.verbs, FUNCTIONS.get(verb, verb.replace("-", "_"))))
    assert bedplate.verbs.config_class(verb) is stage.config
    for field in describe_verb(verb).fields:
        assert field.text


def test_the_other_commands_are_functions_too():
    """As README says: each verb is a Python function. Fetched on first use, since some of them bring torch."""
    names = ("run", "import_model", "export_model", "merge_adapter", "index_documents", "chat", "serve")
    names += ("label", "label_agreement", "export_examples", "export_label_studio", "import_label_studio")
    for name in (*names, "extend_model", "fertility_of_files", "evaluate_model", "evaluate_text", "show", "doctor"):
        assert callable(getattr(bedplate.verbs, name))
        assert name in dir(bedplate.verbs)
    with pytest.raises(AttributeError, match="no attribute 'shwo'"):
        _ = bedplate.verbs.shwo


def test_declarations_import_nothing_heavy():
    """A recipe is checked, and help shown, before torch is paid for."""
    script = (
        "import sys\nfrom bedplate.pipeline.stages import VERBS, verb_stage\n"
        "for verb in VERBS:\n    verb_stage(verb)\n"
        "heavy = ('torch', 'transformers', 'pyarrow', 'tokenizers', 'lancedb', 'sklearn', 'starlette')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


def test_a_verbs_function_checks_its_options(tmp_path):
    with pytest.raises(RecipeError, match=r"stages\.corpus\.sourcez: unknown key") as caught:
        bedplate.verbs.curate({"sourcez": 1}, {}, tmp_path / "corpus")
    # In a recipe `do`, `inputs` and `out` stand beside the options; here they would be wrong.
    assert "expected one of sources, largest_document, on_error, " in str(caught.value)
    assert "; nearest: sources" in str(caught.value)
