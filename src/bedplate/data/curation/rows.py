"""A `Document` as a row of a shard: the columns, their types, and what becomes of a text that is left out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bedplate.data.corpus import CORPUS_SCHEMA, DROPPED_SCHEMA, identity
from bedplate.data.documents import Document

EXCERPT = 300
"""Characters kept of a document that was left out."""
CONFIDENTIAL = ("privacy", "rights")
"""Stages whose dropped documents leave no excerpt."""

_LATER = ("other",)
SHARD_SCHEMA = {name: kind for name, kind in (CORPUS_SCHEMA | DROPPED_SCHEMA).items() if name not in _LATER}


def shard_schema(columns: Mapping[str, str]) -> dict[str, str]:
    """The columns of a shard, with those that the steps add."""
    return SHARD_SCHEMA | {name: kind for name, kind in columns.items() if name not in SHARD_SCHEMA}


def row_of(document: Document, label: str, columns: Mapping[str, str]) -> dict[str, Any]:
    """A shard's row; `label` is its source's.

    What was left out before it had a text has no id, sha256 or bytes of UTF-8.
    """
    text, data = document.text, None
    if text is not None:
        data = text.encode(errors="surrogatepass")
    digest = hashlib.sha256(data).hexdigest() if data is not None and text and text.strip() else None
    excerpt = None
    if not document.alive and text and document.stage not in CONFIDENTIAL:
        excerpt = clean(text[:EXCERPT])
    picture, images = _picture(document)
    row = {
        "id": identity(digest, picture)[:24] if digest else None,
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
        "group": clean(document.group) or (picture and f"picture {picture}"),
        "synthetic": clean(document.synthetic),
        "metadata": clean(json.dumps(document.metadata, ensure_ascii=False)) if document.metadata else None,
        "picture": picture,
        "images": clean(images),
        "status": document.status,
        "stage": document.stage,
        "reason": document.reason,
        "detail": clean(document.detail),
        "excerpt": excerpt,
    }
    # What came out of a corpus brings its split, cluster and copies along.
    return row | {n: document.columns.get(n) for n in ("split", "cluster", "copies", *columns) if n not in row}


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
