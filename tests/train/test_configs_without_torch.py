"""Recipes are read without torch: `bedplate help` and a mistyped key answer at once."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from bedplate.families.configs import config_class, model_types
import bedplate.train.config, bedplate.train.fitting
for name in model_types():
    config_class(name)
assert "torch" not in sys.modules, "torch is imported"
"""


def test_every_configuration_class_imports_no_torch():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
