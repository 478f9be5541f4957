"""What tuning made, ready to be asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors.torch import load_file

from bedplate.adapt.bases import LocalBase
from bedplate.adapt.face import Answerer, Classification, Classifier
from bedplate.adapt.inputs import input_folder
from bedplate.adapt.opening import ModelAnswerer
from bedplate.adapt.tuning.class_rows import LabelledTexts
from bedplate.adapt.tuning.class_validation import per_text
from bedplate.adapt.tuning.classifier_net import ClassifierNet
from bedplate.adapt.tuning.classify import CLASSES, HEAD, VERSION
from bedplate.adapt.tuning.texts import TextReader
from bedplate.deltas.adapter import load_adapter
from bedplate.deltas.names import Adaptable
from bedplate.errors import ArtefactError, WeightsError
from bedplate.families.encoder_model import EncoderModel
from bedplate.families.model import DTYPES
from bedplate.generate.model import TextModel, load_text
from bedplate.ledger.artefact import Artefact
from bedplate.machine.choose import choose_compute_dtype, choose_device


class TunedClassifier:
    """A tuned body and its head. A text that is longer than the model reads loses its end, with a warning."""

    def __init__(self, name: str, classes: Sequence[str], net: ClassifierNet, reader: TextReader) -> None:
        self.name, self.classes = name, tuple(classes)
        self._net, self._reader = net, reader

    def classify(self, texts: Sequence[str]) -> Classification:
        if not texts:
            return Classification(self.classes, (), np.zeros((0, len(self.classes)), dtype=np.float32), ())
        ids = self._reader.read_warning(texts)
        rows = LabelledTexts(ids, np.zeros(len(ids), dtype=np.int64), self._reader.pad)
        scores = per_text(self._net, rows, self._net).double().softmax(-1).numpy()
        labels = tuple(self.classes[k] for k in scores.argmax(axis=1))
        return Classification(self.classes, labels, scores.astype(np.float32), tuple(len(row) for row in ids))


def open_tuned(artefact: Artefact, *, base: Path | None = None) -> Answerer | Classifier:
    """What was tuned, loaded: a classifier where it has a head, else what answers. base: where the model that it was
    tuned from is now, if it was moved.

    Raises ArtefactError or WeightsError where that is another one, ArtefactError for a broken folder.
    """
    way: dict[str, Any] = artefact.config["way"]
    # The type that it was trained in, where the hardware is like that.
    dtype = choose_compute_dtype(choose_device("auto")).name
    whole = way["way"] == "full"
    folder = artefact.path if whole else input_folder(artefact, way["tune"], base)
    encoder = way["tune"] == "encoder"
    model = EncoderModel.load(folder) if encoder else load_text(folder, dtype=dtype)
    if not whole:
        load_adapter(artefact.path, cast(Adaptable, model), base=folder)
    model.net.eval()
    if not (artefact.path / CLASSES).is_file():
        if not isinstance(model, TextModel):
            raise ArtefactError(f"{artefact.path}: {CLASSES} is missing, and an encoder can't answer", "Make it again.")
        return ModelAnswerer(LocalBase(model, name=artefact.name), name=artefact.name)
    model.net.compute_dtype = DTYPES[dtype]
    return _classifier(artefact, model)


def _classifier(artefact: Artefact, model: TextModel | EncoderModel) -> TunedClassifier:
    path = artefact.path / CLASSES
    try:
        facts = json.loads(path.read_bytes())
        version, classes = facts["version"], facts["classes"]
        if version > VERSION:
            raise ArtefactError(f"{path}: version {version}; this Bedplate reads up to {VERSION}", "Upgrade Bedplate.")
        net = ClassifierNet(model.net, facts["pooling"], len(classes))
        head = load_file(artefact.file(HEAD))
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{path}: not what tuning wrote: {error!r}", "Make it again.") from error
    fitting = {name: p.shape for name, p in net.head.named_parameters()}
    if {name: tensor.shape for name, tensor in head.items()} != fitting:
        raise WeightsError(
            f"{artefact.path / HEAD}: not a head of {len(classes)} classes on this model", "Make it again."
        )
    net.head.load_state_dict(head)
    net.requires_grad_(False)
    return TunedClassifier(artefact.name, classes, net.eval(), TextReader(model, facts["suffix"], facts["length"]))
