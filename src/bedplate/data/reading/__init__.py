"""Finding and reading raw documents, one module a format. `find` -> `pieces` -> `read`.

Reading streams, and accounts for every record: what can't be read is a failed document or a `Failure` that says where
and why; what to do about it is the caller's business.
"""

from __future__ import annotations

from bedplate.data.reading.changes import changed_since
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.finding import find, raw_inputs, root
from bedplate.data.reading.formats import read
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.pieces import Piece, pieces

__all__ = ["Limits", "Piece", "SourceFile", "changed_since", "find", "pieces", "raw_inputs", "read", "root"]
