"""An index's file that is damaged, or made by somebody who means harm: refused, without room made for its claims."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.data.decontaminate.config import DecontaminateConfig, EvaluationFile
from bedplate.data.decontaminate.index import EvaluationIndex
from bedplate.data.decontaminate.items import EvaluationItem, Origin
from bedplate.data.decontaminate.step import build_index
from bedplate.errors import ArtefactError, InputError

ITEMS = [EvaluationItem("t", str(number), (" ".join(f"w{number}x{i}" for i in range(20)),)) for number in range(5)]


def made() -> EvaluationIndex:
    return EvaluationIndex.build(ITEMS, [Origin("t", "t.jsonl", "0" * 64)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("index") / "index.npz"
    made().save(path)
    return path.read_bytes()


def entries(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(path, parts, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def array(values, kind=None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(values, dtype=kind), allow_pickle=True)
    return stream.getvalue()


def claiming(kind: str, shape: str) -> bytes:
    """The header of a NumPy array that says what it likes."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (117 - len(text)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


class Executed:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


HOSTILE = {
    "objects": {"hashes.npy": array([Executed()], object)},
    "floats": {"hashes.npy": array([1.0, 2.0])},
    "other endianness": {"hashes.npy": array([1, 2], ">u8")},
    "two dimensions": {"hashes.npy": array([[1, 2]], "<u8")},
    "a scalar": {"owners.npy": array(3, "<i4")},
    "huge shape": {"hashes.npy": claiming("<u8", "(99999999999999999,)")},
    "overflowing shape": {"hashes.npy": claiming("<u8", "(999999999999999999999999,)")},
    "negative shape": {"hashes.npy": claiming("<u8", "(-1,)")},
    "code in the header": {"hashes.npy": claiming("<u8", "(__import__('os').getpid(),)")},
    "nested header": {"hashes.npy": claiming("<u8", "(" * 60)},
    "no array": {"offsets.npy": b"nothing"},
    "empty": {"offsets.npy": b""},
    "no hashes": {"hashes.npy": array([], "<u8"), "offsets.npy": array([0], "<i8"), "owners.npy": array([], "<i4")},
    "unsorted": {"hashes.npy": lambda data: data[:128] + data[136:] + data[128:136]},
    "owner that there isn't": {"owners.npy": lambda data: data[:-4] + (5).to_bytes(4, "little")},
    "negative owner": {"owners.npy": lambda data: data[:-4] + b"\xff" * 4},
    "offsets beyond": {"offsets.npy": lambda data: data[:-8] + (10**12).to_bytes(8, "little")},
    "offsets backwards": {"offsets.npy": lambda data: data[:136] + (10**6).to_bytes(8, "little") + data[144:]},
    "nested description": {"about.npy": array(np.frombuffer(b"[" * 200_000, np.uint8))},
    "a list": {"about.npy": array(np.frombuffer(b"[1]", np.uint8))},
    "a long number": {"about.npy": array(np.frombuffer(b'{"version": ' + b"9" * 9999 + b"}", np.uint8))},
    "no JSON": {"about.npy": array(np.frombuffer(b"\xff\xfe", np.uint8))},
    "one entry more": {"more.npy": array([1])},
}


@pytest.mark.parametrize("parts", HOSTILE.values(), ids=HOSTILE)
def test_a_file_of_somebody_elses_is_refused(whole, tmp_path, parts):
    good = entries(whole)
    changed = {name: part(good[name]) if callable(part) else part for name, part in parts.items()}
    archive_of(tmp_path / "bad.npz", good | changed)
    tracemalloc.start()
    with pytest.raises(ArtefactError, match=r"bad\.npz: not an index of evaluation items"):
        EvaluationIndex.load(tmp_path / "bad.npz")
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"words": 10**9},
        {"words": 13.0},
        {"least": 0},
        {"least": True},
        {"least": 14},
        {"lengths": [13, 10**9]},
        {"lengths": [13, 13]},
        {"lengths": ["13"]},
        {"lengths": None},
        {"items": [["t", "1"]]},
        {"items": [["t"]] * 5},
        {"items": [["t", 1]] * 5},
        {"items": {"t": "1"}},
        {"origins": [{"task": "t"}]},
        {"origins": [{"task": "t", "place": "p", "sha256": 0}]},
        {"origins": ["t"]},
    ],
    ids=str,
)
def test_a_description_that_makes_no_sense_is_refused(whole, tmp_path, change):
    good = entries(whole)
    about = json.loads(good["about.npy"][128:]) | change
    archive_of(tmp_path / "bad.npz", good | {"about.npy": array(np.frombuffer(json.dumps(about).encode(), np.uint8))})
    with pytest.raises(ArtefactError, match="not an index"):
        EvaluationIndex.load(tmp_path / "bad.npz")


def test_compressed_arrays_and_sizes_that_the_file_has_not_are_refused(whole, tmp_path):
    good = entries(whole)
    bomb = good | {"hashes.npy": claiming("<u8", f"({10**7},)") + bytes(8 * 10**7)}
    archive_of(tmp_path / "bomb.npz", bomb, zipfile.ZIP_DEFLATED)
    entry = zipfile.ZipFile(io.BytesIO(whole)).getinfo("hashes.npy")
    sizes = entry.compress_size.to_bytes(4, "little") + entry.file_size.to_bytes(4, "little")
    (tmp_path / "claims.npz").write_bytes(whole.replace(sizes, b"\xfe\xff\xff\xff" * 2))
    tracemalloc.start()
    for name, says in (("bomb.npz", "compressed"), ("claims.npz", r"claims 4,294,967,294 bytes")):
        with pytest.raises(ArtefactError, match=says):
            EvaluationIndex.load(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_anywhere_gives_the_error_or_changes_nothing(whole, tmp_path_factory, data):
    at = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.booleans())
    damaged = whole[:at] if cut else whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(damaged)
    try:
        index = EvaluationIndex.load(path)
    except ArtefactError:
        return
    assert index.items == made().items  # a byte of the archive's own, such as a date
    assert np.array_equal(index.hashes, made().hashes)


def test_an_index_with_a_task_of_any_name_comes_back(tmp_path):
    odd = EvaluationItem("t\ud800", "é\n", ITEMS[0].passages)
    EvaluationIndex.build([odd], []).save(tmp_path / "index.npz")
    assert EvaluationIndex.load(tmp_path / "index.npz").items == (("t\ud800", "é\n"),)


def test_very_many_empty_items(tmp_path):
    rows = tmp_path / "items.jsonl"
    rows.write_text('{"q": ""}\n' * 199_999 + json.dumps({"q": ITEMS[0].passages[0]}) + "\n")
    file = EvaluationFile(path=str(rows), fields=("q",))
    index = build_index(DecontaminateConfig(files=(file,)))
    assert index.items_touched(ITEMS[0].passages[0]) == [("items", "200000")]
    assert index.covered.sum() == 1


def test_items_that_are_all_too_short_are_refused(tmp_path):
    rows = tmp_path / "items.jsonl"
    rows.write_text('{"q": ""}\n' * 2000)
    with pytest.raises(InputError, match=r"none of 2,000 evaluation items has 8 words or more"):
        build_index(DecontaminateConfig(files=(EvaluationFile(path=str(rows), fields=("q",)),)))
