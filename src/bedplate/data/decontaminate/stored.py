"""The file of an `EvaluationIndex`: a .npz of four arrays. It may come from anybody, so that its every claim is checked
before there is room made for it: arrays of the right types, as long as the file has bytes for, with numbers that fit
together. Of the NumPy format (NEP 1) only what NumPy itself writes for such arrays is read; nothing is unpickled.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
Owners = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]

_TYPES = {"about": "|u1", "hashes": "<u8", "offsets": "<i8", "owners": "<i4"}
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(rb"\{'descr': '([^']{3})', 'fortran_order': False, 'shape': \((\d{1,18}),\), \} *\n")
_MOST_WORDS = 100


def write_index(path: Path, about: dict[str, Any], hashes: Hashes, offsets: Numbers, owners: Owners) -> None:
    """Write an index, the same bytes for the same one. about: JSON-able."""
    text = json.dumps(about, ensure_ascii=False).encode("utf-8", "surrogatepass")
    with path.open("wb") as stream:
        np.savez(stream, about=np.frombuffer(text, dtype=np.uint8), hashes=hashes, offsets=offsets, owners=owners)


def read_index(path: Path, version: int) -> tuple[dict[str, Any], Hashes, Numbers, Owners]:
    """What `write_index` wrote. Raises OSError for what can't be read, ValueError for what isn't an index."""
    try:
        with zipfile.ZipFile(path) as archive:
            most = path.stat().st_size
            arrays = {name: _array(archive, f"{name}.npy", kind, most) for name, kind in _TYPES.items()}
            if len(archive.infolist()) != len(_TYPES):
                raise ValueError("there is more in it than an index has")
        about = json.loads(arrays["about"].tobytes().decode("utf-8", "surrogatepass"))
    except RecursionError as error:
        raise ValueError("its description is nested without end") from error
    except (zipfile.BadZipFile, KeyError, EOFError, RuntimeError, struct.error) as error:  # what zipfile raises
        raise ValueError(f"damaged: {error}") from error
    found = about.get("version") if isinstance(about, dict) else None
    if found != version:
        raise ValueError(f"of version {found!r}, not {version}")
    hashes, offsets, owners = (arrays[name] for name in ("hashes", "offsets", "owners"))
    if not _describes(about):
        raise ValueError("its description isn't that of an index")
    if not _fits(len(about["items"]), hashes, offsets, owners):
        raise ValueError("its arrays don't fit together")
    return about, hashes, offsets, owners


def _array(archive: zipfile.ZipFile, name: str, kind: str, most: int) -> npt.NDArray[Any]:
    """One array of the archive: whole, uncompressed, of one dimension and this very type, and of `most` bytes."""
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise ValueError(f"{name} in it is compressed or encrypted")
    if not entry.file_size == entry.compress_size <= most:  # reading makes room for what the archive claims
        raise ValueError(f"{name} in it claims {entry.file_size:,} bytes, and the file has {most:,}")
    with archive.open(entry) as stream:
        size = entry.file_size - len(_MAGIC) - 2
        header = _header(stream) if size >= 0 else b""
        match = _HEADER.fullmatch(header)
        if match is None or match[1].decode("latin-1") != kind:
            raise ValueError(f"{name} in it isn't a row of {kind}")
        data = stream.read(size - len(header))
    if len(data) != int(match[2]) * np.dtype(kind).itemsize:
        raise ValueError(f"{name} in it says that it has {int(match[2]):,} numbers, and has {len(data):,} bytes")
    return np.frombuffer(data, dtype=kind)


def _header(stream: IO[bytes]) -> bytes:
    if stream.read(len(_MAGIC)) != _MAGIC:
        return b""
    return stream.read(int.from_bytes(stream.read(2), "little"))


def _describes(about: dict[str, Any]) -> bool:
    words, least, lengths = about.get("words"), about.get("least"), about.get("lengths")
    items, origins = about.get("items"), about.get("origins")
    return (
        isinstance(lengths, list)
        and all(type(number) is int for number in (words, least, *lengths))
        and 1 <= about["least"] <= about["words"] <= _MOST_WORDS
        and lengths == sorted(set(lengths))
        and set(lengths) <= set(range(about["least"], about["words"] + 1))
        and isinstance(items, list)
        and all(isinstance(item, list) and len(item) == 2 and _texts(item) for item in items)
        and isinstance(origins, list)
        and all(isinstance(origin, dict) and set(origin) == {"task", "place", "sha256"} for origin in origins)
        and all(_texts(list(origin.values())) for origin in origins)
    )


def _texts(values: list[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _fits(items: int, hashes: Hashes, offsets: Numbers, owners: Owners) -> bool:
    return bool(
        len(hashes)
        and len(offsets) == len(hashes) + 1
        and offsets[0] == 0
        and offsets[-1] == len(owners)
        and np.all(hashes[1:] > hashes[:-1])
        and np.all(offsets[1:] > offsets[:-1])
        and owners.min() >= 0
        and owners.max() < items
    )
