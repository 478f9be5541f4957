"""What a path means to chat and to the server, and opening several so that they share their bases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.adapt.face import Answerer, Face
from bedplate.ledger.artefact import open_artefact
from bedplate.ledger.manifest import MANIFEST, read_manifest

if TYPE_CHECKING:
    from bedplate.families.encoder_model import EncoderModel
    from bedplate.generate.model import TextModel


def folder_of(path: str | Path) -> Path:
    """The folder that is meant, where its manifest was named."""
    folder = Path(path)
    return folder.parent if folder.name == MANIFEST else folder


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

    return isinstance(face, ModelAnswerer)


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
        """An adapted thing; if it writes with a model on this machine, that one's weights are shared."""
        from bedplate.adapt.bases import LocalBase
        from bedplate.adapt.opening import open_face

        face = open_face(path, base)
        if isinstance(face, Answerer) and isinstance(face.base, LocalBase):
            face.base = LocalBase(self._shared(path, base), name=face.base.name)
        return face

    def _shared(self, path: Path, base: Path | None) -> TextModel:
        from bedplate.adapt.inputs import input_folder
        from bedplate.deltas.adapter import adapted, is_adapter

        if (path / MANIFEST).is_file():
            artefact = open_artefact(path)
            if artefact.kind == "model":  # its own weights, all of them
                return self.model(path)
            folder = base if artefact.kind == "index" and base is not None else input_folder(artefact, "base", base)
        else:
            assert base is not None  # open_face has refused it without
            folder = base
        model = self.model(folder)
        return adapted(model, path, base=folder) if is_adapter(path) else model
