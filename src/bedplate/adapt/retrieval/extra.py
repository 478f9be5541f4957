"""The libraries of `bedplate[retrieval]`, imported where they are needed; a missing one is an error that names it."""

from __future__ import annotations

from typing import Any

from bedplate.errors import UserError


def lancedb_module() -> Any:  # ships no complete types
    """The `lancedb` module. Raises UserError, naming the extra, where it isn't installed."""
    try:
        import lancedb
    except ImportError as error:
        raise _missing("lancedb", "an index", error) from error
    return lancedb


def selectolax_parser() -> Any:
    """selectolax's HTML parser. Raises UserError, naming the extra, where it isn't installed."""
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError as error:
        raise _missing("selectolax", "an HTML document", error) from error
    return LexborHTMLParser


def _missing(package: str, what: str, error: ImportError) -> UserError:
    return UserError(
        f"{package} isn't installed, and {what} needs it ({error})", "Install it: pip install 'bedplate[retrieval]'"
    )
