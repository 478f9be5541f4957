"""The comments at the head of a source file, and no strings: what is said there is said of the file."""

from __future__ import annotations

import re

HEAD = 6000
"""Characters of a file that count as its head."""
_LINE = re.compile(
    r"//|#|;|--|%|<!--|/\*|\(\*|\{-|\{#|<%--|\.\.(?=\s)|'(?!'')|!|::|\.\\|dnl\b|@?rem\b",
    re.IGNORECASE,
)
_BLOCKS = (
    *(("/*", "*/"), ("<!--", "-->"), ("<%--", "--%>"), ("--[[", "]]"), ("(*", "*)"), ("{-", "-}"), ("{#", "#}")),
    *(("<#", "#>"), ("=begin", "=end"), ("%{", "%}")),
)
_QUOTES = ('"' * 3, "'" * 3, "`")
_DOCSTRING = re.compile("[rRuU]?(\"{3}|'{3})")
_PREAMBLE = re.compile(r"<\?|<!doctype|<html|<head|package\b|[\"']use strict|@echo|syntax\b|module\b", re.IGNORECASE)


def comments_of(text: str, *, leading: bool = False) -> str:
    """The lines of comments in the head of a file, and its first docstring; `leading`: those before any code alone.

    Lines of code, and those inside a string that spans lines, are left out: a template that writes licences into other
    files isn't under them.
    """
    found: list[str] = []
    until: str | None = None
    counts = first = True
    for line in text[:HEAD].splitlines():
        bare = line.strip()
        if until is not None:
            if counts:
                found.append(bare)
            if until in bare:
                until = None
            continue
        counts = True
        block = next((ends for starts, ends in _BLOCKS if bare.startswith(starts)), None)
        if block is not None:
            found.append(bare)
            until = None if block in bare[2:] else block
        elif _LINE.match(bare):
            found.append(bare)
        elif first and (quote := _DOCSTRING.match(bare)) is not None:
            found.append(bare)
            first = False
            until = None if quote[1] in bare[quote.end() :] else quote[1]
        elif bare and not (first and _PREAMBLE.match(bare)):
            if leading:
                break
            first = False
            until = next((quote for quote in _QUOTES if bare.count(quote) % 2), None)
            counts = False
    return "\n".join(found)
