"""Lets tests, and the processes that they start, import the toy stages by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

TOYS = str(Path(__file__).resolve().parents[1] / "ledger")

if TOYS not in sys.path:
    sys.path.insert(0, TOYS)


@pytest.fixture(autouse=True)
def _toys_for_processes(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [TOYS, os.environ.get("PYTHONPATH")])))
