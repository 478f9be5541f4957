"""Which module does a way, and which opens what it made. Nothing heavy is imported before it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.errors import ArtefactError
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.stage import resolve

if TYPE_CHECKING:
    from bedplate.adapt.face import Face
    from bedplate.adapt.fitting import Fitting

_BASELINES = ("bedplate.adapt.baselines:fit", "bedplate.adapt.baselines:open_baseline")
_PROMPTS = ("bedplate.adapt.prompting:fit", "bedplate.adapt.prompting:open_prompt")
_PROBES = ("bedplate.adapt.probing:fit", "bedplate.adapt.probing:open_probe")
_RETRIEVAL = ("bedplate.adapt.retrieval.way:fit", "bedplate.adapt.retrieval.way:open_retrieval")
_TUNED = ("bedplate.adapt.tuning.way:fit", "bedplate.adapt.tuning.way:open_tuned")

WAYS: dict[str, tuple[str, str]] = {
    "majority": _BASELINES,
    "keywords": _BASELINES,
    "tfidf": _BASELINES,
    "zero-shot": _PROMPTS,
    "few-shot": _PROMPTS,
    "nearest": _PROBES,
    "probe": _PROBES,
    "retrieval": _RETRIEVAL,
    "lora": _TUNED,
    "last-layer": _TUNED,
    "bitfit": _TUNED,
    "full": _TUNED,
}
"""Way -> (what fits it, what opens it), each as "module:function"."""


def fit_way(way: Any, fitting: Fitting) -> None:
    """Fit a way (an object of one of the classes in `ways`) to its task: writes into `fitting.work.path`."""
    resolve(WAYS[way.way][0])(way, fitting)


def open_way(artefact: Artefact, *, base: Path | None = None) -> Face:
    """What `bedplate adapt` made, ready to be asked. base: where its base or encoder is now, if it was moved.

    Raises ArtefactError for an artefact of another stage, or of a way that this Bedplate doesn't know.
    """
    way = artefact.config.get("way")
    name = way.get("way") if isinstance(way, dict) else None
    if name not in WAYS:
        raise ArtefactError(
            f"{artefact.path}: a {artefact.kind} artefact made by {artefact.manifest.stage}, not by a way known here",
            "Give the folder that `bedplate adapt` made.",
        )
    face: Face = resolve(WAYS[name][1])(artefact, base=base)
    return face
