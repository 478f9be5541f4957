"""`bedplate extend MODEL OUT --token TEXT`: a model with more tokens than it had. No torch here until it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.config.model import execution
from bedplate.errors import InputError
from bedplate.families.extension_config import ExtensionConfig
from bedplate.families.imports import ENCODER_FACTS, ImportConfig, Located, certified, locate, read_source
from bedplate.families.imports import sources as import_sources
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.stage import Inputs, SourceInput, Stage

if TYPE_CHECKING:
    from bedplate.console import Console
    from bedplate.families.encoder_model import EncoderModel
    from bedplate.families.model import Model
    from bedplate.families.seq2seq_model import Seq2SeqModel
    from bedplate.ledger.work import Work

_MODEL = "model|run|release?"
_SAID = 20
"""How many new tokens are told with the pieces that they were; the manifest has all."""


class ExtendConfig(ExtensionConfig):
    """A model with tokens added."""

    source: str | None = execution(None, description="a model that isn't an artefact: a folder or a GGUF file")


EXTEND = Stage(
    name="extend",
    version=1,
    kind="model",
    config=ExtendConfig,
    inputs={"model": _MODEL},
    run="bedplate.families.extension_stage:run",
    sources="bedplate.families.extension_stage:sources",
    resumes=False,
)


def extend_model(
    model_path: str | Path,
    out: str | Path,
    tokens: Sequence[str],
    *,
    special: bool = False,
    whole_words: bool = False,
    multiple: int = 1,
    console: Console,
    replace: bool = False,
) -> Artefact:
    """Write the model at `model_path`, an artefact or any folder or GGUF that imports, to the folder `out` with
    `tokens` in its vocabulary, and a certificate that what was written answers as what was made.

    special, whole_words, multiple: as `ExtensionConfig` says. Raises InputError where no token is given, one is twice
    there, empty or in the vocabulary already, and for a model without a tokenizer; else as `import_model`.
    """
    from bedplate.ledger.artefact import open_artefact
    from bedplate.ledger.manifest import MANIFEST
    from bedplate.ledger.production import produce

    if not tokens:
        raise InputError("no token to add", "Give texts that shall be one token each: --token TEXT or --tokens FILE.")
    inputs: dict[str, Any] = {}
    source: str | None = str(model_path)
    if (Path(model_path) / MANIFEST).is_file():
        inputs, source = {"model": open_artefact(model_path, _MODEL.rstrip("?"))}, None
    config = ExtendConfig(
        source=source, tokens=tuple(tokens), special=special, whole_words=whole_words, multiple=multiple
    )
    return produce(EXTEND, config, inputs, Path(out), name=Path(out).name, console=console, replace=replace)


def read_tokens(file: Path) -> list[str]:
    """The tokens in a text file, one a line; lines of only white space are passed over. Raises InputError for a file
    that can't be read or isn't UTF-8."""
    try:
        lines = file.read_bytes().decode("utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"{file}: can't be read: {error.strerror}", "Give a text file, one token a line.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 at byte {error.start}", "Give a text file in UTF-8.") from error
    return [line.removesuffix("\r") for line in lines if line.strip()]


def sources(config: ExtendConfig) -> list[SourceInput]:
    """The files of a model that isn't an artefact; nothing for one that is."""
    return [] if config.source is None else import_sources(ImportConfig(source=config.source))


def run(config: ExtendConfig, inputs: Inputs, work: Work) -> None:
    """Read, extend, store as it was stored, read back, compare."""
    from bedplate.families.extension import extend_vocabulary
    from bedplate.families.model import DTYPES

    model, facts = _read(config, inputs)
    made = extend_vocabulary(model, ExtensionConfig.model_validate(config.model_dump(exclude={"source"})))
    for token in made.added[:_SAID]:
        work.console.say(f"{token.token!r} is token {token.id}, was {' '.join(token.spelling)}")
    if len(made.added) > _SAID:
        work.console.say(f"and {len(made.added) - _SAID} more")
    notes = [*facts.get("notes", []), *made.notes]
    for note in notes:
        work.console.warn(note)
    stored = str(facts["natural_dtype"])
    model.save(work.path, dtype=DTYPES[stored])
    work.console.say(f"stored as {stored}; comparing it with what was made")
    certificate = certified(model, work.path, stored=stored, what=f"{facts['name']} with more tokens")
    certificate.save(work.path)
    work.volatile("certificate.json")
    work.measures |= {key: facts[key] for key in ("license", *ENCODER_FACTS) if key in facts}
    work.measures |= {"parameters": model.parameter_count(), "notes": notes, "extension": made.facts()}
    work.measures["certificate"] = certificate.facts()


def _read(config: ExtendConfig, inputs: Inputs) -> tuple[Model | Seq2SeqModel | EncoderModel, dict[str, Any]]:
    """The model on the CPU, and its name, licence, notes and natural dtype."""
    from bedplate.families.model import model_folder

    artefact = inputs.get("model")
    if isinstance(artefact, Artefact):
        model, facts = read_source(Located(model_folder(artefact.path)))
        known = artefact.measures.get("license")
        return model, facts | {"name": artefact.name, "license": known or facts["license"]}
    if config.source is None:
        raise InputError("extend: no model", "Give the stage an input `model`, or an option `source`.")
    located = locate(ImportConfig(source=config.source))
    model, facts = read_source(located)
    return model, facts | {"name": located.path.stem}
