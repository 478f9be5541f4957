"""A `Document` as a row of a shard: the columns, their types, and what becomes of a text that is left out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bedplate.data.corpus import CORPUS_SCHEMA, DROPPED_SCHEMA, identity
from bedplate.data.curation.record_id import RECORD_ID, record_id
from bedplate.data.documents import Document

if TYPE_CHECKING:
    from bedplate.data.privacy.masking import Masker

EXCERPT = 300
"""Characters kept of a document that was left out."""
RIGHTS = ("rights", "takedown_lists", "takedown")
CONFIDENTIAL = ("privacy", *RIGHTS)
"""Stages whose dropped documents leave no excerpt."""

_WHOSE = ("taken_down", "opted_out")
"""Reasons for which nothing is left of a document but what names it."""
_ABOUT = ("title", "metadata", "excerpt")
_LISTED = ("owner", "url", "domain", "sha256", "id")
_EXACT = ("id", "text", "label", "sha256", "record_sha256", RECORD_ID, "picture", "status", "stage", "reason", "split",
          "cluster", "title", "metadata", "images", "synthetic", "excerpt", "group")  # fmt: skip
"""Columns that have no words of people, or that are masked in a way of their own."""

_LATER = ("other",)
SHARD_SCHEMA = {name: kind for name, kind in (CORPUS_SCHEMA | DROPPED_SCHEMA).items() if name not in _LATER}
SHARD_SCHEMA[RECORD_ID] = "string"


def shard_schema(columns: Mapping[str, str]) -> dict[str, str]:
    """The columns of a shard, with those that the steps add."""
    return SHARD_SCHEMA | {name: kind for name, kind in columns.items() if name not in SHARD_SCHEMA}


def row_of(document: Document, label: str, columns: Mapping[str, str], mask: Masker | None = None) -> dict[str, Any]:
    """A shard's row; `label` is its source's. mask: masks whatever is written of it, where the privacy section says so;
    the text of a document that is kept has been through it.

    What was left out before it had a text has no id, sha256 or bytes of UTF-8. What was left out for whose it is has
    neither title, metadata nor excerpt.
    """
    text, data = document.text, None
    if text is not None:
        data = text.encode(errors="surrogatepass")
    digest = hashlib.sha256(data).hexdigest() if data is not None and text and text.strip() else None
    picture, images = _picture(document)
    # A text that a corpus has as it is keeps its id, which may be that of a text from before something was cut out.
    known = document.columns.get("id") if digest and digest == document.columns.get("sha256") else None
    row = {
        "id": known or (identity(digest, picture)[:24] if digest else None),
        "text": text if document.alive else None,
        "source": clean(document.source),
        "label": document.label or label,
        "url": clean(document.url),
        "domain": domain_of(document.url),
        "title": clean(document.title),
        "date": clean(document.date),
        "license": clean(document.license),
        "language": clean(document.language),
        "bytes": len(data) if data is not None and document.alive else document.bytes,
        "sha256": digest,
        "offset": document.offset,
        "record_sha256": document.record_sha256,
        RECORD_ID: document.columns.get(RECORD_ID) or record_id(document.metadata),
        "group": clean(document.group) or (picture and f"picture {picture}"),
        "synthetic": clean(document.synthetic),
        "metadata": _metadata(document, mask),
        "picture": picture,
        "images": clean(images),
        "status": document.status,
        "stage": document.stage,
        "reason": document.reason,
        "detail": clean(document.detail),
        "excerpt": _excerpt(document, mask),
    }
    # What came out of a corpus brings its split, cluster and copies along.
    row |= {n: document.columns.get(n) for n in ("split", "cluster", "copies", *columns) if n not in row}
    if document.stage in RIGHTS and not document.alive:
        _without_names(row)
    elif (document.stage, document.status) == ("privacy", "failed"):
        row["title"] = None
    return row if mask is None else _masked(row, mask)


def _metadata(document: Document, mask: Masker | None) -> str | None:
    known = document.metadata
    if (document.stage, document.status) == ("privacy", "failed"):  # what can't be looked at isn't shown
        return None
    if known and mask is not None and not document.alive:  # a document that is kept has been through it
        known = mask.value(known)
    return clean(json.dumps(known, ensure_ascii=False)) if known else None


def _excerpt(document: Document, mask: Masker | None) -> str | None:
    """How the text of a document begins that was left out, and not for whose it is or whom it is about."""
    if document.alive or not document.text or document.stage in CONFIDENTIAL:
        return None
    text = document.text
    return clean(text[:EXCERPT] if mask is None else mask.beginning(text, EXCERPT))


def _without_names(row: dict[str, Any]) -> None:
    """Take out of the row of a document that rights left out what it is about, and whose it is: an entry of a list is
    named by its kind."""
    whose = row["reason"] in _WHOSE
    if whose:
        row |= dict.fromkeys(_ABOUT)
    kind, equals, _ = (row["detail"] or "").partition("=")
    if equals and kind in (_LISTED if whose else ("owner",)):
        row["detail"] = f"{'an' if kind in ('owner', 'id') else 'a'} {kind} entry of rights.{row['reason']}"


def _masked(row: dict[str, Any], mask: Masker) -> dict[str, Any]:
    """The row with personal data masked. Pictures of what is kept are found by their paths: these stay."""
    for name, value in row.items():
        if isinstance(value, str) and name not in _EXACT:
            row[name] = mask.name(value)
    if row["group"] is not None:
        row["group"] = mask.key(row["group"])
    if row["synthetic"] is not None:
        row["synthetic"] = mask.json(row["synthetic"])
    if row["status"] != "kept":
        row["title"] = row["title"] and mask.prose(row["title"])
        row["images"] = row["images"] and mask.json(row["images"])
    return row


def _picture(document: Document) -> tuple[str | None, str | None]:
    """The hash of its picture, and where its pictures are. What came out of a corpus brings both along."""
    if not document.images:
        carried = (document.columns.get(name) for name in ("picture", "images"))
        picture, images = (None if value is None else str(value) for value in carried)
        return picture, images
    found = document.metadata.get("picture", {}).get("sha256")
    return found, json.dumps(document.images, ensure_ascii=False)


def clean(text: str | None) -> str | None:
    """The text without halves of surrogate pairs, which UTF-8 can't spell."""
    return None if text is None else text.encode(errors="replace").decode()


def domain_of(url: str | None) -> str | None:
    """The host of a URL, in lower case, without a leading www."""
    if not url:
        return None
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return clean(host.lower().removeprefix("www.")) if host else None
