"""Text made safe for HTML and SVG: the only place where a string becomes markup.

`Markup` marks what is already safe; everything else that reaches a page is data (names, paths, licences, documents, all
of which may be hostile) and is escaped by `escape`.
"""

from __future__ import annotations

import html
import re
from urllib.parse import quote

# Not characters of XML 1.0, nor of any use in HTML; lone surrogates can't be written as UTF-8 at all.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Characters that reorder the text around them, with which a name can pose as another (CVE-2021-42574).
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")


class Markup(str):
    """A string that is markup already: made by this package, or escaped."""

    __slots__ = ()


def escape(value: object) -> Markup:
    """`value` as text that is safe between tags and inside quoted attributes. Markup passes as it is.

    Control characters and bidirectional overrides become U+FFFD, so that nothing is hidden.
    """
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(_REORDERING.sub("\ufffd", _FORBIDDEN.sub("\ufffd", str(value))), quote=True))


def link(text: str, relative_path: str) -> Markup:
    """A link to a file near the page. The path is quoted as a path, so that none can name a scheme or a host."""
    target = "/".join(quote(part, safe="") for part in relative_path.split("/") if part)
    return Markup(f'<a href="./{target}">{escape(text)}</a>')
