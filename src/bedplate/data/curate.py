"""The `curate` stage: which raw sources to read and what to keep of them. Raw documents -> a `corpus` artefact."""

from __future__ import annotations

import os
import sys
from typing import Literal

from pydantic import Field, model_validator

from bedplate.config import Config
from bedplate.ledger import Stage

PLACES = ("python_stdlib", "folder", "jsonl", "parquet", "text", "fasta")
_FIELDS_OF_SOME = {
    "include": ("folder",),
    "exclude": ("folder",),
    "text_field": ("jsonl", "parquet"),
    "url_field": ("jsonl", "parquet"),
    "group_field": ("jsonl", "parquet"),
    "separator": ("text",),
}


class Source(Config):
    """One raw source: exactly one of `python_stdlib`, `folder`, `jsonl`, `parquet`, `text` and `fasta` says where
    it is."""

    python_stdlib: bool = Field(
        False, description="The source files of this Python's standard library, without its tests and generated files."
    )
    folder: str | None = Field(
        None,
        description="A folder; each file that the globs choose is a document. Artefacts in it, as of earlier runs, are "
        "passed over.",
    )
    jsonl: str | None = Field(None, description="A JSON Lines file, or a folder of *.jsonl; each line is a document.")
    parquet: str | None = Field(None, description="A Parquet file, or a folder of *.parquet; each row is a document.")
    text: str | None = Field(None, description="A UTF-8 text file; one document, or several with `separator`.")
    fasta: str | None = Field(
        None,
        description="A FASTA file of sequences (proteins, nucleotides), plain or gzipped; each sequence is a document, "
        "without its header and line ends.",
    )
    include: tuple[str, ...] = Field(
        ("*",), description="Globs of the files to read, relative to the folder; one without / matches names anywhere."
    )
    exclude: tuple[str, ...] = Field(
        (".*",), description="Globs of files and folders to leave out; the default leaves out hidden ones."
    )
    text_field: str = Field("text", description="The field or column that holds a document's text.")
    url_field: str | None = Field(None, description="The field or column that holds a document's URL.")
    group_field: str | None = Field(
        None,
        description="The field or column that says which documents belong together (a cluster of near duplicates, a "
        "protein family, an author): all of a group are in one split.",
    )
    separator: str | None = Field(None, min_length=1, description="What stands between the documents of a text file.")
    license: str | None = Field(
        None,
        description="The documents' licence, an SPDX identifier where there is one; write `unknown` if you don't know.",
    )
    language: str | None = Field(None, description="The documents' language: en, de, python, ...")
    name: str | None = Field(
        None,
        min_length=1,
        pattern=r"^[^/\\]+$",
        description="What the source is called in the corpus; default: its file name.",
    )

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        places = [place for place in PLACES if getattr(self, place)]
        if len(places) != 1:
            raise ValueError(f"a source needs exactly one of {', '.join(PLACES)}; this one has {places or 'none'}")
        for field, owners in _FIELDS_OF_SOME.items():
            given = getattr(self, field) != type(self).model_fields[field].default
            if given and places[0] not in owners:
                raise ValueError(f"{field} goes with {' or '.join(owners)}, not with {places[0]}")
        if self.license is None and not self.python_stdlib:
            raise ValueError("a source needs `license`: an SPDX identifier, or `unknown` if you don't know")
        return self

    @property
    def place(self) -> str:
        """Which kind of source it is: one of PLACES."""
        return next(place for place in PLACES if getattr(self, place))

    @property
    def label(self) -> str:
        """Its name in the corpus: the first part of every document's `source`. Never an absolute path."""
        if self.name is not None:
            return self.name
        if self.python_stdlib:
            return f"python{sys.version_info.major}.{sys.version_info.minor}"
        return os.path.basename(os.path.realpath(getattr(self, self.place)))

    @property
    def declared_license(self) -> str:
        return self.license or "PSF-2.0"

    @property
    def declared_language(self) -> str | None:
        return self.language or ("python" if self.python_stdlib else None)


class CurateConfig(Config):
    """What `curate` reads, drops and sets aside."""

    sources: tuple[Source, ...] = Field(description="The raw sources, in the corpus's order.")
    validation: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Share of documents set aside for validation, by the hash of each one's text. Never none: training "
        "and evaluation both need some.",
    )
    largest_document: int = Field(4 << 20, ge=1, description="Larger documents are dropped, in bytes of UTF-8.")
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="At a line, row or file that can't be read: stop, or count it as failed and go on."
    )

    @model_validator(mode="after")
    def _distinct_names(self) -> CurateConfig:
        if not self.sources:
            raise ValueError("needs at least one source")
        labels = [source.label for source in self.sources]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"two sources are called {twice[0]!r}; give one a `name`")
        return self


CURATE = Stage(
    name="curate",
    version=1,
    kind="corpus",
    config=CurateConfig,
    inputs={},
    run="bedplate.data.curation:run",
    sources="bedplate.data.sources:raw_inputs",
    resumes=False,
)
