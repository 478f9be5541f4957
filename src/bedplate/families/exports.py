"""`bedplate export MODEL OUT`: a model as a Hugging Face folder in another dtype, or as a GGUF file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from bedplate.config import Config
from bedplate.config.model import execution
from bedplate.errors import InputError, WeightsError
from bedplate.families.imports import ENCODER_FACTS, Dtype, certified
from bedplate.families.model_input import ROLE, model_input, read_input, source_files
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.stage import Inputs, SourceInput, Stage

if TYPE_CHECKING:
    from bedplate.console import Console
    from bedplate.families.certificate import Certificate
    from bedplate.families.encoder_certificate import EncoderCertificate
    from bedplate.families.encoder_model import EncoderModel
    from bedplate.families.model import Model
    from bedplate.families.seq2seq_model import Seq2SeqModel
    from bedplate.ledger.work import Work

GGUF_FILE = "model.gguf"


class ExportConfig(Config):
    """A Hugging Face folder of a model."""

    source: str | None = execution(None, description="a model that isn't an artefact: a folder or a GGUF file")
    dtype: Dtype | None = Field(default=None, description="what the weights are stored in; as they are where absent")


class GGUFExportConfig(Config):
    """A GGUF file of a model."""

    source: str | None = execution(None, description="a model that isn't an artefact: a folder or a GGUF file")
    dtype: Dtype | Literal["q8_0"] | None = Field(
        default=None, description="what matrices are stored in (vectors stay float32); as they are where absent"
    )


EXPORT = Stage(
    name="export",
    version=1,
    kind="model",
    config=ExportConfig,
    inputs={"model": ROLE},
    run="bedplate.families.exports:run_hf",
    sources="bedplate.families.exports:sources",
    resumes=False,
)
EXPORT_GGUF = Stage(
    name="export-gguf",
    version=1,
    kind="gguf",
    config=GGUFExportConfig,
    inputs={"model": ROLE},
    run="bedplate.families.exports:run_gguf",
    sources="bedplate.families.exports:sources",
    resumes=False,
)


def export_model(
    model_path: str | Path,
    out: str | Path,
    *,
    format: Literal["hf", "gguf"] = "hf",
    dtype: str | None = None,
    console: Console,
    replace: bool = False,
) -> Artefact:
    """Export a model artefact (or any folder or GGUF that imports) to the folder `out`, with a certificate.

    gguf: the file is `out`/model.gguf. Raises UserError for a format or dtype that doesn't exist, a model that can't
    be read, and whatever GGUF can't say; WeightsError if the result doesn't answer as its source does.
    """
    from bedplate.ledger.production import produce

    stages = {"hf": EXPORT, "gguf": EXPORT_GGUF}
    if format not in stages:
        raise InputError(f"unknown format {format!r}", f"Formats: {', '.join(stages)}.")
    dtypes = ("float32", "bfloat16", "float16", *(("q8_0",) if format == "gguf" else ()))
    if dtype is not None and dtype not in dtypes:
        raise InputError(f"unknown dtype {dtype!r} for {format}", f"Types: {', '.join(dtypes)}.")
    if Path(out).suffix == ".gguf":
        raise InputError(
            f"{out}: OUT is a folder, holding {GGUF_FILE} and its manifest", f"Give a folder: {Path(out).stem}"
        )
    inputs, source = model_input(model_path)
    stage = stages[format]
    config = stage.config.model_validate({"source": source, "dtype": dtype})
    return produce(stage, config, inputs, Path(out), name=Path(out).name, console=console, replace=replace)


def sources(config: ExportConfig | GGUFExportConfig) -> list[SourceInput]:
    """The files of a model that isn't an artefact; nothing for one that is."""
    return source_files(config.source)


def run_hf(config: ExportConfig, inputs: Inputs, work: Work) -> None:
    """Write a Hugging Face folder, read it back, compare."""
    from bedplate.families.model import DTYPES

    model, facts = read_input("export", config.source, inputs)
    stored = config.dtype or str(facts["natural_dtype"])
    model.save(work.path, dtype=DTYPES[stored])
    _finish(model, lambda what: certified(model, work.path, stored=stored, what=what), stored, facts, work)


def run_gguf(config: GGUFExportConfig, inputs: Inputs, work: Work) -> None:
    """Write a GGUF file, read it back, compare."""
    from bedplate.families.certificate import certify
    from bedplate.families.gguf_export import write_gguf
    from bedplate.families.gguf_import import read_model
    from bedplate.families.gguf_reader import GGUF
    from bedplate.families.model import Model as Writer

    model, facts = read_input("export", config.source, inputs)
    if not isinstance(model, Writer):
        raise WeightsError(
            f"{facts['name']} is an {facts['architecture']}, which isn't written as GGUF here",
            "Export it as a folder: format=hf.",
        )
    stored: Any = config.dtype or facts["natural_dtype"]
    path = work.path / GGUF_FILE
    facts["notes"] += write_gguf(model, path, dtype=stored, name=facts["name"], license=facts["license"])

    def reload() -> Model:
        with GGUF.open(path) as file:
            return read_model(file).build()

    _finish(model, lambda what: certify(model, reload, stored=stored, what=what), stored, facts, work)


def _finish(
    model: Model | Seq2SeqModel | EncoderModel,
    certify: Callable[[str], Certificate | EncoderCertificate],
    stored: str,
    facts: dict[str, Any],
    work: Work,
) -> None:
    for note in facts["notes"]:
        work.console.warn(note)
    work.console.say(f"stored as {stored}; comparing it with its source")
    parameters = model.parameter_count()
    certificate = certify(f"the export of {facts['name']}")
    certificate.save(work.path)
    work.volatile("certificate.json")
    work.measures |= {key: facts[key] for key in ("license", "notes", *ENCODER_FACTS) if key in facts}
    work.measures |= {"parameters": parameters, "certificate": certificate.facts()}
