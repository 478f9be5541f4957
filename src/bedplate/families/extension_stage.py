"""`bedplate extend MODEL OUT --token TEXT`: a model with more tokens than it had. No torch here until it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.config.model import execution
from bedplate.errors import InputError
from bedplate.families.extension_config import ExtensionConfig
from bedplate.families.imports import ENCODER_FACTS, certified
from bedplate.families.model_input import ROLE, model_input, read_input, source_files
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.stage import Inputs, SourceInput, Stage

if TYPE_CHECKING:
    from bedplate.console import Console
    from bedplate.ledger.work import Work

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
    inputs={"model": ROLE},
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
    from bedplate.ledger.production import produce

    if not tokens:
        raise InputError("no token to add", "Give texts that shall be one token each: --token TEXT or --tokens FILE.")
    inputs, source = model_input(model_path)
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
    return source_files(config.source)


def run(config: ExtendConfig, inputs: Inputs, work: Work) -> None:
    """Read, extend, store as it was stored, read back, compare."""
    from bedplate.families.extension import extend_vocabulary
    from bedplate.families.model import DTYPES

    model, facts = read_input("extend", config.source, inputs)
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
