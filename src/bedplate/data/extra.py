"""The libraries of `bedplate[data]`, imported where they are needed; a missing one is an error that names it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bedplate.errors import UserError


def require(module: str, what: str, *, extra: str = "data") -> Any:  # several of them ship no types
    """The module of that name. what: that which needs it, "a WARC file". Raises UserError, naming the extra, where it
    is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UserError(
            f"{package} isn't installed, and {what} needs it ({error})", f"Install it: pip install 'bedplate[{extra}]'"
        ) from error
