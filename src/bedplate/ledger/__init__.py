"""Artefact folders: what a stage makes, the manifest that says where it came from and what it cost, and how one is made
so that a kill, a full disk or a second process never leaves a half-written one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bedplate.ledger.artefact import Artefact as Artefact
    from bedplate.ledger.artefact import open_artefact as open_artefact
    from bedplate.ledger.atomic import atomic_write as atomic_write
    from bedplate.ledger.manifest import Manifest as Manifest
    from bedplate.ledger.production import produce as produce
    from bedplate.ledger.stage import SourceInput as SourceInput
    from bedplate.ledger.stage import Stage as Stage
    from bedplate.ledger.work import Work as Work

_HOME = {
    "Artefact": "artefact",
    "Manifest": "manifest",
    "SourceInput": "stage",
    "Stage": "stage",
    "Work": "work",
    "atomic_write": "atomic",
    "open_artefact": "artefact",
    "produce": "production",
}

__all__ = ["Artefact", "Manifest", "SourceInput", "Stage", "Work", "atomic_write", "open_artefact", "produce"]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'bedplate.ledger' has no attribute {name!r}")
    return getattr(import_module(f"bedplate.ledger.{home}"), name)
