"""Jupyter notebooks (nbformat 3 and 4): Markdown cells as they stand, code cells in fences of their language."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from bedplate.data.documents import Document
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.guard import guarded, mended
from bedplate.data.reading.json_size import LARGEST_JSON, check_json
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.markdown import first_heading
from bedplate.data.reading.text import load

# HTML and Markdown have no further levels of headings.
_LOWEST = 6
_LANGUAGE = re.compile(r"[\w.+#-]{1,40}")


def read_notebook(file: SourceFile, limits: Limits, *, outputs: bool = False) -> Document:
    """The notebook's text; failed where it isn't a notebook. `outputs`: with the text that its cells put out.

    Pictures in the outputs are most of a notebook's bytes, so that it may have more than a text. Raises OSError.
    """
    data = load(file, min(limits.container, LARGEST_JSON))
    if isinstance(data, Document):
        return data
    document = Document(file.name, None, bytes=len(data), record_sha256=hashlib.sha256(data).hexdigest())
    with guarded(document):
        if (problem := check_json(data)) is not None:
            document.drop("read", "too_large", problem)
            return document
        try:
            _fill(document, json.loads(data), outputs=outputs)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            document.text = None
            document.fail("read", "damaged_file", mended(f"not a notebook: {error}"[:300]))
    return document


def _fill(document: Document, notebook: object, *, outputs: bool) -> None:
    if not isinstance(notebook, dict):
        raise ValueError("no JSON object")
    cells = _cells(notebook)
    language = _language(notebook)
    document.text = mended("\n\n".join(text for cell in cells for text in _cell(cell, language, outputs=outputs)))
    document.metadata["cells"] = len(cells)
    document.metadata["kernel_language"] = language
    document.title = first_heading(document.text)


def _cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    if "cells" not in notebook and "worksheets" not in notebook:
        raise ValueError("it has no cells")
    if "cells" in notebook:
        cells: list[dict[str, Any]] = notebook["cells"]
    else:
        cells = [cell for sheet in notebook["worksheets"] for cell in sheet.get("cells", [])]
    if not isinstance(cells, list):
        raise ValueError("its cells are no list")
    return cells


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata") or {}
    for place in ("language_info", "kernelspec"):
        said = (metadata.get(place) or {}).get("name" if place == "language_info" else "language")
        if isinstance(said, str) and _LANGUAGE.fullmatch(said):
            return said.lower()
    return "python"


def _cell(cell: dict[str, Any], language: str, *, outputs: bool) -> Iterator[str]:
    kind = cell.get("cell_type")
    text = _joined(cell.get("source", cell.get("input", ""))).strip("\n")
    if kind == "code":
        if text.strip():
            yield _fenced(text, language)
        if outputs:
            for output in cell.get("outputs") or []:
                shown = _joined(output.get("text") or (output.get("data") or {}).get("text/plain") or "").strip("\n")
                if shown.strip():
                    yield _fenced(shown, "")
    elif kind == "heading":  # nbformat 3
        level = cell.get("level", 1)
        yield "#" * (min(max(level, 1), _LOWEST) if isinstance(level, int) else 1) + " " + text
    elif kind == "markdown" and text.strip():
        yield text


def _joined(source: object) -> str:
    return "".join(source) if isinstance(source, list) else str(source)


def _fenced(text: str, language: str) -> str:
    """In a fence longer than any that it holds (CommonMark 4.5)."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
