"""Hugging Face data sets: their Parquet, JSON Lines and Arrow files, from a folder or the hub. Their code isn't run."""

from __future__ import annotations

import re
from pathlib import Path

from bedplate.data.reading.files import SourceFile
from bedplate.data.source import Source
from bedplate.errors import InputError

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_DATA = ["*.parquet", "*.jsonl", "*.jsonl.gz", "*.arrow"]


def data_folder(source: Source) -> Path:
    """The folder that holds its files: the one named, the snapshot in it where it is laid out as the hub's cache, or
    what was fetched of the hub at `revision`. Raises InputError."""
    name = source.dataset or ""
    place = Path(name).expanduser()
    if source.revision is None:
        if not place.exists() and _HUB_NAME.fullmatch(name):
            raise InputError(
                f"{name}: no such folder, and without a revision no data set of the hub",
                "Correct the path in `dataset`, or give the hub's commit as `revision`.",
            )
        return _snapshot(place)
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise InputError(
            f"{name}: huggingface_hub isn't installed ({error})", "Install it, or name a folder with the data set."
        ) from error
    try:
        return Path(snapshot_download(name, repo_type="dataset", revision=source.revision, allow_patterns=list(_DATA)))
    except Exception as error:  # no network, no right, no such data set: its errors are of many kinds
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{name} at {source.revision}: can't be fetched from the hub: {reason}",
            "Check name, revision and network, or name a folder with the data set.",
        ) from error


def _snapshot(place: Path) -> Path:
    """The hub's cache keeps a data set as refs/BRANCH, which holds a commit, and snapshots/COMMIT."""
    snapshots = place / "snapshots"
    if not snapshots.is_dir():
        return place
    main = place / "refs" / "main"
    if main.is_file() and (snapshots / main.read_text().strip()).is_dir():
        return snapshots / main.read_text().strip()
    found = sorted(folder for folder in snapshots.iterdir() if folder.is_dir())
    if len(found) != 1:
        raise InputError(
            f"{place}: a cache with {len(found)} snapshots, none of them its main branch", "Name the snapshot's folder."
        )
    return found[0]


def of_split(source: Source, files: list[SourceFile]) -> list[SourceFile]:
    """The files of the split that the source names: train-00000-of-00001.parquet, train.jsonl, train/0.parquet.

    `datasets` keeps what it computed as cache-*.arrow: no data of the set's own. Raises InputError where none is left.
    """
    files = [file for file in files if not file.name.rpartition("/")[2].startswith("cache-")]
    if source.split is None:
        return files
    # What stands before the label is no part of the path within the set.
    wanted = re.compile(rf"/(?:[^/]*[-_.])?{re.escape(source.split)}(?:[-_./]|$)")
    found = [file for file in files if wanted.search("/" + file.name.partition("/")[2])]
    if not found:
        names = ", ".join(file.name for file in files[:10])
        raise InputError(f"{source.dataset}: no files of a split {source.split!r} (files: {names})", "Correct `split`.")
    return found
