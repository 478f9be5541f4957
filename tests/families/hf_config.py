"""What the tests of one family's config.json share."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from bedplate.errors import WeightsError
from bedplate.families.model import read_config


def theirs(found: dict[str, Any]) -> Any:
    """transformers' configuration of a config.json's content."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CONFIG_MAPPING[found["model_type"]].from_dict(copy.deepcopy(found))  # it changes what it is given


def read(found: dict[str, Any], folder: Path) -> Any:
    """Our configuration of it, read from a file."""
    (folder / "config.json").write_text(json.dumps(found))
    return read_config(folder)


def refused(found: dict[str, Any], folder: Path, named: str) -> None:
    """Whether it is refused in a message that names the file, what is wrong and what to do."""
    with pytest.raises(WeightsError) as caught:
        read(found, folder)
    assert named in caught.value.problem
    assert str(folder / "config.json") in caught.value.problem
    assert caught.value.fix
