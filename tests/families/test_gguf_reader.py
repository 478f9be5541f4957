"""The GGUF reader agrees with the format's own package on good files, and never trusts a bad one."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.errors import InputError
from bedplate.families.gguf_reader import GGUF, READABLE

U8, U32, F32, BOOL, STRING, ARRAY, U64 = 0, 4, 6, 7, 8, 9, 10
HUGE = 2**62


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def array(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + body


def tensor(name: str, shape: Sequence[int], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def build(
    pairs: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    data: bytes = b"",
    *,
    keys: int | None = None,
    count: int | None = None,
    version: bytes = struct.pack("<I", 3),
    align: int = 32,
) -> bytes:
    head = b"GGUF" + version
    head += struct.pack("<QQ", len(tensors) if count is None else count, len(pairs) if keys is None else keys)
    head += b"".join(pairs) + b"".join(tensors)
    return head + b"\0" * (-len(head) % align) + data


GOOD = build(
    [
        pair("general.architecture", STRING, text("llama")),
        pair("general.alignment", U32, struct.pack("<I", 32)),
        pair("numbers", ARRAY, array(F32, 3, struct.pack("<3f", 1, 2, 3))),
        pair("words", ARRAY, array(STRING, 2, text("ein") + text("zwei"))),
        pair("nested", ARRAY, array(ARRAY, 1, array(U8, 2, b"\1\2"))),
        pair("flags", ARRAY, array(BOOL, 2, b"\1\0")),
    ],
    [tensor("a", [2, 3]), tensor("b", [4], offset=32)],
    struct.pack("<6f", *range(6)) + b"\0" * 8 + struct.pack("<4f", 9, 8, 7, 6),
)
HEADER_BYTES = GOOD.index(struct.pack("<6f", *range(6)))


@contextlib.contextmanager
def little_memory(limit: int = 1 << 20) -> Iterator[None]:
    """Fails if more than `limit` bytes are allocated at any time inside."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def test_reads_a_good_file(tmp_path):
    path = tmp_path / "good.gguf"
    path.write_bytes(GOOD)
    with GGUF.open(path) as file:
        assert file.version == 3
        assert file.metadata["general.architecture"] == "llama"
        assert file.metadata["words"] == ["ein", "zwei"]
        assert np.array_equal(file.metadata["numbers"], [1, 2, 3])
        assert np.array_equal(file.metadata["nested"][0], [1, 2])
        assert file.metadata["flags"].tolist() == [True, False]
        assert file.tensors["a"].shape == (3, 2)
        assert file.read("a").tolist() == [[0, 1], [2, 3], [4, 5]]
        assert file.read("b").tolist() == [9, 8, 7, 6]


def test_metadata_equals_what_the_formats_own_writer_was_given(tmp_path):
    path = tmp_path / "m.gguf"
    writer = GGUFWriter(path, "llama")
    scalars = {"uint8": 7, "int8": -7, "uint16": 65535, "int16": -5, "uint32": 2**32 - 1, "int32": -(2**31)}
    scalars |= {"uint64": 2**64 - 1, "int64": -(2**63), "float32": 0.5, "float64": 0.1, "bool": True}
    scalars |= {"string": "naïve 🦙"}
    for kind, value in scalars.items():
        getattr(writer, f"add_{kind}")(f"x.{kind}", value)
    writer.add_array("x.strings", ["", "a\nb", "漢"])
    writer.add_array("x.ints", [1, -2, 3])
    writer.add_tensor("t", np.arange(12, dtype=np.float32).reshape(3, 4))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with GGUF.open(path) as file:
        for kind, value in scalars.items():
            assert file.metadata[f"x.{kind}"] == value
            assert type(file.metadata[f"x.{kind}"]) is type(value)
        assert file.metadata["x.strings"] == ["", "a\nb", "漢"]
        assert file.metadata["x.ints"].tolist() == [1, -2, 3]
        assert np.array_equal(file.read("t"), np.arange(12).reshape(3, 4))


@pytest.mark.parametrize("kind", sorted(READABLE), ids=lambda kind: kind.name)
def test_every_type_is_decoded_as_the_formats_own_package_does(tmp_path, kind):
    generator = np.random.default_rng(0)
    rows, columns = 7, 512
    block, block_bytes = GGML_QUANT_SIZES[kind]
    values = generator.standard_normal((rows, columns), dtype=np.float32)
    try:
        raw = np.ascontiguousarray(quantize(values, kind)).view(np.uint8).reshape(rows, -1)
    except NotImplementedError:  # K-quants can be read only: any bytes are some blocks
        raw = generator.integers(0, 256, (rows, columns // block * block_bytes), dtype=np.uint8)
    path = tmp_path / "q.gguf"
    path.write_bytes(build([], [tensor("t", [columns, rows], int(kind))], raw.tobytes()))
    with GGUF.open(path) as file:
        found = file.read("t")
    with np.errstate(all="ignore"):
        expected = dequantize(raw, kind)
    assert found.dtype == np.float32
    assert found.shape == (rows, columns)
    assert np.array_equal(found, expected, equal_nan=True)


def test_large_tensors_are_decoded_in_pieces(tmp_path):
    rows, columns = 2500, 4096  # more than two pieces
    raw = np.random.default_rng(0).integers(0, 100, (rows, columns // 32 * 34), dtype=np.uint8)
    path = tmp_path / "large.gguf"
    path.write_bytes(build([], [tensor("t", [columns, rows], int(GGMLQuantizationType.Q8_0))], raw.tobytes()))
    with GGUF.open(path) as file, little_memory(rows * columns * 4 + (120 << 20)):
        found = file.read("t")
    with np.errstate(all="ignore"):
        assert np.array_equal(found, dequantize(raw, GGMLQuantizationType.Q8_0), equal_nan=True)


def test_the_real_file_is_read_as_the_formats_own_reader_does(smollm2_gguf):
    theirs = GGUFReader(smollm2_gguf)
    with GGUF.open(smollm2_gguf) as ours:
        assert set(ours.metadata) == {key for key in theirs.fields if not key.startswith("GGUF.")}
        for key, value in ours.metadata.items():
            expected = theirs.fields[key].contents()
            assert (value.tolist() if isinstance(value, np.ndarray) else value) == expected, key
        assert list(ours.tensors) == [item.name for item in theirs.tensors]
        for item in theirs.tensors:
            info = ours.tensors[item.name]
            assert (info.offset, info.nbytes, info.type) == (item.data_offset, item.n_bytes, item.tensor_type)


def test_unsupported_types_are_named(tmp_path):
    path = tmp_path / "iq.gguf"
    size = GGML_QUANT_SIZES[GGMLQuantizationType.IQ2_XXS][1]
    path.write_bytes(build([], [tensor("t", [256], int(GGMLQuantizationType.IQ2_XXS))], b"\0" * size))
    with GGUF.open(path) as file, pytest.raises(InputError, match="tensor t has type IQ2_XXS"):
        file.read("t")


def test_a_header_cut_at_any_byte_is_refused_by_name(tmp_path):
    path = tmp_path / "cut.gguf"
    with little_memory():
        for length in range(HEADER_BYTES):
            path.write_bytes(GOOD[:length])
            with pytest.raises(InputError, match=r"cut\.gguf"):
                GGUF.open(path)


def test_cut_data_says_what_is_missing(tmp_path):
    path = tmp_path / "cut.gguf"
    path.write_bytes(GOOD[:-1])
    expected = rf"tensor 'b' needs bytes {len(GOOD) - 16:,} to {len(GOOD):,}, the file has {len(GOOD) - 1:,}"
    with pytest.raises(InputError, match=expected):
        GGUF.open(path)


def nested(depth: int) -> bytes:
    body = array(U8, 0, b"")
    for _ in range(depth):
        body = array(ARRAY, 1, body)
    return body


ZEROS = b"\0" * 256
HOSTILE = {
    "not a GGUF": (b"PK\3\4" + ZEROS, "not a GGUF file"),
    "empty": (b"", "24 bytes"),
    "version 1": (build(version=struct.pack("<I", 1)), "GGUF version 1"),
    "big-endian": (build(version=struct.pack(">I", 3)), "big-endian"),
    "many keys": (build(keys=HUGE), "metadata keys"),
    "many tensors": (build(count=HUGE), "tensors"),
    "long key": (build([struct.pack("<Q", HUGE) + ZEROS]), "allows 65,535"),
    "long string": (build([pair("k", STRING, struct.pack("<Q", HUGE))], [], ZEROS), "needs"),
    "key not UTF-8": (build([text(b"\xff\xfe") + struct.pack("<IB", U8, 1)]), "UTF-8"),
    "twice a key": (build([pair("k", U8, b"\1")] * 2), "'k' occurs twice"),
    "unknown value type": (build([pair("k", 13, ZEROS)]), "unknown value type 13"),
    "unknown element type": (build([pair("k", ARRAY, array(13, 1, ZEROS))]), "unknown element type 13"),
    "many numbers": (build([pair("k", ARRAY, array(U64, HUGE, ZEROS))]), "needs"),
    "many strings": (build([pair("k", ARRAY, array(STRING, HUGE, ZEROS))]), "elements"),
    "many arrays": (build([pair("k", ARRAY, array(ARRAY, HUGE, ZEROS))]), "elements"),
    "deep arrays": (build([pair("k", ARRAY, nested(100_000))]), "nested deeper"),
    "neither true nor false": (build([pair("k", BOOL, b"\2")]), "truth value of 2"),
    "alignment 0": (build([pair("general.alignment", U32, struct.pack("<I", 0))]), "general.alignment is 0"),
    "alignment 3": (build([pair("general.alignment", U32, struct.pack("<I", 3))]), "general.alignment is 3"),
    "alignment huge": (build([pair("general.alignment", U32, struct.pack("<I", 1 << 31))]), "general.alignment is"),
    "alignment a word": (build([pair("general.alignment", STRING, text("32"))]), "isn't a 32-bit"),
    "no dimensions": (build([], [tensor("t", [])], ZEROS), "0 dimensions"),
    "many dimensions": (build([], [text("t") + struct.pack("<I", 2**32 - 1) + ZEROS]), "4,294,967,295 dimensions"),
    "empty tensor": (build([], [tensor("t", [4, 0])], ZEROS), "empty shape"),
    "shape overflows": (build([], [tensor("t", [2**63, 2**63])], ZEROS), "truncated or corrupt"),
    "unknown tensor type": (build([], [tensor("t", [4], 4)], ZEROS), "unknown type 4"),
    "broken block": (build([], [tensor("t", [33], int(GGMLQuantizationType.Q8_0))], ZEROS), "don't divide into"),
    "offset beyond": (build([], [tensor("t", [4], offset=HUGE)], ZEROS), "truncated or corrupt"),
    "misaligned": (build([], [tensor("t", [4], offset=4)], ZEROS), "aligned to 32"),
    "overlapping": (build([], [tensor("s", [16]), tensor("t", [16], offset=32)], ZEROS), "'s' and 't' overlap"),
    "twice a tensor": (build([], [tensor("t", [4]), tensor("t", [4], offset=32)], ZEROS), "'t' occurs twice"),
    "long tensor name": (build([], [tensor("t" * 65, [4])], ZEROS), "allows 64"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused_without_allocating(tmp_path, name):
    content, message = HOSTILE[name]
    path = tmp_path / "hostile.gguf"
    path.write_bytes(content)
    with little_memory(), pytest.raises(InputError, match=message) as caught:
        GGUF.open(path)
    assert "hostile.gguf" in caught.value.problem


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        GGUF.open(tmp_path / "none.gguf")


@settings(max_examples=400, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(4, HEADER_BYTES - 1), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, len(GOOD)),
)
def test_damaged_bytes_give_an_input_error_or_a_readable_file(tmp_path_factory, changes, cut):
    content = bytearray(GOOD)
    for at, byte in changes:
        content[at] = byte
    path = tmp_path_factory.getbasetemp() / "fuzz.gguf"
    path.write_bytes(bytes(content[: len(GOOD) - cut if cut < 16 else len(GOOD)]))
    with little_memory(), contextlib.suppress(InputError), GGUF.open(path) as file:
        for name, info in file.tensors.items():
            if info.type in READABLE:
                assert file.read(name).shape == info.shape
