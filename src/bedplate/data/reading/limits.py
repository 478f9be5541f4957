"""What reading may cost: sizes beyond which a document is dropped without being held in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """largest: bytes of a document's text, or of a page or record as it lies there. container: bytes of a file that a
    text is only a part of (PDF, EPUB, notebook, picture). unpacked: what a compressed file may come to, as a multiple
    of its size, before it counts as a bomb. pages: of a PDF."""

    largest: int = 4 << 20
    container: int = 256 << 20
    unpacked: int = 200
    pages: int = 5000
