"""Bedplate's version, in a module of its own so that every part may know it. pyproject.toml says the same (tested)."""

__version__ = "0.1.0"
