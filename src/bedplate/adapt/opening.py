"""`bedplate.open`: any folder that can be asked -> its face, whatever it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bedplate.adapt.dispatch import open_way
from bedplate.adapt.face import Answer, Base, Face, Message, Prepared
from bedplate.errors import ArtefactError, InputError, UserError
from bedplate.generate.params import SamplingParams
from bedplate.ledger.artefact import Artefact, open_artefact
from bedplate.ledger.manifest import MANIFEST

MODELS = ("model", "run", "release")


class ModelAnswerer:
    """A base as it is: the conversation is put to it unchanged."""

    def __init__(self, base: Base, *, name: str | None = None) -> None:
        self.base = base
        self.name = name or base.name

    def prepare(self, messages: Sequence[Message]) -> Prepared:
        return Prepared(messages)

    def finish(self, prepared: Prepared, answer: Answer) -> Answer:
        return answer

    def generate(self, messages: Sequence[Message], params: SamplingParams | None = None) -> Answer:
        return self.base.generate(messages, params)


def open_face(path: str | Path, base: str | Path | None = None) -> Face:
    """What lies at `path`, ready to be asked: an Answerer, a Classifier, or both.

    path: an artefact of kind model, run, release, prompt, probe, adapter, baseline or index, or a Hugging Face or
    PEFT folder. base: where its base (or its encoder) is now, if it was moved; a must for an index and for an
    adapter from elsewhere, which name none. Raises ArtefactError or InputError for what can't be opened, UserError for
    a model without a chat template or an encoder, which can't be asked anything.
    """
    path = Path(path)
    base = None if base is None else Path(base)
    if path.name == MANIFEST:
        path = path.parent
    if (path / MANIFEST).is_file():
        return _artefact(open_artefact(path), base)
    if (path / "adapter_config.json").is_file():
        return _foreign_adapter(path, base)
    if not path.is_dir():
        from bedplate.families.model import nearest_sibling

        raise InputError(f"{path}: no such folder{nearest_sibling(path)}", "Give a model's or an artefact's folder.")
    return _model(path, path.resolve().name)


def _artefact(artefact: Artefact, base: Path | None) -> Face:
    if artefact.manifest.stage == "adapt":
        return open_way(artefact, base=base)
    if artefact.kind in MODELS:
        return _model(artefact.path, artefact.name)
    if artefact.kind == "index":
        if base is None:
            raise UserError(
                f"{artefact.path}: an index finds passages; it needs a base to write the answers",
                "Name one: --base FOLDER (in Python: base=FOLDER).",
            )
        from bedplate.adapt.retrieval.way import open_index

        return open_index(artefact, base=base)
    raise ArtefactError(
        f"{artefact.path}: a {artefact.kind} artefact, which can't be asked anything",
        "Give a model, run, release, prompt, probe, adapter, baseline or index.",
    )


def _model(path: Path, name: str) -> Face:
    from bedplate.adapt.bases import LocalBase

    base = LocalBase(path, name=name)
    base.check_chat()
    return ModelAnswerer(base)


def _foreign_adapter(path: Path, base: Path | None) -> Face:
    from bedplate.adapt.bases import LocalBase
    from bedplate.generate.model import load_text

    if base is None:
        raise UserError(
            f"{path}: an adapter without a manifest, so nothing says what it was trained on",
            "Name its base: --base FOLDER (in Python: base=FOLDER).",
        )
    local = LocalBase(load_text(base, adapter=path), name=path.resolve().name)
    local.check_chat()
    return ModelAnswerer(local)
