"""`Source`: where raw documents lie, in which format, and which of their fields say what."""

from __future__ import annotations

import os
import re
import sys
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, model_validator

from bedplate.config import Config

PLACES = (
    *("python_stdlib", "folder", "jsonl", "parquet", "text", "fasta"),
    *("warc", "html", "epub", "markdown", "notebook", "pdf", "documents", "git", "dataset", "image_text"),
    "corpus",
)
TOLERANT = ("warc", "html", "epub", "markdown", "notebook", "pdf", "documents", "git", "image_text")
"""Places that hold many people's files, of which some are always damaged: those are counted, and never stop a run."""

ROWS = ("jsonl", "parquet", "dataset", "image_text")
_CHOSEN = ("folder", *(place for place in TOLERANT), "dataset")
_FIELDS_OF_SOME = {
    "include": _CHOSEN,
    "exclude": _CHOSEN,
    "text_field": ROWS,
    "image_field": ("image_text",),
    **dict.fromkeys(
        ("id_field", "url_field", "title_field", "date_field", "license_field", "language_field", "group_field"), ROWS
    ),
    "separator": ("text",),
    "outputs": ("notebook",),
    "commit": ("git",),
    "revision": ("dataset",),
    "split": ("dataset",),
}


class Source(Config):
    """One raw source: exactly one of its places (`folder`, `jsonl`, `warc`, `git`, ...) says where it is.

    A place is a local path or, but for `git`, `fasta`, `text` with a separator and `python_stdlib`, an address that
    fsspec knows: s3://bucket/x.
    """

    python_stdlib: bool = Field(
        False, description="The source files of this Python's standard library, without its tests and generated files."
    )
    folder: str | None = Field(
        None,
        description="A folder; each file that the globs choose is a document. Artefacts in it, as of earlier runs, are "
        "passed over.",
    )
    jsonl: str | None = Field(
        None, description="A JSON Lines file, plain or gzipped, or a folder of *.jsonl; each line is a document."
    )
    parquet: str | None = Field(None, description="A Parquet file, or a folder of *.parquet; each row is a document.")
    text: str | None = Field(None, description="A UTF-8 text file; one document, or several with `separator`.")
    fasta: str | None = Field(
        None,
        description="A FASTA file of sequences (proteins, nucleotides), plain or gzipped; each sequence is a document, "
        "without its header and line ends.",
    )
    warc: str | None = Field(
        None,
        description="A WARC, WET or ARC file, plain or gzipped, or a folder of them as Common Crawl lays them out; "
        "each page that was fetched with success is a document.",
    )
    html: str | None = Field(None, description="A page, plain or gzipped, or a folder of *.html.")
    epub: str | None = Field(None, description="An EPUB book, or a folder of *.epub; each book is a document.")
    markdown: str | None = Field(None, description="A Markdown file, or a folder of *.md; front matter is metadata.")
    notebook: str | None = Field(None, description="A Jupyter notebook, or a folder of *.ipynb; code stands in fences.")
    pdf: str | None = Field(None, description="A PDF file, or a folder of *.pdf; the text layer is the document.")
    documents: str | None = Field(
        None,
        description="A folder of mixed files, each read by its suffix: HTML, EPUB, Markdown, notebooks, PDF, text.",
    )
    git: str | None = Field(None, description="A git repository's folder, read at `commit`; each file is a document.")
    dataset: str | None = Field(
        None,
        description="A Hugging Face data set: a folder with its Parquet, JSON Lines or Arrow files, or the hub's "
        "owner/name with `revision`. Its code is never run.",
    )
    corpus: str | None = Field(
        None,
        description="A corpus that was made before: its documents with all that is known of them. As an input of the "
        "stage it stands in the lineage as well.",
    )
    image_text: str | None = Field(
        None,
        description="Pictures with captions: a folder whose JSON Lines, JSON or CSV files name pictures and texts, or "
        "whose pictures each have a .txt of the same name. A corpus holds the captions and their pictures' paths, "
        "hashes and sizes; the pictures stay in the folder, so keep it as long as the corpus.",
    )
    include: tuple[str, ...] = Field(
        ("*",), description="Globs of the files to read, relative to the folder; one without / matches names anywhere."
    )
    exclude: tuple[str, ...] = Field(
        (".*",), description="Globs of files and folders to leave out; the default leaves out hidden ones."
    )
    text_field: str = Field("text", description="The field or column that holds a document's text.")
    image_field: str = Field("file_name", description="The field that holds a picture's path, within its folder.")
    id_field: str | None = Field(
        None,
        description="The field that holds the record's own id; of records with the same id only the first is kept.",
    )
    url_field: str | None = Field(None, description="The field or column that holds a document's URL.")
    title_field: str | None = Field(None, description="The field or column that holds a document's title.")
    date_field: str | None = Field(None, description="The field or column that says when it was written or fetched.")
    license_field: str | None = Field(
        None, description="The field or column that holds a document's own licence; `license` where it is empty."
    )
    language_field: str | None = Field(
        None, description="The field or column that holds a document's own language; `language` where it is empty."
    )
    group_field: str | None = Field(
        None,
        description="The field or column that says which documents belong together (a cluster of near duplicates, a "
        "protein family, an author): all of a group are in one split.",
    )
    separator: str | None = Field(None, min_length=1, description="What stands between the documents of a text file.")
    outputs: bool = Field(False, description="Whether a notebook's text outputs are a part of its document.")
    commit: str = Field("HEAD", min_length=1, description="The commit, branch or tag at which a repository is read.")
    revision: str | None = Field(None, description="The commit of a data set on the hub: 40 hexadecimal digits.")
    split: str | None = Field(
        None, description="Which split's files of a data set to read: those called train-*, or in a folder train."
    )
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
        place = places[0]
        for field, owners in _FIELDS_OF_SOME.items():
            given = getattr(self, field) != type(self).model_fields[field].default
            if given and place not in owners:
                raise ValueError(f"{field} goes with {' or '.join(owners)}, not with {place}")
        if self.license is None and place not in ("python_stdlib", "corpus"):
            raise ValueError("a source needs `license`: an SPDX identifier, or `unknown` if you don't know")
        if self.remote and (place in ("git", "fasta") or self.separator is not None):
            raise ValueError(f"{place} needs a local path, not {getattr(self, place)}: copy it here first")
        return self

    @model_validator(mode="after")
    def _no_secrets(self) -> Source:
        """A recipe's settings stand in the manifest of what it made, which is given away."""
        if self.remote:
            address = urlsplit(getattr(self, self.place))
            names = {name.lower() for name, _ in parse_qsl(address.query)}
            if address.password is not None or any(
                re.search(r"signature|token|secret|password|^sig$", n) for n in names
            ):
                raise ValueError(
                    f"the address of `{self.place}` holds a password or signature, which would be written into the "
                    "manifest: give it by the environment or by fsspec's configuration"
                )
        return self

    @model_validator(mode="after")
    def _pinned(self) -> Source:
        if self.revision is not None and not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            raise ValueError(
                f"revision={self.revision!r} names no commit: it takes 40 hexadecimal digits, as a branch may move"
            )
        if self.revision is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.dataset or ""):
            raise ValueError(f"revision goes with a data set of the hub (owner/name), not with {self.dataset!r}")
        return self

    @property
    def place(self) -> str:
        """Which kind of source it is: one of PLACES."""
        return next(place for place in PLACES if getattr(self, place))

    @property
    def remote(self) -> bool:
        """Whether fsspec has to fetch it: its place is an address with a scheme, and that is not a Windows drive."""
        return not self.python_stdlib and re.match(r"[A-Za-z][\w+.-]+://", getattr(self, self.place)) is not None

    @property
    def tolerant(self) -> bool:
        """Whether a damaged file or record is counted as failed and passed over, whatever `on_error` says."""
        return self.place in TOLERANT

    @property
    def label(self) -> str:
        """Its name in the corpus: the first part of every document's `source`. Never an absolute path."""
        if self.name is not None:
            return self.name
        if self.python_stdlib:
            return f"python{sys.version_info.major}.{sys.version_info.minor}"
        place: str = getattr(self, self.place)
        if self.remote or self.revision is not None:
            return place.rstrip("/").rpartition("/")[2].partition("?")[0] or "source"
        return os.path.basename(os.path.realpath(place))

    @property
    def declared_license(self) -> str:
        return self.license or ("PSF-2.0" if self.python_stdlib else "unknown")

    @property
    def declared_language(self) -> str | None:
        return self.language or ("python" if self.python_stdlib else None)
