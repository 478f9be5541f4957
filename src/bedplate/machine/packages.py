"""Which of the packages that Bedplate is built on are installed, and in which versions. None of them is imported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata

OLDEST_TORCH = (2, 11)
"""The oldest PyTorch that Bedplate supports."""


@dataclass(frozen=True)
class Package:
    """One requirement of Bedplate's."""

    name: str
    version: str | None
    """None: not installed."""
    extra: str | None
    """The optional group that asks for it; None for what every install needs."""


def packages() -> list[Package]:
    """Every requirement that Bedplate declares; empty where it runs from a folder that was never installed."""
    found = []
    for line in (metadata.requires("bedplate") if installed("bedplate") else None) or ():
        requirement, _, marker = line.partition(";")
        name = re.match(r"\s*([A-Za-z0-9._-]+)", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if name is not None:
            found.append(Package(name[1], installed(name[1]), extra[1] if extra else None))
    return found


def installed(name: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def supported_torch(version: str) -> bool:
    """Whether a PyTorch of this version ("2.13.0+cpu") is new enough."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= OLDEST_TORCH
