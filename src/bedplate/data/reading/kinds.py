"""Which reader reads a file: by the source's place, and by its suffix where a place has files of several kinds."""

from __future__ import annotations

from bedplate.data.reading.files import SourceFile
from bedplate.data.source import Source

_DOCUMENTS = {
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    **dict.fromkeys((".md", ".markdown"), "markdown"),
    **dict.fromkeys((".warc", ".arc", ".wet", ".wat"), "warc"),
    **{".epub": "epub", ".ipynb": "notebook", ".pdf": "pdf"},
}
TABLES = (".jsonl", ".parquet", ".arrow")


def kind_of(source: Source, file: SourceFile) -> str:
    """The reader's name: "table" for what isn't read among mixed documents, else a place, or "arrow"."""
    if source.place == "documents":
        return "table" if file.suffix in TABLES else _DOCUMENTS.get(file.suffix, "folder")
    return file.suffix[1:] if source.place == "dataset" else source.place
