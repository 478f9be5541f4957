"""Safetensors folders: one file, or shards with an index. Headers are checked before anything is allocated."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from bedplate.errors import InputError, WeightsError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 5 * 10**9
_MAX_HEADER = 100_000_000  # as the format's own reader allows


class Checkpoint:
    """The tensors of a model folder, read one by one."""

    def __init__(self, folder: Path) -> None:
        """Raises InputError for a missing, truncated or broken file, naming it; WeightsError for pickled weights."""
        self.folder = folder
        self._headers = {path: _header(path) for path in _files(folder)}
        self._owner: dict[str, Path] = {}
        for path, header in self._headers.items():
            for name in header:
                if name in self._owner:
                    raise InputError(f"{path}: {name} is also in {self._owner[name].name}", "Remove one of the files.")
                self._owner[name] = path

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every tensor."""
        return {name: tuple(self._headers[path][name]["shape"]) for name, path in self._owner.items()}

    def read(self, names: Mapping[str, str]) -> Iterator[tuple[str, Tensor]]:
        """(key, tensor) for each key -> name in `names`, file by file."""
        for path in self._headers:
            wanted = [key for key, name in names.items() if self._owner.get(name) == path]
            if not wanted:
                continue
            with safe_open(path, framework="pt") as file:
                for key in wanted:
                    yield key, file.get_tensor(names[key])


def _files(folder: Path) -> list[Path]:
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if (folder / INDEX).is_file():
        try:
            shards = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise InputError(f"{folder / INDEX}: not an index of shards: {error}", "Take an undamaged copy.") from error
        for shard in shards:
            if not isinstance(shard, str) or Path(shard).name != shard:
                raise InputError(f"{folder / INDEX}: shard name {shard!r} is not a file's name", "Don't use this file.")
            if not (folder / shard).is_file():
                raise InputError(f"{folder / shard}: missing; {INDEX} names it", "Copy all shards of the model.")
        return [folder / shard for shard in shards]
    pickled = sorted(p.name for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth", ".ckpt"))
    if pickled:
        raise WeightsError(
            f"{folder}: only pickled weights ({', '.join(pickled)}), which can run code when they are read",
            "Ask the model's author for safetensors, or convert them yourself where you trust the file.",
        )
    raise InputError(f"{folder}: no {SINGLE}", "Give a model folder in Hugging Face layout with safetensors.")


def _header(path: Path) -> dict[str, Any]:
    """The file's tensors by name, sizes and offsets checked against the file's length."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise InputError(f"{path}: {size} bytes, too short for safetensors", "Copy or download it again.")
        length = struct.unpack("<Q", start)[0]
        if length > min(size - 8, _MAX_HEADER):
            raise InputError(
                f"{path}: its header says {length:,} bytes and {size - 8:,} follow: truncated, or no safetensors",
                "Copy or download it again.",
            )
        try:
            header = json.loads(file.read(length))
            tensors = {k: v for k, v in header.items() if k != "__metadata__"}
            ends = [int(v["data_offsets"][1]) for v in tensors.values()]
            _ = [[int(n) for n in v["shape"]] for v in tensors.values()]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise InputError(f"{path}: its header isn't safetensors: {error}", "Copy or download it again.") from error
    needed = 8 + length + max(ends, default=0)
    if needed != size:
        raise InputError(
            f"{path}: {size:,} bytes where its header needs {needed:,}: truncated or damaged",
            "Copy or download it again.",
        )
    try:
        with safe_open(path, framework="pt"):
            pass
    except Exception as error:  # the library raises its own class for each fault of a header
        raise InputError(f"{path}: not readable as safetensors: {error}", "Copy or download it again.") from error
    return tensors


def write_checkpoint(folder: Path, tensors: Mapping[str, Tensor], shard_bytes: int = SHARD_BYTES) -> None:
    """Write tensors as one file, or as shards with an index where they are larger than `shard_bytes`. fsynced.

    Weights that an earlier save left there in the other form are removed: a reader would take them for these.
    """
    shards: list[dict[str, Tensor]] = [{}]
    filled = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if shards[-1] and filled + size > shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor.detach().cpu().contiguous()
        filled += size
    total = sum(t.numel() * t.element_size() for shard in shards for t in shard.values())
    if len(shards) == 1:
        _save(folder / SINGLE, shards[0])
        _remove_stale(folder, {SINGLE})
        return
    weight_map: dict[str, str] = {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        _save(folder / file, shard)
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    _remove_stale(folder, {INDEX, *weight_map.values()})


def _remove_stale(folder: Path, written: Set[str]) -> None:
    for path in [folder / SINGLE, folder / INDEX, *folder.glob("model-?????-of-?????.safetensors")]:
        if path.name not in written:
            path.unlink(missing_ok=True)


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, path, metadata={"format": "pt"})
    # The library makes its files readable by their owner alone; a model is to be shared as other files are.
    path.chmod(0o666 & ~_umask())
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def stored_dtype(tensors: Mapping[str, Tensor]) -> torch.dtype:
    """The dtype that holds most of the numbers."""
    count: dict[torch.dtype, int] = {}
    for tensor in tensors.values():
        count[tensor.dtype] = count.get(tensor.dtype, 0) + tensor.numel()
    return max(count, key=lambda dtype: count[dtype])
