"""Documents whose pictures look the same: perceptual hashes, and pairs of them few bits apart.

The hash is that of the discrete cosine transform (Zauner 2010): the picture in grey at 32 x 32 pixels, and for each of
its 64 lowest frequencies that vary in both directions whether it is above their median. It bears another size, another
format, another quality, a little light. In whole numbers, so that symmetry leaves zeros and not rounding errors.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.data.curation.shards import Decision, Shards
from bedplate.data.deduplicate import verdicts
from bedplate.data.deduplicate.components import LinkWriter
from bedplate.data.deduplicate.config import ImagesConfig, Keep
from bedplate.data.deduplicate.facts import ArrayWriter, written
from bedplate.data.deduplicate.runs import (
    I64,
    U64,
    RunWriter,
    expanded,
    groups,
    key_count,
    light,
    of_key,
    ranges,
    read_range,
    take,
)
from bedplate.data.deduplicate.shingles import mixed
from bedplate.data.deduplicate.verdicts import MEMBERS, Rows
from bedplate.data.documents import Document
from bedplate.data.engine.tasks import Run, Task, perform, task_folder
from bedplate.data.extra import require
from bedplate.data.reading import root
from bedplate.data.reading.files import SourceFile
from bedplate.data.source import Source

_MINHASH = "bedplate.data.deduplicate.minhash"
HASHES = "hashes.npy"
COLUMN = "image_hash"
COPIES = "image_copies"
BITS = 64
SIDE = 32
PLAIN = 8
"""Of 256: a picture whose darkest and brightest part differ by less is a blank, whose hash would be noise."""

Loader = Callable[[Document, str], bytes]


def perceptual_hash(data: bytes, largest_pixels: int) -> int | None:
    """The hash of a picture, 64 bits; None where there is none: not a picture, broken, blank, or of more pixels than
    `largest_pixels`, which is known before it is decoded. Raises UserError without Pillow."""
    image = require("PIL.Image", "pictures")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limit stands before Pillow's warning
            with image.open(io.BytesIO(data)) as opened:
                if opened.width * opened.height > largest_pixels:
                    return None
                opened.draft("L", (4 * SIDE, 4 * SIDE))
                flat = (
                    opened.convert("RGBA") if "transparency" in opened.info or opened.mode in ("LA", "PA") else opened
                )
                if flat.mode == "RGBA":  # what can't be seen doesn't count
                    ground = image.new("RGBA", flat.size, (255, 255, 255, 255))
                    flat = image.alpha_composite(ground, flat)
                small = flat.convert("L").resize((SIDE, SIDE), image.Resampling.BILINEAR)
    except Exception:  # decoders raise whatever they like for broken bytes
        return None
    grey = np.asarray(small, dtype=np.int64)
    if int(grey.max()) - int(grey.min()) < PLAIN:
        return None
    waves = np.rint(1024 * np.cos(np.pi / (2 * SIDE) * np.outer(np.arange(1, 9), 2 * np.arange(SIDE) + 1)))
    cosine = waves.astype(np.int64)
    low = (cosine @ grey @ cosine.T).reshape(-1)
    middle = np.sort(low)[BITS // 2 - 1 : BITS // 2 + 1].sum()
    return int.from_bytes(np.packbits(2 * low > middle).tobytes(), "big")


class ImageHashes:
    """The step that gives documents their `image_hash`: 16 hex digits, or null."""

    name = "image_hashes"
    columns: Mapping[str, str] = {COLUMN: "string"}

    def __init__(self, config: ImagesConfig, load: Loader) -> None:
        self._config = config
        self._load = load

    def __call__(self, documents: list[Document]) -> None:
        """The hash of the picture of each document that has exactly one: one of several says too little of it. What
        came out of a corpus, without its pictures, keeps the hash that it has."""
        for document in documents:
            data = self._picture(document)
            value = None if data is None else perceptual_hash(data, self._config.largest_pixels)
            if value is not None:
                document.columns[COLUMN] = f"{value:016x}"
            else:
                document.columns.setdefault(COLUMN, None)

    def _picture(self, document: Document) -> bytes | None:
        if (document.content_type or "").startswith("image/") and document.data is not None:
            return document.data
        if len(document.images) != 1:
            return None
        try:
            return self._load(document, document.images[0])
        except OSError:
            return None


def step(config: ImagesConfig, load: Loader | None = None) -> ImageHashes:
    """The step. load(document, path): the bytes of a picture that a document names, or OSError; without it, of the file
    there."""
    return ImageHashes(config, load or (lambda _, path: Path(path).read_bytes()))


def from_sources(sources: Sequence[Source]) -> Loader:
    """What reads the pictures of documents out of the sources that they came from, here or where fsspec fetches them.

    It raises OSError for a document of none of them, as one that comes out of a corpus.
    """
    folders = {source.label: source for source in sources if source.image_text is not None}

    def load(document: Document, path: str) -> bytes:
        source = folders.get(document.source.partition("/")[0])
        if source is None or source.image_text is None:
            raise FileNotFoundError(path)
        url = f"{source.image_text.rstrip('/')}/{path}" if source.remote else None
        with SourceFile(root(source) / path, path, 0, 0, url).open() as stream:
            return stream.read()

    return load


def distance_bands(hashes: U64, distance: int) -> U64:
    """Keys [N, distance + 1], one for each piece that the bits are cut into: hashes that differ in at most `distance`
    bits are the same in at least one (the pigeonhole principle), and share its key."""
    cuts = [BITS * i // (distance + 1) for i in range(distance + 2)]
    keys = np.empty((len(hashes), distance + 1), dtype=np.uint64)
    for i in range(distance + 1):
        mask = ((1 << (cuts[i + 1] - cuts[i])) - 1) << (BITS - cuts[i + 1])
        keys[:, i] = mixed((hashes & np.uint64(mask)) ^ mixed(np.full(1, i + 1, dtype=np.uint64)))
    return keys


def run_it(shards: Shards, config: ImagesConfig, run: Run, *, keep: Keep = "first") -> Decision:
    """Drop every document whose picture looks like that of one that stays: `image_duplicate`. Shards have the column
    `image_hash`. Memory: as that of MinHash, but a bucket's pairs are all compared, some at a time."""
    arguments = {"shards": shards, "keep": keep, "distance": config.distance}
    perform(
        "images-keys", f"{__name__}:write_keys", [Task(i, arguments | {"shard": i}) for i in range(shards.count)], run
    )
    rows = Rows.of(shards, run.folder / "images-keys")
    cuts = ranges(key_count(rows.all))
    asked = [
        Task(i, {"rows": rows, "first": first, "end": end, "distance": config.distance})
        for i, (first, end) in enumerate(cuts)
    ]
    perform("images-links", f"{__name__}:find_links", asked, run)
    links = [task_folder(run.folder / "images-links", i) for i in range(len(cuts))]
    (joined,) = perform("images-join", f"{_MINHASH}:join", [Task(0, {"rows": rows, "links": links, "by": "rank"})], run)
    files = [task_folder(run.folder / "images-join", 0) / MEMBERS]
    tasks = [Task(i, {"rows": rows, "part": part, "members": files}) for i, part in enumerate(rows.shards)]
    said = perform("images", f"{__name__}:write_verdicts", tasks, run)
    read = [{"read": int(shards.alive(i).sum()), **one} for i, one in enumerate(said)]
    return Decision(
        run.folder / "images", verdicts.summed(read, joined["groups"], joined["largest"]), {COPIES: "int32"}
    )


def write_keys(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a shard: its pictures' keys and hashes, and its documents' hashes and ranks."""
    shards, shard = arguments["shards"], arguments["shard"]
    writer = RunWriter(folder)
    out = ArrayWriter(folder / HASHES, (shards.rows(shard),), np.uint64)
    for rows, batch in shards.read(shard, [COLUMN]):
        values = batch.column(COLUMN).to_pylist()
        some = np.array([value is not None for value in values], dtype=bool)
        hashes = np.array([int(value, 16) for value in values if value is not None], dtype=np.uint64)
        out.put(rows[some], hashes)
        keys = distance_bands(hashes, arguments["distance"])
        writer.add(keys.reshape(-1), np.repeat(rows[some], keys.shape[1]))
    writer.flush()
    out.close()
    for _ in written(shards, shard, arguments["keep"], folder):
        pass
    return {}


def find_links(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a range of keys: pairs of documents whose pictures are few enough bits apart."""
    rows: Rows = arguments["rows"]
    out = LinkWriter(folder)
    for first, end in light(rows.all, arguments["first"], arguments["end"]):
        for members, hashes, number in _one_key(rows, first, out) if end - first == 1 else _keys(rows, first, end):
            for ones, others in _close(hashes, number, arguments["distance"]):
                out.add(np.stack([members[ones], members[others]], axis=1))
    out.flush()
    return {"linked": out.written}


def _keys(rows: Rows, first: int, end: int) -> Iterator[tuple[I64, U64, I64]]:
    """Documents that share keys: their rows, hashes, and the number of each one's key."""
    keys, low, at = read_range(rows.all, first, end)
    begins, sizes = groups(keys, low)
    if len(begins):
        places, number = expanded(begins, sizes)
        yield at[places], take(rows.all, HASHES, at[places]).view(np.uint64), number


def _one_key(rows: Rows, key: int, out: LinkWriter) -> Iterator[tuple[I64, U64, I64]]:
    """As `_keys`, of a key that too many share: only the first document of each hash, with which others are linked."""
    known, heads = np.empty(0, np.uint64), np.empty(0, np.int64)
    for _, at in of_key(rows.all, key):
        hashes = take(rows.all, HASHES, at).view(np.uint64)
        both, begins = np.unique(np.concatenate([known, hashes]), return_index=True)  # the first of each
        heads = np.concatenate([heads, at])[begins]
        known = both
        first = heads[np.searchsorted(known, hashes)]
        out.add(np.stack([first, at], axis=1)[first != at])
    yield heads, known, np.zeros(len(known), dtype=np.int64)


def write_verdicts(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a shard: which of its documents go."""
    rows, part = arguments["rows"], arguments["part"]

    def tell(lost: verdicts.Members) -> verdicts.Told:
        own, kept = (take(rows.all, HASHES, np.ascontiguousarray(lost[name])) for name in ("row", "kept"))
        apart = np.bitwise_count(own.view(np.uint64) ^ kept.view(np.uint64)).tolist()
        return ["image_duplicate"] * len(lost), [f"{bits} of {BITS} bits from the picture kept" for bits in apart]

    return {"dropped": verdicts.write(folder, rows, part, arguments["members"], COPIES, tell)}


def _close(hashes: U64, bucket: I64, distance: int) -> Iterator[tuple[I64, I64]]:
    """Pairs of a bucket that are at most `distance` bits apart. One that has been found close to an earlier one isn't
    compared with later ones of its hash; so a bucket of equal pictures takes linear time."""
    order = np.lexsort((np.arange(len(hashes)), hashes, bucket))
    same = np.zeros(len(order), dtype=bool)
    same[1:] = (hashes[order[1:]] == hashes[order[:-1]]) & (bucket[order[1:]] == bucket[order[:-1]])
    yield order[np.flatnonzero(same) - 1], order[same]
    left = order[~same]
    ends = np.searchsorted(bucket[left], bucket[left], side="right")
    at, apart = np.arange(len(left)), 1
    while len(at := at[at + apart < ends[at]]):
        one, other = left[at], left[at + apart]
        close = np.bitwise_count(hashes[one] ^ hashes[other]) <= distance
        yield one[close], other[close]
        apart += 1
