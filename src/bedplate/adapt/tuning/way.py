"""The ways that train a network: LoRA, the last layer, biases, every weight."""

from __future__ import annotations

from bedplate.adapt.fitting import Fitting
from bedplate.adapt.tuning.body import TunedWay
from bedplate.adapt.tuning.classify import fit_classes
from bedplate.adapt.tuning.converse import fit_answers
from bedplate.adapt.tuning.opened import open_tuned

__all__ = ["fit", "open_tuned"]


def fit(way: TunedWay, fitting: Fitting) -> None:
    """Tune the base or the encoder to the task. Writes into `fitting.work.path`: a PEFT folder, a delta folder or a
    model's folder; for classification head.safetensors and classes.json besides. Interrupted, it goes on where it was.
    """
    if fitting.task.kind == "classification":
        fit_classes(way, fitting)
    else:
        fit_answers(way, fitting)
