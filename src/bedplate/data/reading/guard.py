"""What a reader does with a file that was made to break it: the file is told as failed, and the rest goes on."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Iterator

from bedplate.data.documents import Document
from bedplate.errors import UserError

# Python's own codecs, which no file is written in, and some of which take time that grows with the square of the size.
_NOT_OF_FILES = ("idna", "punycode", "unicode-escape", "raw-unicode-escape", "unicode_escape", "raw_unicode_escape")


@contextlib.contextmanager
def guarded(document: Document) -> Iterator[None]:
    """Fail the document with whatever is raised within but errors of the disk and of the settings. A parser of a
    complicated format raises what it likes, and that mustn't cost the documents behind."""
    try:
        yield
    except (OSError, UserError):
        raise
    except Exception as error:
        document.text = document.data = None
        document.fail("read", "reader_error", mended(f"{type(error).__name__}: {error}"[:300]))


def mended(text: str) -> str:
    """The text without halves of surrogate pairs, which no UTF-8 holds: whole pairs as characters, others as U+FFFD."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def charset_known(name: str) -> bool:
    """Whether a file may be in an encoding of that name."""
    try:
        return codecs.lookup(name).name not in _NOT_OF_FILES
    except (LookupError, ValueError, UnicodeError):
        return False
