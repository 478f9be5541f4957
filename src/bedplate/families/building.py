"""A family's modules without values, whatever its configuration says."""

from __future__ import annotations

from collections.abc import Sized

import torch

from bedplate.errors import WeightsError
from bedplate.families.registry import C, Family, N


def build_empty(family: Family[C, N], config: C, where: str) -> N:
    """The modules on the meta device. Raises WeightsError naming `where` for sizes that no tensor can have: those that
    a configuration doesn't refuse itself, torch does, in whichever way."""
    try:
        with torch.device("meta"):
            return family.build(config)
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{where}: no model has these sizes: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            "Take the config.json that belongs to these weights.",
        ) from error


def check_parts(config: C, tensors: Sized, where: str) -> None:
    """Raise WeightsError for a configuration of more blocks and experts than there are tensors, before anything is
    built or named one by one."""
    if config.parts > len(tensors):
        raise WeightsError(
            f"{where}: the configuration says {config.parts} blocks and experts, and the checkpoint has {len(tensors)} "
            "tensors",
            "Check that config.json and the weights come from the same model.",
        )
