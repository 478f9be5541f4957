"""Saved pages: a file is a page, plain or gzipped, which is still to be extracted."""

from __future__ import annotations

import hashlib
import re

from bedplate.data.documents import Document
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.http import BodyError, TooLargeError, inflated
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.text import load, too_large

# The "mark of the web" that browsers write into a page that they save.
_SAVED_FROM = re.compile(rb"<!-- saved from url=\(\d+\)(\S{1,2000}) -->")


def read_html(file: SourceFile, limits: Limits) -> Document:
    """The page as data. Raises OSError."""
    data = load(file, limits.largest)
    if isinstance(data, Document):
        return data
    document = Document(file.name, None, bytes=file.bytes, content_type="text/html")
    if file.gzipped:
        try:
            data = inflated(data, limits.largest, 31)
        except TooLargeError:
            return too_large(file.name, file.bytes)
        except BodyError as error:
            document.fail("read", "damaged_gzip", str(error))
            return document
    if (found := _SAVED_FROM.search(data[:4096])) is not None:
        document.url = found[1].decode("utf-8", "replace")
    document.record_sha256 = hashlib.sha256(data).hexdigest()
    document.data = data
    return document
