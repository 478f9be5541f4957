"""Bedplate builds foundation models: from raw documents to a released model, and every way of adapting one in between.

    import bedplate

    model = bedplate.load("runs/quickstart/release")
    answers = bedplate.open("runs/ask-your-documents/answers").generate([{"role": "user", "content": "..."}])
    artefacts = bedplate.run("recipes/quickstart.yaml", ["model.steps=20"])
    corpus = bedplate.verbs.curate({"sources": [...]}, {}, "runs/mine/corpus")

Importing this package costs nothing: every name below is fetched on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from bedplate.version import __version__

if TYPE_CHECKING:
    from bedplate.adapt.opening import open_face as open
    from bedplate.config import Config as Config
    from bedplate.generate.model import load as load
    from bedplate.ledger import Artefact as Artefact
    from bedplate.ledger import Stage as Stage
    from bedplate.ledger import open_artefact as open_artefact
    from bedplate.pipeline import verbs as verbs
    from bedplate.pipeline.runner import run as run

# Name -> the module that it is in, and after a colon what it is called there if otherwise.
_HOME = {
    "Artefact": "bedplate.ledger",
    "Config": "bedplate.config",
    "Stage": "bedplate.ledger",
    "load": "bedplate.generate.model",
    "open": "bedplate.adapt.opening:open_face",
    "open_artefact": "bedplate.ledger",
    "run": "bedplate.pipeline.runner",
    "verbs": "bedplate.pipeline.verbs",
}

__all__ = ["Artefact", "Config", "Stage", "__version__", "load", "open", "open_artefact", "run", "verbs"]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'bedplate' has no attribute {name!r}")
    place, _, own_name = home.partition(":")
    module = import_module(place)
    return module if place.endswith(f".{name}") else getattr(module, own_name or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
