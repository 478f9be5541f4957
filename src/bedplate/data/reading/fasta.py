"""FASTA files: each sequence a document."""

from __future__ import annotations

from collections.abc import Iterator

from bedplate.data.documents import Document, Failure
from bedplate.data.fasta import FastaError, fasta_sequences
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.limits import Limits


def read_fasta(file: SourceFile, limits: Limits) -> Iterator[Document | Failure]:
    """The sequences of the file. Damage is a Failure, behind which nothing more is read."""
    number = 0
    try:
        for sequence in fasta_sequences(file.path, limits.largest):
            number = sequence.number
            document = Document(f"{file.name}#{number}", sequence.letters, bytes=sequence.bytes)
            if not sequence.is_text:
                document.drop("read", "not_text")
            elif sequence.letters is None:
                document.drop("read", "too_large", f"{sequence.bytes:,} letters")
            yield document
    except FastaError as error:
        fix = "Take an undamaged FASTA file, or set on_error=skip to count it as failed and go on."
        yield Failure(f"{file.name}#{number + 1}", file.place, "damaged_file", str(error), fix, bytes=file.bytes)
