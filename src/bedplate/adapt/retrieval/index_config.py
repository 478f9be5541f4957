"""The index stage: which documents, cut how, read by which encoder. No torch, no lancedb here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from bedplate.config import Config, execution
from bedplate.errors import RecipeError

SUFFIXES = ("*.txt", "*.text", "*.md", "*.markdown", "*.html", "*.htm", "*.jsonl")

_Northern = Literal["Danish", "Dutch", "English", "Finnish", "German", "Norwegian", "Swedish"]
_Romance = Literal["French", "Italian", "Portuguese", "Romanian", "Spanish"]
Language = _Northern | _Romance | Literal["Arabic", "Greek", "Hungarian", "Russian", "Tamil", "Turkish", "other"]


class IndexConfig(Config):
    """What is indexed and how it is cut. The documents come from `documents`, or from an input `corpus` or `task`."""

    documents: str | None = Field(
        None,
        description="A folder, or one file, of text, Markdown, HTML or JSON Lines; absent where an input holds them.",
    )
    include: tuple[str, ...] = Field(
        SUFFIXES,
        description="Globs of the files to read, relative to the folder; one without / matches names anywhere.",
    )
    exclude: tuple[str, ...] = Field(
        (".*",), description="Globs of files and folders to leave out; the default leaves out hidden ones."
    )
    text_field: str = Field("text", description="The field of a JSON line that holds the text.")
    title_field: str | None = Field(None, description="The field of a JSON line that holds its title.")
    chunk_tokens: int = Field(
        128,
        ge=16,
        description="Longest chunk in tokens of the encoder, special ones and the headings put before it included; "
        "never more than the encoder reads.",
    )
    language: Language = Field(
        "English", description="The documents' language, for the stems and stop words of word search."
    )
    largest_document: int = Field(
        16 << 20, ge=1, description="Larger files and lines are dropped, and counted; in bytes."
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="At a file or line that can't be read: stop, or count it as failed and go on."
    )
    batch_tokens: int = execution(8192, ge=1, description="Tokens that the encoder reads at a time.")


def check_index(config: IndexConfig, made_from: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise RecipeError unless exactly one of `documents` and the inputs corpus and task says what to index."""
    given = [*(["documents"] if config.documents else []), *(r for r in ("corpus", "task") if r in made_from)]
    if len(given) != 1:
        raise RecipeError(
            f"index: needs one of documents, inputs.corpus and inputs.task; given: {' and '.join(given) or 'none'}",
            "Set documents to a folder or file, or name one such input.",
        )


def place_of(config: IndexConfig, task: Path | None) -> Path | None:
    """The folder or file to read: `documents`, or the task artefact's documents. None where a corpus is read."""
    if task is not None:
        return task / "documents"
    return None if config.documents is None else Path(config.documents).expanduser()
