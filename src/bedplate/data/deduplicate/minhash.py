"""Documents that share most of their shingles: MinHash, banding and connected components.

One task a shard signs its documents; one task a range of band keys links those that meet; one task joins the links; one
task a shard says what goes. A signature takes 4 bytes a hash on disk (448 with 14 bands of 8), a band's key 12.
"""

from __future__ import annotations

import functools
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.data.corpus import identity
from bedplate.data.curation.shards import Decision, Shards
from bedplate.data.deduplicate import index, verdicts
from bedplate.data.deduplicate.bands import bucket_links
from bedplate.data.deduplicate.components import LinkWriter, components, link_files
from bedplate.data.deduplicate.config import Keep, MinHashConfig, ShingleConfig
from bedplate.data.deduplicate.facts import BYTES, NAME, SHA256, ArrayWriter, Texts, written
from bedplate.data.deduplicate.index import SIGNATURES
from bedplate.data.deduplicate.pictures import PICTURE
from bedplate.data.deduplicate.runs import I64, Part, RunWriter, key_count, ranges, take
from bedplate.data.deduplicate.shingles import U32, Bool, mixed
from bedplate.data.deduplicate.signatures import Signer, agreement, band_keys
from bedplate.data.deduplicate.verdicts import MEMBERS, Rows
from bedplate.data.engine.tasks import Run, Task, perform, task_folder

COPIES = "near_copies"


def run_it(
    shards: Shards, config: MinHashConfig, run: Run, *, keep: Keep = "first", earlier: Path | None = None
) -> Decision:
    """Drop every document that is like one that stays: `near_duplicate`, with how many there are of its kind and how
    like the one that stays it is. `near_copies` says of those that stay how many stood behind them, and is
    null where none did.

    earlier: the index of a corpus whose documents always stay. A text with fewer units than a shingle is like no other,
    and so is the caption of a picture.
    """
    before = index.read(earlier, "minhash", key_settings(config)) if earlier else ()
    bands, rows = config.banding
    perform("minhash-keys", f"{__name__}:write_signatures", sign_tasks(shards, config, bands, rows, keep=keep), run)
    where = Rows.of(shards, run.folder / "minhash-keys", before)
    met, joined = link_and_join("minhash", where, config.similarity if config.verify else None, run)
    tasks = [Task(i, {"rows": where, "shard": i, "members": joined}) for i in range(shards.count)]
    said = perform("minhash", f"{__name__}:write_verdicts", tasks, run)
    read = [{"read": int(shards.alive(i).sum()), **one} for i, one in enumerate(said)]
    (groups,) = joined["measures"]
    measures = verdicts.summed(read, groups["groups"], groups["largest"]) | met
    return Decision(run.folder / "minhash", measures, {COPIES: "int32"})


def key_settings(config: MinHashConfig) -> dict[str, Any]:
    """What two corpora's keys must have been made with, to be compared."""
    bands, rows = config.banding
    return shingle_settings(config) | {"bands": bands, "rows": rows}


def shingle_settings(config: ShingleConfig) -> dict[str, Any]:
    """What two signatures must have been made with, to be compared, but for their length."""
    return {"unit": config.unit, "length": config.length, "seed": config.seed}


def sign_tasks(
    shards: Shards,
    config: ShingleConfig,
    bands: int,
    rows: int,
    *,
    keep: Keep = "first",
    hashes: int | None = None,
    signed: Path | None = None,
    grouped: bool = False,
) -> list[Task]:
    """The tasks of `write_signatures`. grouped: write keys of equal texts, groups and pictures too, of the kind
    "group".
    hashes: in a signature, where more than bands * rows. signed: the folder of an
    earlier such step with the same shingles and hashes, whose signatures hold where the text is still the same."""
    plain = ShingleConfig(**shingle_settings(config))
    arguments = {"shards": shards, "config": plain, "bands": bands, "rows": rows, "keep": keep, "grouped": grouped}
    arguments |= {"hashes": hashes or bands * rows, "signed": signed}
    return [Task(i, arguments | {"shard": i}) for i in range(shards.count)]


def write_signatures(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a shard: its documents' signatures, band keys, hashes and ranks."""
    config, shard, shards = arguments["config"], arguments["shard"], arguments["shards"]
    bands, rows, hashes = arguments["bands"], arguments["rows"], arguments["hashes"]
    sign = Signer(config, hashes)
    signed: Path | None = arguments["signed"] and task_folder(arguments["signed"], shard)
    out = ArrayWriter(folder / SIGNATURES, (shards.rows(shard), hashes), np.uint32)
    writer = RunWriter(folder)
    same = RunWriter(folder, kind="group")
    reused = short = 0
    for texts in written(shards, shard, arguments["keep"], folder):
        signatures, some = np.zeros((len(texts.rows), hashes), dtype=np.uint32), np.zeros(len(texts.rows), dtype=bool)
        if signed is not None:
            signatures, some = _signed(signed, texts)
            reused += int(some.sum())
        plain = np.array([picture is None for picture in texts.pictures], dtype=bool)
        left = plain & ~some
        if left.any():
            signatures[left], some[left] = sign(*_only(texts, left))
        short += int((plain & ~some).sum())
        out.put(texts.rows[some], signatures[some])
        keys = band_keys(signatures[some], bands, rows, config.seed)
        writer.add(keys.reshape(-1), np.repeat(texts.rows[some], bands))
        if arguments["grouped"]:  # equal texts belong together though they be too short to sign
            same.add(np.ascontiguousarray(texts.sha256[:, :8]).view("<u8")[:, 0], texts.rows)
    writer.flush()
    out.close()
    if arguments["grouped"]:
        _write_groups(shards, shard, same, folder)
    return {"reused": reused, "short": short}


def link_and_join(name: str, rows: Rows, threshold: float | None, run: Run, *, by: str = "rank") -> tuple[Any, Any]:
    """Have the links found and joined: measures, and what the tasks of verdicts need of it."""
    cuts = ranges(key_count(rows.all))
    tasks = [
        Task(i, {"rows": rows, "first": first, "end": end, "threshold": threshold})
        for i, (first, end) in enumerate(cuts)
    ]
    linked = perform(f"{name}-links", f"{__name__}:find_links", tasks, run)
    folders = [task_folder(run.folder / f"{name}-links", i) for i in range(len(cuts))]
    joined = perform(f"{name}-join", f"{__name__}:join", [Task(0, {"rows": rows, "links": folders, "by": by})], run)
    measures = {"met": sum(one["met"] for one in linked), "linked": sum(one["linked"] for one in linked)}
    return measures, {"files": [task_folder(run.folder / f"{name}-join", 0) / MEMBERS], "measures": joined}


def find_links(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a range of keys: the links that it finds."""
    rows: Rows = arguments["rows"]
    out = LinkWriter(folder)
    met = bucket_links(rows.all, arguments["first"], arguments["end"], arguments["threshold"], out)
    out.flush()
    return {"met": met, "linked": out.written}


def join(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task that joins links: who belongs together, and who of them stays. Memory: 28 bytes for each document that
    has a link, the one thing here that grows with the corpus: a GB for every 35 million of them."""
    rows: Rows = arguments["rows"]
    nodes, labels = components(link_files(arguments["links"]))
    rank = rows.ranks if arguments["by"] == "rank" else functools.partial(_by_hash, rows)
    groups, largest = verdicts.decide(nodes, labels, rank, folder / MEMBERS)
    return {"groups": groups, "largest": largest}


def write_verdicts(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task of a shard: which of its documents go."""
    rows: Rows = arguments["rows"]
    part = rows.shards[arguments["shard"]]

    def tell(lost: verdicts.Members) -> verdicts.Told:
        details: list[str | None] = []
        for first in range(0, len(lost), 4096):
            some = lost[first : first + 4096]
            alike = agreement(_signatures((part,), some["row"]), _signatures(rows.all, some["kept"]))
            details += [
                f"one of {size} alike; about {share:.0%} of shingles in common with the one kept"
                for size, share in zip(some["size"].tolist(), alike.tolist(), strict=True)
            ]
        return ["near_duplicate"] * len(lost), details

    return {"dropped": verdicts.write(folder, rows, part, arguments["members"]["files"], COPIES, tell)}


def _signatures(parts: tuple[Part, ...], rows: I64) -> U32:
    return take(parts, SIGNATURES, np.ascontiguousarray(rows)).view(np.uint32)


def _by_hash(rows: Rows, nodes: I64) -> I64:
    """Ranks in the order of hashes: of the first 64 bits, which tell texts apart."""
    if not len(nodes):
        return nodes
    begins = np.ascontiguousarray(take(rows.all, NAME, nodes).view(np.uint8)[:, :8])
    unsigned = begins.view(">u8")[:, 0].astype(np.uint64)
    return (unsigned ^ np.uint64(1 << 63)).view(np.int64)


def _signed(folder: Path, texts: Texts) -> tuple[U32, Bool]:
    """Signatures that an earlier step made of the same texts, and which have one."""
    first, end = int(texts.rows[0]), int(texts.rows[-1]) + 1
    at = texts.rows - first
    before = np.array(np.load(folder / SHA256, mmap_mode="r")[first:end])[at]
    signatures = np.array(np.load(folder / SIGNATURES, mmap_mode="r")[first:end])[at]
    return signatures, (before == texts.sha256).all(axis=1) & signatures.any(axis=1)


def _only(texts: Texts, some: Bool) -> tuple[Any, I64]:
    """Some of the texts, without the rest."""
    if some.all():
        return texts.utf8, texts.offsets
    sizes = np.diff(texts.offsets)
    return texts.utf8[np.repeat(some, sizes)], np.concatenate([[0], np.cumsum(sizes[some])]).astype(np.int64)


def _write_groups(shards: Shards, shard: int, writer: RunWriter, folder: Path) -> None:
    """Add the keys of the documents' groups and pictures, which are none of any text's; and write what documents are
    called by in clusters, and their sizes."""
    names = ArrayWriter(folder / NAME, (shards.rows(shard), 32), np.uint8)
    sizes = ArrayWriter(folder / BYTES, (shards.rows(shard),), np.int64)
    for rows, batch in shards.read(shard, ["group", PICTURE, "sha256", "bytes"]):
        for column, before in (("group", ""), (PICTURE, "picture\0")):
            keys = batch.column(column).to_pylist()
            some = np.array([key is not None for key in keys], dtype=bool)
            digests = b"".join(sha256(f"{before}{key}".encode()).digest()[:8] for key in keys if key is not None)
            writer.add(mixed(np.frombuffer(digests, dtype="<u8")), rows[some])
        called = map(identity, batch.column("sha256").to_pylist(), batch.column(PICTURE).to_pylist())
        names.put(rows, np.frombuffer(bytes.fromhex("".join(called)), dtype=np.uint8).reshape(-1, 32))
        sizes.put(rows, batch.column("bytes").to_numpy())
    writer.flush()
    names.close()
    sizes.close()
