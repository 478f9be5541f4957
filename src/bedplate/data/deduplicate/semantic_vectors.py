"""The vectors of a shard's documents, in files that are mapped: the first step of `semantic`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bedplate.data.deduplicate.semantic_config import SemanticConfig
from bedplate.data.engine.tasks import task_folder

if TYPE_CHECKING:
    from bedplate.families.encoder_model import EncoderModel

Vectors = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]

VECTORS, ROWS, LENGTHS, IDS = "vectors.npy", "rows.npy", "lengths.npy", "ids.npy"
"""Of the documents of a shard that are alive, N of them: float16 [N, D] of length 1 (0 for a text without words), row
int64 [N], characters int64 [N], id S24 [N]."""


def embed_shard(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the vectors of one shard. arguments: shards, shard, config."""
    config, shards, shard = arguments["config"], arguments["shards"], arguments["shard"]
    encoder = load_encoder(config)
    count = int(shards.alive(shard).sum())
    vectors = _made(folder / VECTORS, np.float16, (count, encoder.width))
    rows, lengths = (_made(folder / name, np.int64, (count,)) for name in (ROWS, LENGTHS))
    ids = _made(folder / IDS, np.dtype("S24"), (count,))
    done = cut = 0
    for numbers, batch in shards.read(shard, ["id", "text"]):
        texts = [text or "" for text in batch.column("text").to_pylist()]
        here = slice(done, done + len(texts))
        made = encoder.embed_counted([t[: config.characters] for t in texts], batch_tokens=config.batch_tokens)
        blank = np.array([not text[: config.characters].strip() for text in texts])
        vectors[here] = np.where(blank[:, None], 0, unit(made.vectors))
        rows[here], lengths[here] = numbers, [len(text) for text in texts]
        ids[here] = [name.encode() for name in batch.column("id").to_pylist()]
        cut += made.truncated + sum(len(text) > config.characters for text in texts)
        done += len(texts)
    for array in (vectors, rows, lengths, ids):
        if isinstance(array, np.memmap):
            array.flush()
    return {"documents": count, "cut": cut}


def load_encoder(config: SemanticConfig) -> EncoderModel:
    """The encoder that the configuration names."""
    from bedplate.families.encoder_model import EncoderModel

    return EncoderModel.load(config.encoder, device=config.device)


def stored(folder: Path, shard: int, name: str) -> npt.NDArray[Any]:
    """What `embed_shard` wrote of a shard under one of its names, mapped."""
    path = task_folder(folder, shard) / name
    try:
        found: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # what is empty can't be mapped
        found = np.load(path, allow_pickle=False)
    return found


def unit(vectors: npt.NDArray[np.floating[Any]]) -> Vectors:
    """The vectors [N, D] float32 with length 1; those of length 0 stay."""
    wide: Vectors = vectors.astype(np.float32)
    length = np.sqrt(np.einsum("nd,nd->n", wide, wide))[:, None]
    return np.divide(wide, length, out=np.zeros_like(wide), where=length > 0)


def _made(path: Path, kind: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if 0 in shape:
        empty: npt.NDArray[Any] = np.empty(shape, dtype=kind)
        np.save(path, empty, allow_pickle=False)
        return empty
    mapped: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
    return mapped
