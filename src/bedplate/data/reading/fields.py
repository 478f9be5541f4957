"""What a row's fields say of its document, by the source's settings; the same for JSON Lines and tables."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from bedplate.data.documents import Document, Failure
from bedplate.data.source import Source

_OPTIONS = {
    "url_field": "url", "title_field": "title", "date_field": "date",
    "license_field": "license", "language_field": "language",
}  # fmt: skip
_FIELDS = ("id_field", "group_field", *_OPTIONS)


def named_fields(source: Source) -> dict[str, str]:
    """{option: field} for every option that names one, the text's first."""
    named = {option: getattr(source, option) for option in ("text_field", *_FIELDS)}
    return {option: field for option, field in named.items() if field is not None}


def describe(
    document: Document, row: Mapping[str, Any], source: Source, place: str
) -> Document | Failure:  # a row holds whatever its writer put there
    """The document with what its row's fields say of it; its own id is metadata["id"], by which `deduplicate.ids` finds
    those that were there before.

    A Failure where it has no group or no id, though the source says that all have.
    """
    for option, attribute in _OPTIONS.items():
        if (field := getattr(source, option)) is not None and (value := _text(row.get(field))) is not None:
            setattr(document, attribute, value)
    skip = "or set on_error=skip to count those without as failed and go on."
    if source.group_field is not None:
        group = row.get(source.group_field)
        if not isinstance(group, str | int):
            problem = f'the field "{source.group_field}" holds {json_type(group)}, which names no group'
            fix = f"Give every document one, {skip}"
            return Failure(document.source, place, "no_group", problem, fix, bytes=document.bytes)
        document.group = str(group)
    if source.id_field is not None:
        own = row.get(source.id_field)
        if not isinstance(own, str | int) or isinstance(own, bool):
            problem = f'the field "{source.id_field}" holds {json_type(own)}, which is no id'
            return Failure(
                document.source, place, "no_id", problem, f"Give every record one, {skip}", bytes=document.bytes
            )
        document.metadata["id"] = own
    return document


def _text(value: object) -> str | None:
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.UTC).replace(tzinfo=None)
            return value.isoformat(timespec="seconds") + "Z"
        return value.isoformat(timespec="seconds")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def json_type(value: object) -> str:
    """What JSON calls a parsed value, with its article."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int | float):
        return "a number"
    return "an array" if isinstance(value, list) else "an object"
