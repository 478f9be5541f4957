"""Every verb as a function: the same stages and configurations as in a recipe, one artefact at a time.

    from bedplate import verbs

    corpus = verbs.curate({"sources": [...]}, {}, "runs/mine/corpus")
    tokenizer = verbs.train_tokenizer({"vocabulary": 4096}, {"corpus": corpus}, "runs/mine/tokenizer")

The commands that are no stages are here too: `run`, `import_model`, `export_model`, `merge_adapter`, `extend_model`,
`fertility_of_files`, `index_documents`, `chat`, `serve`, `evaluate_model` (on tasks), `evaluate_text`, `label` (a page
to label on), `label_agreement`, `export_examples` and `export_label_studio` (of labels), `import_label_studio`, `show`
(an opened artefact, as text) and `doctor`.

They are here and not in `bedplate` itself because `bedplate.evaluate` and `bedplate.release` are parts of the library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bedplate.config import Config, build
from bedplate.config.recipe import StageEntry
from bedplate.console import Console
from bedplate.ledger.artefact import Artefact, open_artefact
from bedplate.ledger.production import produce
from bedplate.ledger.stage import resolve
from bedplate.pipeline.stages import verb_stage

Given = Artefact | Path | str


class Verb(Protocol):
    """A verb's signature."""

    def __call__(
        self,
        config: Config | Mapping[str, Any],
        inputs: Mapping[str, Given | Sequence[Given]],
        out: Path | str,
        *,
        name: str | None = None,
        console: Console | None = None,
        replace: bool = False,
    ) -> Artefact:
        """Make the artefact at `out`, or find it made.

        config: the verb's own class (`config_class(verb)`), or a mapping of its fields; inputs: role -> artefact or the
        path of one. Raises as `bedplate.ledger.produce` does, and RecipeError for a mapping that doesn't fit the class.
        """


def config_class(verb: str) -> type[Config]:
    """The class of a verb's configuration: `config_class("train-tokenizer")`."""
    return verb_stage(verb).config


def _verb(verb: str) -> Verb:
    def perform(
        config: Config | Mapping[str, Any],
        inputs: Mapping[str, Given | Sequence[Given]],
        out: Path | str,
        *,
        name: str | None = None,
        console: Console | None = None,
        replace: bool = False,
    ) -> Artefact:
        stage = verb_stage(verb)
        out = Path(out)
        if not isinstance(config, Config):
            config = build(stage.config, StageEntry(out.name, verb, {}, None, dict(config)))
        opened = {role: _open(value) for role, value in inputs.items()}
        return produce(stage, config, opened, out, name=name or out.name, console=console or Console(), replace=replace)

    perform.__name__ = verb.replace("-", "_")
    perform.__doc__ = Verb.__call__.__doc__
    return perform


def _open(value: Given | Sequence[Given]) -> Artefact | list[Artefact]:
    if isinstance(value, Artefact):
        return value
    if isinstance(value, Path | str):
        return open_artefact(value)
    return [item if isinstance(item, Artefact) else open_artefact(item) for item in value]


_ELSEWHERE = {
    "chat": "bedplate.serve.terminal:chat",
    "doctor": "bedplate.machine.doctor:doctor",
    "evaluate_model": "bedplate.evaluate.short:evaluate_model",
    "evaluate_text": "bedplate.evaluate.short:evaluate_text",
    "export_examples": "bedplate.data.labels.export:export_examples",
    "export_label_studio": "bedplate.data.labels.export:export_label_studio",
    "export_model": "bedplate.families.exports:export_model",
    "extend_model": "bedplate.families.extension_stage:extend_model",
    "fertility_of_files": "bedplate.evaluate.fertility_files:fertility_of_files",
    "import_label_studio": "bedplate.data.labels.export:import_label_studio",
    "import_model": "bedplate.families.imports:import_model",
    "index_documents": "bedplate.adapt.retrieval.stage:index_documents",
    "label": "bedplate.serve.labelling.server:label",
    "label_agreement": "bedplate.data.labels.report:agreement_of",
    "merge_adapter": "bedplate.deltas.merge:merge_adapter",
    "run": "bedplate.pipeline.runner:run",
    "serve": "bedplate.serve.server:serve",
    "show": "bedplate.ledger.description:describe",
}


def __getattr__(name: str) -> Any:
    """The commands that aren't stages, found when they are needed: some of them bring torch."""
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return resolve(_ELSEWHERE[name])


def __dir__() -> list[str]:
    return sorted({*globals(), *_ELSEWHERE})


curate = _verb("curate")
train_filter = _verb("train-filter")
synthesize = _verb("synthesize")
train_tokenizer = _verb("train-tokenizer")
tokenize = _verb("tokenize")
pretrain = _verb("pretrain")
evaluate = _verb("evaluate")
release = _verb("release")
python_docs = _verb("python-docs")
index = _verb("index")
adapt = _verb("adapt")
compare = _verb("compare")
