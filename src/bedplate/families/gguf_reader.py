"""GGUF files: a strict reader of the header, and tensors read one at a time as float32.

A GGUF file comes from outside, so nothing in it is believed: every count, length, dimension, type, alignment and
offset is checked against the bytes that are there *before* anything is allocated for it. Whatever is wrong is an
`InputError` that names the file, the thing and the place. The format is
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian); the blocks of quantised
tensors are decoded by the `gguf` package of the format's authors.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray

from bedplate.errors import InputError

Value: TypeAlias = "int | float | bool | str | list[Value] | NDArray[np.generic]"

_Q = GGMLQuantizationType
READABLE = frozenset(
    {_Q.F32, _Q.F16, _Q.BF16, _Q.Q4_0, _Q.Q4_1, _Q.Q5_0, _Q.Q5_1, _Q.Q8_0}
    | {_Q.Q2_K, _Q.Q3_K, _Q.Q4_K, _Q.Q5_K, _Q.Q6_K}
)
"""The tensor types that `GGUF.read` decodes."""

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 20
MAX_DIMENSIONS = 4
MAX_KEY_BYTES = 65535
MAX_NAME_BYTES = 64
MAX_DEPTH = 4
CHUNK_ELEMENTS = 1 << 22

STRING, ARRAY, BOOL = 8, 9, 7
NUMBERS = {
    0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 10: "<u8", 11: "<i8", 12: "<f8",
}  # fmt: skip
"""GGUF value type -> numpy dtype, for the fixed-width ones other than bool."""

SMALLEST_KEY_VALUE = 8 + 4 + 1
SMALLEST_TENSOR_INFO = 8 + 4 + 8 + 4 + 8


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of the file: `shape` in torch's order (rows first); `offset` in bytes from the start of the file."""

    name: str
    shape: tuple[int, ...]
    type: GGMLQuantizationType
    offset: int
    nbytes: int


class _Cursor:
    """A place in the mapped header. Every step checks that the bytes are there."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data = data
        self.path = path
        self.at = 0
        self.size = len(data)

    def fail(self, problem: str) -> InputError:
        return InputError(f"{self.path}: byte {self.at}: {problem}", "Fetch or convert the file again.")

    def need(self, count: int, what: str) -> None:
        if count > self.size - self.at:
            raise InputError(
                f"{self.path}: truncated or corrupt: {what} at byte {self.at} needs {count:,} bytes, "
                f"the file has {self.size - self.at:,} left of {self.size:,}",
                "Fetch or convert the file again.",
            )

    def take(self, count: int, what: str) -> bytes:
        self.need(count, what)
        start, self.at = self.at, self.at + count
        return self.data[start : self.at]

    def u32(self, what: str) -> int:
        return int(struct.unpack("<I", self.take(4, what))[0])

    def u64(self, what: str) -> int:
        return int(struct.unpack("<Q", self.take(8, what))[0])

    def string(self, what: str, limit: int | None = None) -> str:
        length = self.u64(f"the length of {what}")
        if limit is not None and length > limit:
            raise self.fail(f"{what} is {length:,} bytes long; the format allows {limit:,}")
        raw = self.take(length, what)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.fail(f"{what} isn't UTF-8 ({error.reason})") from None

    def value(self, kind: int, what: str, depth: int = 0) -> Value:
        if kind in NUMBERS:
            return np.frombuffer(self.take(np.dtype(NUMBERS[kind]).itemsize, what), NUMBERS[kind])[0].item()
        if kind == BOOL:
            return bool(self._bools(1, what)[0])
        if kind == STRING:
            return self.string(what)
        if kind == ARRAY:
            if depth == MAX_DEPTH:
                raise self.fail(f"{what}: arrays nested deeper than {MAX_DEPTH}")
            return self._array(what, depth)
        raise self.fail(f"{what} has the unknown value type {kind}")

    def _array(self, what: str, depth: int) -> Value:
        kind = self.u32(f"the element type of {what}")
        count = self.u64(f"the length of {what}")
        if kind in NUMBERS:
            dtype = np.dtype(NUMBERS[kind])
            return np.frombuffer(self.take(count * dtype.itemsize, what), dtype)
        if kind == BOOL:
            return self._bools(count, what)
        if kind not in (STRING, ARRAY):
            raise self.fail(f"{what} has the unknown element type {kind}")
        self.need(count * (8 if kind == STRING else 12), f"{what} ({count:,} elements)")
        return [self.value(kind, what, depth + 1) for _ in range(count)]

    def _bools(self, count: int, what: str) -> NDArray[np.bool_]:
        raw = np.frombuffer(self.take(count, what), np.uint8)
        if count and raw.max() > 1:
            raise self.fail(f"{what} is a truth value of {int(raw.max())}; 0 and 1 are allowed")
        return raw.astype(np.bool_)


class GGUF:
    """An open GGUF file. `metadata` maps keys to Python values (arrays of numbers stay numpy arrays);
    `tensors` maps names to `TensorInfo`, in the order of the file. Close it, or use it in a `with`."""

    def __init__(
        self, path: Path, data: mmap.mmap, version: int, metadata: dict[str, Value], tensors: dict[str, TensorInfo]
    ) -> None:
        self.path = path
        self.version = version
        self.metadata = metadata
        self.tensors = tensors
        self._data = data

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Map the file and check its whole header. Reads no tensor. Raises InputError on anything out of order."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                if size < 24:
                    raise InputError(
                        f"{path}: not a GGUF file: a header needs 24 bytes, the file has {size:,}", "Fetch it again."
                    )
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise InputError(f"{path}: can't be read: {error.strerror}", "Check the path.") from None
        try:
            return cls(path, data, *_header(_Cursor(data, path)))
        except BaseException:
            data.close()
            raise

    def read(self, name: str) -> NDArray[np.float32]:
        """The tensor as float32 in torch's shape. Decoded some rows at a time: little more memory than the result."""
        info = self.tensors[name]
        if info.type not in READABLE:
            raise InputError(
                f"{self.path}: tensor {name} has type {info.type.name}, which isn't supported",
                f"Supported: {', '.join(sorted(kind.name for kind in READABLE))}. Convert the file to one of them.",
            )
        from gguf.quants import dequantize

        rows = prod(info.shape[:-1])
        out = np.empty((rows, info.shape[-1]), np.float32)
        step = max(1, CHUNK_ELEMENTS // info.shape[-1])
        row_bytes = info.nbytes // rows
        for first in range(0, rows, step):
            count = min(step, rows - first)
            raw = np.frombuffer(self._data, np.uint8, count * row_bytes, info.offset + first * row_bytes)
            with np.errstate(all="ignore"):  # a hostile scale may overflow; whoever asked checks for finite values
                out[first : first + count] = dequantize(raw.reshape(count, row_bytes), info.type)
            del raw
        return out.reshape(info.shape)

    def close(self) -> None:
        self._data.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _header(cursor: _Cursor) -> tuple[int, dict[str, Value], dict[str, TensorInfo]]:
    """Parse and check everything before the tensors' data."""
    magic = cursor.take(4, "the magic")
    if magic != MAGIC:
        raise InputError(
            f"{cursor.path}: not a GGUF file: it starts with {magic!r}, not {MAGIC!r}", "Give the path of a GGUF file."
        )
    version = cursor.u32("the version")
    if version not in VERSIONS:
        big_endian = int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS
        found = "big-endian GGUF" if big_endian else f"GGUF version {version}"
        raise InputError(
            f"{cursor.path}: {found} isn't supported; little-endian versions 2 and 3 are",
            "Convert the file with a current llama.cpp.",
        )
    tensor_count = cursor.u64("the tensor count")
    key_count = cursor.u64("the metadata count")
    cursor.need(key_count * SMALLEST_KEY_VALUE + tensor_count * SMALLEST_TENSOR_INFO,
                f"a header of {key_count:,} metadata keys and {tensor_count:,} tensors")  # fmt: skip

    metadata: dict[str, Value] = {}
    for index in range(key_count):
        key = cursor.string(f"metadata key {index}", MAX_KEY_BYTES)
        if key in metadata:
            raise cursor.fail(f"metadata key {key!r} occurs twice")
        kind = cursor.u32(f"the type of {key!r}")
        if key == "general.alignment" and kind != 4:
            raise cursor.fail("general.alignment isn't a 32-bit unsigned integer")
        metadata[key] = cursor.value(kind, f"the value of {key!r}")

    infos: dict[str, tuple[tuple[int, ...], GGMLQuantizationType, int, int]] = {}
    for index in range(tensor_count):
        name = cursor.string(f"the name of tensor {index}", MAX_NAME_BYTES)
        if name in infos:
            raise cursor.fail(f"tensor {name!r} occurs twice")
        infos[name] = _tensor_info(cursor, name)
    return version, metadata, _place(cursor, infos, _alignment(cursor, metadata))


def _tensor_info(cursor: _Cursor, name: str) -> tuple[tuple[int, ...], GGMLQuantizationType, int, int]:
    """Shape in torch's order, type, offset in the data section, and bytes."""
    dimensions = cursor.u32(f"the dimension count of tensor {name!r}")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise cursor.fail(f"tensor {name!r} has {dimensions:,} dimensions; 1 to {MAX_DIMENSIONS} are allowed")
    shape = struct.unpack(f"<{dimensions}Q", cursor.take(8 * dimensions, f"the shape of tensor {name!r}"))[::-1]
    code = cursor.u32(f"the type of tensor {name!r}")
    offset = cursor.u64(f"the offset of tensor {name!r}")
    try:
        kind = GGMLQuantizationType(code)
    except ValueError:
        raise cursor.fail(f"tensor {name!r} has the unknown type {code}") from None
    block, block_bytes = GGML_QUANT_SIZES[kind]
    if 0 in shape:
        raise cursor.fail(f"tensor {name!r} has an empty shape {shape}")
    if shape[-1] % block:
        raise cursor.fail(f"tensor {name!r}: rows of {shape[-1]:,} don't divide into {kind.name} blocks of {block}")
    return shape, kind, offset, prod(shape) // block * block_bytes


def _alignment(cursor: _Cursor, metadata: dict[str, Value]) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 1 <= alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise cursor.fail(f"general.alignment is {alignment}; a power of two up to {MAX_ALIGNMENT:,} is allowed")
    return alignment


def _place(
    cursor: _Cursor, infos: dict[str, tuple[tuple[int, ...], GGMLQuantizationType, int, int]], alignment: int
) -> dict[str, TensorInfo]:
    """Absolute offsets, after checking that each tensor is aligned, inside the file and overlaps none."""
    start = -(-cursor.at // alignment) * alignment
    tensors = {
        name: TensorInfo(name, shape, kind, start + offset, nbytes)
        for name, (shape, kind, offset, nbytes) in infos.items()
    }
    for tensor in tensors.values():
        if (tensor.offset - start) % alignment:
            raise cursor.fail(f"tensor {tensor.name!r} starts at {tensor.offset:,}, which isn't aligned to {alignment}")
        if tensor.offset + tensor.nbytes > cursor.size:
            raise InputError(
                f"{cursor.path}: truncated or corrupt: tensor {tensor.name!r} needs bytes {tensor.offset:,} to "
                f"{tensor.offset + tensor.nbytes:,}, the file has {cursor.size:,}",
                "Fetch or convert the file again.",
            )

    ordered = sorted(tensors.values(), key=lambda tensor: tensor.offset)
    for before, after in pairwise(ordered):
        if before.offset + before.nbytes > after.offset:
            raise cursor.fail(f"tensors {before.name!r} and {after.name!r} overlap")
    return tensors
