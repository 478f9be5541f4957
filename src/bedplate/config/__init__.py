"""Configurations, recipes, overrides and named randomness. Nothing here imports torch."""

from __future__ import annotations

from bedplate.config.document import Place
from bedplate.config.model import Config, execution
from bedplate.config.randomness import fold_in
from bedplate.config.recipe import Recipe, StageEntry, load_recipe
from bedplate.config.validation import build

__all__ = ["Config", "Place", "Recipe", "StageEntry", "build", "execution", "fold_in", "load_recipe"]
