"""Pictures with captions: rows of JSON Lines, JSON or CSV that name a picture, or a .txt beside each picture.

The document's text is the caption; its one image is the picture's path within the source.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import os
import posixpath
import warnings
from collections.abc import Iterator
from typing import Any

from bedplate.data.documents import Document, Failure
from bedplate.data.reading.fields import describe, json_type
from bedplate.data.reading.files import SourceFile, store
from bedplate.data.reading.guard import mended
from bedplate.data.reading.json_size import LARGEST_JSON, check_json
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.text import load, read_whole
from bedplate.data.source import Source

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Those of `PICTURES`, of which alone parsers run over what somebody sent."""
_MOST_FIELDS = 1000
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def read_captions(source: Source, file: SourceFile, limits: Limits) -> Iterator[Document | Failure]:
    """The captions that the file holds, each with its picture's size and hash. Raises OSError."""
    folder = _Folder(file)
    if file.suffix == ".txt":
        document = read_whole(file, limits)
        picture = folder.beside()
        if document.alive and picture is None:
            document.fail("read", "missing_picture", f"no picture of the name {file.path.stem} beside it")
        elif document.alive and picture is not None:
            document.text = (document.text or "").strip()
            folder.attach(document, picture, limits)
        yield document
        return
    data = load(file, LARGEST_JSON if file.suffix == ".json" else limits.container)
    if isinstance(data, Document):
        yield data
        return
    if file.suffix == ".json" and (problem := check_json(data)) is not None:
        document = Document(file.name, None, bytes=file.bytes)
        document.drop("read", "too_large", problem)
        yield document
        return
    number, rows = 0, _rows(file, data)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except (ValueError, TypeError, RecursionError, csv.Error) as error:
            fix = "Repair the file: it takes objects, or a table with a header."
            after = f" after row {number}" if number else ""
            problem = mended(f"can't be read{after}: {error}"[:300])
            yield Failure(file.name, file.place, "damaged_file", problem, fix, bytes=file.bytes)
            return
        number += 1
        yield _row(source, file, number, row, folder, limits)


def _rows(file: SourceFile, data: bytes) -> Iterator[object]:
    if file.suffix == ".csv":
        table = csv.DictReader(io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline=""), strict=True)
        if len(table.fieldnames or ()) > _MOST_FIELDS:
            raise ValueError(f"a header of more than {_MOST_FIELDS:,} fields")
        yield from table
    elif file.suffix == ".json":
        found = json.loads(data.decode("utf-8-sig"))
        if isinstance(found, dict):  # {"annotations": [...]}: the one list that it holds
            lists = [value for value in found.values() if isinstance(value, list)]
            if len(lists) != 1:
                raise ValueError(f"an object that holds {len(lists)} lists, of which one was to hold the captions")
            found = lists[0]
        yield from found
    else:
        for line in io.BytesIO(data.removeprefix(codecs.BOM_UTF8)):
            if line.strip():
                try:
                    yield json.loads(line.decode()) if check_json(line) is None else None
                except (ValueError, RecursionError):
                    yield None


def _row(
    source: Source, file: SourceFile, number: int, row: Any, folder: _Folder, limits: Limits
) -> Document | Failure:
    name, place = f"{file.name}#{number}", f"{file.place} row {number}"
    document = Document(name, None, offset=number - 1)
    if not isinstance(row, dict):
        document.fail("read", "corrupt_line", "not a JSON object")
        return document
    present = ", ".join(map(str, list(row)[:20])) or "none"
    for field in (source.text_field, source.image_field):
        if not isinstance(row.get(field), str):
            what = f"holds {json_type(row[field])}, not a string" if field in row else f"isn't there ({present} are)"
            document.fail("read", "missing_field", f'the field "{field}" {what}')
            return document
    document.text = mended(row[source.text_field])
    document.bytes = len(document.text.encode())
    if document.bytes > limits.largest:
        document.text = None
        document.drop("read", "too_large", f"{document.bytes:,} bytes")
        return document
    folder.attach(document, row[source.image_field], limits)
    return describe(document, row, source, place)


class _Folder:
    """The folder of a captions file, and the pictures in it."""

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._within = posixpath.dirname(file.name.partition("/")[2])
        self._here = posixpath.dirname(file.url) if file.url is not None else os.fspath(file.path.parent)

    def beside(self) -> str | None:
        """The name of the picture that is called as the file is."""
        stem = posixpath.splitext(self._file.name.rpartition("/")[2])[0]
        names = (stem + suffix for suffix in (*PICTURES, *map(str.upper, PICTURES)))
        return next((name for name in names if self._exists(name)), None)

    def attach(self, document: Document, path: str, limits: Limits) -> None:
        """Make the picture at `path` (relative to the folder) the document's; fail it where that isn't one."""
        parts = posixpath.normpath(path)
        if posixpath.isabs(path) or parts.startswith("..") or "\\" in path or "\0" in path:
            document.fail("read", "missing_picture", f"{path!r:.200} leads out of the folder")
            return
        if not self._exists(parts):
            document.fail("read", "missing_picture", f"no file {path!r:.200}")
            return
        document.images = (posixpath.join(self._within, parts),)
        picture = SourceFile(self._file.path.parent / parts, parts, 0, 0, self._url(parts))
        data = load(picture, limits.container)
        if isinstance(data, Document):
            document.drop("read", "too_large", f"the picture {path!r:.200} has more than {limits.container:,} bytes")
            return
        document.metadata["picture"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        size = _size(data)
        if isinstance(size, str):
            document.fail("read", "damaged_picture", f"{path!r:.200}: {size}")
        else:
            document.metadata["picture"] |= size

    def _url(self, path: str) -> str | None:
        return f"{self._here}/{path}" if self._file.url is not None else None

    def _exists(self, path: str) -> bool:
        url = self._url(path)
        if url is None:
            inside = os.path.realpath(os.path.join(self._here, path))
            root = os.path.realpath(self._here)
            return os.path.isfile(inside) and os.path.commonpath([inside, root]) == root
        system, place = store(url)
        return bool(system.isfile(place))


def _size(data: bytes) -> dict[str, object] | str:
    """Width, height and format by the picture's header, or what is wrong with it. Its pixels aren't unpacked."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return {"width": image.width, "height": image.height, "format": (image.format or "").lower()}
    except UnidentifiedImageError:
        return "no picture of a kind that is known"
    except Exception as error:  # parsers of damaged headers raise what they like
        return mended(f"no picture that can be read ({error})"[:200])
