"""Reading a piece: each format's reader."""

from __future__ import annotations

import os
from collections.abc import Iterator

from bedplate.data.documents import Document, Failure
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.finding import root
from bedplate.data.reading.kinds import kind_of
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.pieces import Piece
from bedplate.data.reading.text import read_separated, read_whole
from bedplate.data.source import Source


def read(source: Source, what: Piece | SourceFile, limits: Limits) -> Iterator[Document | Failure]:
    """Every record of the piece or file, in order: a document (dropped or failed where it can't be one), or a Failure.

    Streams: one document, line or row batch is in memory at a time. A file that can't be opened is a Failure too, and
    so is one that lacks a column. Raises UserError where an optional library is missing.
    """
    piece = what if isinstance(what, Piece) else Piece((what,), what.bytes)
    if source.git is not None:
        from bedplate.data.reading.git import read_git

        yield from read_git(source, piece.files, limits)
        return
    for file in piece.files:
        try:
            if _leads_out(source, file):
                document = Document(file.name, None, bytes=file.bytes)
                document.drop("read", "link_outside", "a link that leads out of the source's folder")
                yield document
            else:
                yield from _read(source, piece, file, limits)
        except OSError as error:
            yield Failure(
                *(file.name, file.place, "unreadable", f"can't be read: {error.strerror or error}"),
                fix="Make it readable, leave it out, or set on_error=skip to go on without it.",
                bytes=file.bytes,
            )


def _leads_out(source: Source, file: SourceFile) -> bool:
    """Whether a file of a folder is a link to what lies elsewhere: who made the folder may have meant other people's
    files. A data set's folder may be the hub's cache, which is made of such links."""
    if file.url is not None or file.version is not None or source.place in ("python_stdlib", "dataset", "corpus"):
        return False
    base = root(source)
    if not base.is_dir():
        return False
    return not os.path.realpath(file.path).startswith(os.path.join(os.path.realpath(base), ""))


def _read(source: Source, piece: Piece, file: SourceFile, limits: Limits) -> Iterator[Document | Failure]:
    kind = kind_of(source, file)
    if kind == "table":
        document = Document(file.name, None, bytes=file.bytes)
        document.drop("read", "not_a_document", f"a table ({file.suffix}), which needs a source of its own")
        yield document
        return
    if kind == "jsonl":
        from bedplate.data.reading.jsonl import read_jsonl

        yield from read_jsonl(source, file, limits, piece.start, piece.stop, piece.before)
    elif kind == "parquet":
        from bedplate.data.reading.parquet import read_parquet

        groups = None if piece.stop is None else (piece.start, piece.stop)
        yield from read_parquet(source, file, limits, groups, piece.before, piece.rows)
    elif kind == "corpus":
        from bedplate.data.reading.corpus import read_corpus_part

        yield from read_corpus_part(file, None if piece.stop is None else (piece.start, piece.stop), piece.rows)
    elif kind == "arrow":
        from bedplate.data.reading.parquet import read_arrow

        yield from read_arrow(source, file, limits)
    elif kind == "fasta":
        from bedplate.data.reading.fasta import read_fasta

        yield from read_fasta(file, limits)
    elif kind == "warc":
        from bedplate.data.reading.warc import read_warc

        yield from read_warc(file, limits)
    elif kind == "image_text":
        from bedplate.data.reading.captions import read_captions

        yield from read_captions(source, file, limits)
    elif kind == "text" and source.separator is not None:
        yield from read_separated(file, source.separator, limits)
    else:
        yield _one(source, kind, file, limits)


def _one(source: Source, kind: str, file: SourceFile, limits: Limits) -> Document:
    """The document that a file is."""
    if kind == "html":
        from bedplate.data.reading.html import read_html

        return read_html(file, limits)
    if kind == "epub":
        from bedplate.data.reading.epub import read_epub

        return read_epub(file, limits)
    if kind == "markdown":
        from bedplate.data.reading.markdown import read_markdown

        return read_markdown(file, limits)
    if kind == "notebook":
        from bedplate.data.reading.notebook import read_notebook

        return read_notebook(file, limits, outputs=source.outputs)
    if kind == "pdf":
        from bedplate.data.reading.pdf import read_pdf

        return read_pdf(file, limits)
    return read_whole(file, limits)
