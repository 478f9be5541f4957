"""The verbs: where each stage is declared. A recipe may name a stage from outside as "some.module:STAGE"."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

from bedplate.config.nearest import expected_one_of
from bedplate.config.recipe import StageEntry
from bedplate.errors import RecipeError
from bedplate.ledger.stage import Stage

VERBS = {
    "curate": "bedplate.data.curate:CURATE",
    "train-filter": "bedplate.data.classify.train_filter:TRAIN_FILTER",
    "synthesize": "bedplate.data.synthesis.config:SYNTHESIZE",
    "train-tokenizer": "bedplate.data.train_tokenizer:TRAIN_TOKENIZER",
    "tokenize": "bedplate.data.tokenize:TOKENIZE",
    "pretrain": "bedplate.train.stage:PRETRAIN",
    "evaluate": "bedplate.evaluate.stage:EVALUATE",
    "release": "bedplate.release.stage:RELEASE",
    "import": "bedplate.families.imports:IMPORT",
    "extend": "bedplate.families.extension_stage:EXTEND",
    "python-docs": "bedplate.tasks.python_docs:PYTHON_DOCS",
    "index": "bedplate.adapt.retrieval.stage:INDEX",
    "adapt": "bedplate.adapt.stage:ADAPT",
    "compare": "bedplate.adapt.compare.stage:COMPARE",
}

_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def find_stage(entry: StageEntry) -> Stage:
    """The stage that the entry's `do` names. Raises RecipeError if there is none.

    A stage from outside is looked for where Python looks, and in the working directory.
    """
    place = f"{entry.place('do')}: stages.{entry.name}.do"
    if ":" not in entry.do:
        if entry.do not in VERBS:
            raise RecipeError(
                f"{place}: unknown verb {entry.do!r}; {expected_one_of(entry.do, VERBS)}",
                'A stage of your own is named by its import path: "some.module:STAGE".',
            )
        return verb_stage(entry.do)
    if not _REFERENCE.fullmatch(entry.do):
        raise RecipeError(
            f"{place}: {entry.do!r} is neither a verb nor an import path", 'A path is written "some.module:STAGE".'
        )
    try:
        stage = _load(entry.do)
    except (ImportError, AttributeError) as error:
        raise RecipeError(
            f"{place}: {entry.do} can't be imported: {error}", "Check the name and PYTHONPATH."
        ) from error
    except Exception as error:  # whatever somebody else's module does when it is imported
        raise RecipeError(
            f"{place}: {entry.do} can't be imported: {type(error).__name__}: {error}", "Mend that module."
        ) from error
    if not isinstance(stage, Stage):
        raise RecipeError(f"{place}: {entry.do} is a {type(stage).__name__}, not a bedplate.Stage", None)
    return stage


def verb_stage(verb: str) -> Stage:
    """The stage behind one of Bedplate's own verbs."""
    return _load(VERBS[verb])


def _load(reference: str) -> Stage:
    module, _, name = reference.partition(":")
    here = str(Path.cwd())
    if not module.startswith("bedplate.") and here not in sys.path:
        # The stage's functions are imported later by name, so the path has to stay. It comes last: nothing in the
        # working directory may take the place of an installed module.
        sys.path.append(here)
    stage: Stage = getattr(import_module(module), name)
    return stage
