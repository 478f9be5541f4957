"""The count of families' lines counts what it says, and ARCHITECTURE.md has what it prints."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / "tools/family_lines.py"

CONFIG = '''"""The configuration."""

from __future__ import annotations

from typing import Literal

ModelType = Literal["a", "b"]


class Config:
    """Two lines and
    a docstring."""

    # A comment counts.
    model_type: ModelType = "a"
'''
BUILDER = '''"""A family."""

import config


def build(c):
    """The modules."""
    return _block(c)


def _block(c):
    return (
        c,
    )


def _both(name):
    return [name]


_PREFIX = "blocks"
WEIGHTS = [
    *_both(_PREFIX),
]
'''


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("family_lines", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["family_lines"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_counted_by_hand(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "fir_config.py").write_text(CONFIG)
    (tmp_path / "fir.py").write_text(BUILDER)
    (tmp_path / "shared_config.py").write_text(CONFIG)
    (found,) = tool.family_lines(tmp_path)
    assert (found.name, found.files, found.model_types) == ("fir", ("fir.py", "fir_config.py"), ("a", "b"))
    # ModelType, class, comment, field; build's two lines, _block's four. _both's two, _PREFIX, WEIGHTS's three.
    assert (found.code, found.table) == (4 + 2 + 4, 2 + 1 + 3)


def test_architecture_has_what_it_prints() -> None:
    printed = subprocess.check_output([sys.executable, str(TOOL), "--markdown"], text=True)
    assert printed in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), (
        "paste what `python tools/family_lines.py --markdown` prints under Families in ARCHITECTURE.md"
    )


def test_every_registered_type_is_counted(tool: ModuleType) -> None:
    from bedplate.families.registry import ENCODER_DECODERS, ENCODERS, FAMILIES

    assert {t for f in tool.family_lines() for t in f.model_types} == {*FAMILIES, *ENCODERS, *ENCODER_DECODERS}


def test_the_worked_example_says_its_own_lines(tool: ModuleType) -> None:
    (found,) = (f for f in tool.family_lines() if f.name == "starcoder2")
    said = re.search(r"it is (\d+) lines, and (\d+) of weights", (ROOT / "docs/add-a-family.md").read_text())
    assert said
    assert (int(said[1]), int(said[2])) == (found.code, found.table)
