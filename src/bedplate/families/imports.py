"""`bedplate import SRC OUT`: a GGUF file, a Hugging Face folder or a model on the hub becomes a model artefact."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from bedplate.config import Config
from bedplate.config.model import execution
from bedplate.errors import InputError
from bedplate.ledger.stage import Inputs, SourceInput, Stage

if TYPE_CHECKING:
    from bedplate.console import Console
    from bedplate.families.certificate import Certificate
    from bedplate.families.encoder_certificate import EncoderCertificate
    from bedplate.families.encoder_model import EncoderModel
    from bedplate.families.model import Model
    from bedplate.families.seq2seq_model import Seq2SeqModel
    from bedplate.ledger.artefact import Artefact
    from bedplate.ledger.work import Work

Dtype = Literal["float32", "bfloat16", "float16"]
ENCODER_FACTS = ("architecture", "head", "pooling", "normalise", "width", "max_length")
"""What an encoder's manifest says besides. head: what stands on it, or None."""
NO_TOKENIZER = "the source holds no tokenizer"


class ImportConfig(Config):
    """What to import, and what to store it in. What is read counts by its bytes, wherever it lies."""

    source: str = execution(
        ..., description="a GGUF file, a Hugging Face folder, or a model on the hub: hub:organisation/model"
    )
    revision: str | None = execution(None, description="hub only: the commit, in full")
    dtype: Dtype | None = Field(
        default=None,
        description="what to store the weights in; as in the source where absent, float32 if it is quantised",
    )


IMPORT = Stage(
    name="import",
    version=1,
    kind="model",
    config=ImportConfig,
    inputs={},
    run="bedplate.families.imports:run",
    sources="bedplate.families.imports:sources",
    resumes=False,
)


def import_model(
    src: str | Path,
    out: str | Path,
    *,
    revision: str | None = None,
    dtype: Dtype | None = None,
    console: Console,
    replace: bool = False,
) -> Artefact:
    """Import `src` to the folder `out`: safetensors, config, tokenizer, and a certificate that nothing was lost.

    src: a GGUF file, a Hugging Face folder, or a model on the hub: `hub:organisation/model`, without the prefix where
    there is no folder `organisation` or a revision is given. revision: a branch, tag or commit on the hub; the commit
    that it means now is recorded. Raises InputError for a source that is missing or damaged, WeightsError for one that
    isn't supported or fits together badly, TokenizerError for a tokenizer that isn't the model's or can't be rebuilt
    exactly.
    """
    from bedplate.families import hub
    from bedplate.ledger.production import produce

    name = str(src)
    if (on_hub := hub.hub_id(name, revision, plain=True)) is not None:
        name, revision = on_hub, hub.pin(on_hub, revision)
        console.say(f"{name} is at commit {revision}")
    elif revision is not None:
        raise InputError(f"{src}: a revision ({revision}) of something that isn't on the hub", "Leave revision out.")
    config = ImportConfig(source=name, revision=revision, dtype=dtype)
    return produce(IMPORT, config, {}, Path(out), name=Path(out).name, console=console, replace=replace)


@dataclass(frozen=True)
class Located:
    """A source on this machine: a GGUF file or a Hugging Face folder, and where it came from."""

    path: Path
    hub_id: str | None = None
    commit: str | None = None

    @property
    def is_gguf(self) -> bool:
        return self.path.is_file()


def locate(config: ImportConfig) -> Located:
    """The source on this machine, fetched from the hub if need be. Raises InputError if there is none."""
    from bedplate.families import hub
    from bedplate.families.model import nearest_sibling

    path = Path(config.source)
    if path.is_dir():
        return Located(_inside(path))
    if path.is_file():
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise InputError(f"{path}: not a GGUF file", "Give a GGUF file, or a folder in Hugging Face layout.")
        return Located(path)
    repository = hub.hub_id(config.source, config.revision, plain=True)
    if repository is None:
        raise InputError(
            f"{config.source}: no such file or folder{nearest_sibling(path)}",
            "Give a GGUF file, a folder, or organisation/model on the hub: hub:organisation/model.",
        )
    if config.revision is None or not hub.is_commit(config.revision):
        raise InputError(
            f"{config.source}: revision is {config.revision!r}, which may mean something else tomorrow",
            "Pin it to a commit of 40 hexadecimal digits; `bedplate import` finds and records the present one.",
        )
    return Located(hub.fetch(repository, config.revision), repository, config.revision)


def sources(config: ImportConfig) -> list[SourceInput]:
    """The files that will be read, as one digest over their names and bytes."""
    from bedplate.ledger.digests import sha256_file

    found = locate(config)
    _check(found)
    files = [found.path] if found.is_gguf else _read_files(found.path)
    digest = hashlib.sha256()
    for file in files:
        name = "" if found.is_gguf else file.relative_to(found.path).as_posix()
        digest.update(f"{name}\0{sha256_file(file)}\n".encode())
    size = sum(file.stat().st_size for file in files)
    return [SourceInput(found.path, digest.hexdigest(), size, len(files))]


def _check(found: Located) -> None:
    """Raise what is wrong with headers, configuration and names, before anything is hashed or written."""
    if found.is_gguf:
        from bedplate.families.gguf_import import read_model
        from bedplate.families.gguf_reader import GGUF

        with GGUF.open(found.path) as file:
            read_model(file).check()
    else:
        from bedplate.families.checkpoint import Checkpoint
        from bedplate.families.opening import read_any_config

        read_any_config(found.path)
        Checkpoint(found.path)


def run(config: ImportConfig, inputs: Inputs, work: Work) -> None:
    """Read, store, read back, compare."""
    from bedplate.families.model import DTYPES

    found = locate(config)
    work.console.say(f"reading {found.path}")
    model, facts = read_source(found)
    for note in facts["notes"]:
        work.console.warn(note)
    natural = facts.pop("natural_dtype")
    stored = config.dtype or natural
    work.measures |= facts | {"parameters": model.parameter_count()}
    model.save(work.path, dtype=DTYPES[stored])
    work.console.say(f"stored as {stored}; comparing it with its source")
    certificate = certified(model, work.path, stored=stored, what=f"the import of {found.path}")
    certificate.save(work.path)
    work.volatile("certificate.json")
    work.measures["certificate"] = certificate.facts()


def certified(
    model: Model | Seq2SeqModel | EncoderModel, folder: Path, *, stored: str, what: str
) -> Certificate | EncoderCertificate:
    """The certificate of a model and of what was written of it to `folder`. Raises WeightsError beyond its limits."""
    from bedplate.families.certificate import certify
    from bedplate.families.encoder_certificate import certify_encoder
    from bedplate.families.encoder_model import EncoderModel as Encoder

    if isinstance(model, Encoder):
        return certify_encoder(model, lambda: Encoder.load(folder, device="cpu"), stored=stored, what=what)
    own = type(model)
    return certify(model, lambda: own.load(folder, device="cpu"), stored=stored, what=what)


def read_source(found: Located) -> tuple[Model | Seq2SeqModel | EncoderModel, dict[str, Any]]:
    """The model on the CPU, and what the source says of itself: origin, licence, notes, and the dtype to store it in
    unless another is asked for. Raises as `import_model` does."""
    facts: dict[str, Any] = {"source": {"hub_id": found.hub_id, "commit": found.commit, "file": found.path.name}}
    if found.is_gguf:
        from bedplate.families.gguf_import import read_model
        from bedplate.families.gguf_reader import GGUF

        with GGUF.open(found.path) as file:
            gguf = read_model(file)
            facts |= {
                "format": "gguf",
                "quantisation": gguf.quantisation,
                "license": file.metadata.get("general.license"),
            }
            facts |= {"notes": list(gguf.notes), "natural_dtype": gguf.natural_dtype}
            return gguf.build(), facts
    from bedplate.families.encoder_model import EncoderModel as Encoder
    from bedplate.families.opening import load_any
    from bedplate.families.seq2seq_model import Seq2SeqModel as Seq2Seq

    model = load_any(found.path, device="cpu")
    stored = str(model.net.embed.weight.dtype).removeprefix("torch.")
    facts |= {"format": "hugging-face", "license": card_license(found.path), "natural_dtype": stored}
    if isinstance(model, Encoder):
        return model, facts | _encoder_facts(model, found.path)
    notes = [] if model.tokenizer is not None else [NO_TOKENIZER]
    if isinstance(model, Seq2Seq):
        facts |= {"architecture": "encoder-decoder"}
    return model, facts | {"notes": notes}


def _encoder_facts(model: EncoderModel, folder: Path) -> dict[str, Any]:
    from bedplate.families.checkpoint import Checkpoint

    notes = [] if model.has_tokenizer else [NO_TOKENIZER]
    if not model.settings.stated:
        notes.append(f"{folder} says nothing of pooling: the mean of a text's tokens is taken, and not normalised")
    if left_out := model.family.table(model.config).dropped(Checkpoint(folder).shapes):
        notes.append(f"left out, for an encoder has no use for them: {', '.join(left_out)}")
    return {
        "architecture": "encoder",
        "head": model.config.head,
        "pooling": model.pooling,
        "normalise": model.normalise,
        "width": model.width,
        "max_length": model.max_length,
        "notes": notes,
    }


def card_license(folder: Path) -> str | None:
    """The licence in the header of a model card (README.md), or None."""
    import yaml

    card = folder / "README.md"
    if not card.is_file():
        return None
    text = card.read_text(encoding="utf-8", errors="replace")
    if not text.startswith("---"):
        return None
    try:
        header = yaml.safe_load(text.split("---", 2)[1])
    except (yaml.YAMLError, IndexError):
        return None
    found = header.get("license") if isinstance(header, Mapping) else None
    return found if isinstance(found, str) else None


def _inside(folder: Path) -> Path:
    """The folder itself, or the only GGUF file in it where it is no Hugging Face folder."""
    from bedplate.families.model import model_folder

    files = sorted(folder.glob("*.gguf"))
    if (folder / "config.json").is_file() or not files:
        return model_folder(folder)
    if len(files) > 1:
        raise InputError(f"{folder}: {len(files)} GGUF files", f"Name one of them: {files[0]}")
    return files[0]


def _read_files(folder: Path) -> list[Path]:
    from bedplate.codecs.foreign import FOREIGN_FILES
    from bedplate.families.sentence_folder import sentence_files

    names = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    names |= {"chat_template.jinja", "model.safetensors.index.json", "README.md", *FOREIGN_FILES}
    files = [f for f in folder.iterdir() if f.is_file() and (f.name in names or f.suffix == ".safetensors")]
    return sorted(files + sentence_files(folder))
