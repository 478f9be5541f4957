"""What a path means to chat and to the server, and opening several so that they share their bases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.adapt.face import Answerer, Face
from bedplate.ledger.artefact import open_artefact
from bedplate.ledger.manifest import MANIFEST, read_manifest
from bedplate.serve.naming import folder_of

if TYPE_CHECKING:
    from bedplate.families.encoder_model import EncoderModel
    from bedplate.generate.model import TextModel


def is_adapted(path: str | Path) -> bool:
    """Whether it isn't a model of its own: an adapter, a prompt, a probe, a baseline, an index."""
    from bedplate.deltas.adapter import is_adapter

    folder = folder_of(path)
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        return manifest.stage == "adapt" or manifest.kind not in ("model", "run", "release")
    return is_adapter(folder)


def streams_as_it_comes(face: Answerer) -> bool:
    """Whether its `finish` leaves the base's text as it is, so that pieces may be shown before it has been called.

    Retrieval may find, once it has the whole answer, that the sources don't support it.
    """
    from bedplate.adapt.opening import ModelAnswerer
    from bedplate.adapt.prompting import PromptAnswerer

    return isinstance(face, ModelAnswerer | PromptAnswerer)


class Opener:
    """Opens paths one after another. A base is loaded once, however many things rest on it.

    dtype: of models that write; what is fastest on this machine where None.
    """

    def __init__(self, dtype: str | None = None) -> None:
        self._dtype = dtype
        self._models: dict[Path, TextModel] = {}

    def encoder(self, path: Path) -> EncoderModel | None:
        """The encoder at a path; None where there is something else."""
        from bedplate.families.encoder_model import EncoderModel
        from bedplate.families.opening import holds_encoder

        return EncoderModel.load(path) if not is_adapted(path) and holds_encoder(path) else None

    def model(self, path: Path) -> TextModel:
        """The model at a folder; the same object for the same folder."""
        from bedplate.generate.model import load_text
        from bedplate.machine.choose import choose_compute_dtype, choose_device

        key = path.resolve()
        if key not in self._models:
            dtype = self._dtype or choose_compute_dtype(choose_device("auto")).name
            self._models[key] = load_text(path, dtype=dtype)
        return self._models[key]

    def face(self, path: Path, base: Path | None) -> Face:
        """An adapted thing; if it rests on a language model of this machine, that one's weights are shared."""
        from bedplate.adapt.bases import LocalBase
        from bedplate.adapt.inputs import input_folder
        from bedplate.adapt.opening import ModelAnswerer, open_face

        if (model := self._tuned(path, base)) is not None:
            return ModelAnswerer(LocalBase(model, name=path.name))
        artefact = open_artefact(path) if (path / MANIFEST).is_file() else None
        if artefact is not None and artefact.kind == "index" and base is not None:
            from bedplate.adapt.retrieval.way import open_index

            return open_index(artefact, base=LocalBase(self.model(base), name=path.name))
        face = open_face(path, base)
        own = getattr(face, "base", None)
        if isinstance(own, LocalBase) and artefact is not None:
            folder = base if base is not None else input_folder(artefact, "base")
            face.base = LocalBase(self.model(folder), name=own.name)  # type: ignore[union-attr]
        return face

    def _tuned(self, path: Path, base: Path | None) -> TextModel | None:
        """A tuned model that answers; an adapter's holds its base's own tensors. None for anything else, and where
        opening it will say what is missing."""
        from bedplate.adapt.inputs import input_folder
        from bedplate.adapt.tuning.classify import CLASSES
        from bedplate.deltas.adapter import adapted, is_adapter

        if (path / CLASSES).is_file():
            return None
        artefact = open_artefact(path) if (path / MANIFEST).is_file() else None
        if artefact is not None and artefact.kind == "model":
            return self.model(path)
        if not is_adapter(path) or (artefact is None and base is None):
            return None
        if artefact is not None:
            base = input_folder(artefact, artefact.config["way"]["tune"], base)
        assert base is not None
        return adapted(self.model(base), path, base=base)
