"""Which files a source has, in a fixed order, and what tells that they changed."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from bedplate.data.reading.files import SourceFile, local_file, remote_file, store
from bedplate.data.reading.globs import Matcher
from bedplate.data.reading.kinds import TABLES, kind_of
from bedplate.data.source import Source
from bedplate.errors import InputError
from bedplate.ledger import SourceInput
from bedplate.ledger.digests import sha256_json
from bedplate.ledger.manifest import MANIFEST

_STDLIB_INCLUDE = ("*.py",)
# Tests, other people's packages, and what the build of this very Python generated (it holds absolute paths).
_STDLIB_EXCLUDE = (
    *("test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"),
    *("config-*", "_sysconfigdata*", "_sysconfig_vars*"),
)
_SUFFIXES = {
    "jsonl": ("*.jsonl", "*.jsonl.gz"),
    "parquet": ("*.parquet",),
    "warc": ("*.warc", "*.warc.gz", "*.wet", "*.wet.gz", "*.arc", "*.arc.gz", "*.wat", "*.wat.gz"),
    "html": ("*.html", "*.htm", "*.xhtml", "*.html.gz", "*.htm.gz"),
    "epub": ("*.epub",),
    "markdown": ("*.md", "*.markdown"),
    "notebook": ("*.ipynb",),
    "pdf": ("*.pdf",),
    "dataset": ("*.parquet", "*.jsonl", "*.jsonl.gz", "*.arrow"),
    "corpus": ("part-*.parquet",),
    "image_text": ("*.jsonl", "*.json", "*.csv", "*.txt"),
}
_ONE_FILE = {
    "text": "Use `folder` for a folder of text files.",
    "fasta": "Name one source a file.",
}


def raw_inputs(sources: Sequence[Source], on_error: Literal["stop", "skip"]) -> list[SourceInput]:
    """What is going to be read, one entry a source, with a digest over sorted (name, size, time or version).

    Raises InputError for a path that isn't there, a source without files, a Parquet file that can't be opened or lacks
    a column (with on_error=skip only where all lack it, as then a setting is wrong and not a file): everything that can
    be known before anything is written.
    """
    found = []
    for source in sources:
        files = find(source)
        if source.place in ("parquet", "dataset"):
            _check_tables(source, files, on_error)
        found.append(
            SourceInput(
                path=root(source),
                digest=sha256_json(sorted([*(file.state for file in files), *_pictures(source)])),
                bytes=sum(file.bytes for file in files),
                count=len(files),
            )
        )
    return found


def root(source: Source) -> Path:
    """The file or folder that the source names; for an address, that as a path, which is for people only."""
    return Path(sysconfig.get_paths()["stdlib"] if source.python_stdlib else getattr(source, source.place)).expanduser()


def find(source: Source) -> list[SourceFile]:
    """The source's files, sorted by the bytes of their paths; a store's by their names.

    Raises InputError if there are none.
    """
    if source.git is not None:
        from bedplate.data.reading.git import repository_files

        files = _chosen(source, repository_files(source))
    elif source.remote:
        files = _find_remote(source, getattr(source, source.place))
    elif source.dataset is not None:
        from bedplate.data.reading.dataset import data_folder, of_split

        files = of_split(source, _find_local(source, data_folder(source)))
    else:
        files = _find_local(source, root(source))
    if not files:
        suffixes = ", ".join(_SUFFIXES.get(source.place, ()))
        raise InputError(
            f"{root(source)}: no files to read in it" + (f" ({source.place} takes {suffixes})" if suffixes else ""),
            "Check the path and the `include` and `exclude` globs.",
        )
    if source.place == "dataset" and (others := [file for file in files if file.suffix not in TABLES]):
        raise InputError(
            f"{others[0].place}: no table of a data set ({', '.join(_SUFFIXES['dataset'])})",
            "Name a folder or file that is, or give it as a source of its own kind.",
        )
    return files


def _find_local(source: Source, base: Path) -> list[SourceFile]:
    place = source.place
    if not base.exists():
        raise InputError(f"{base}: no such file or folder", f"Correct the path in `{place}`.")
    if not base.is_dir() and not base.is_file():
        raise InputError(f"{base}: neither a file nor a folder, so it may have no end", "Copy it to a file.")
    if source.python_stdlib:
        return _walk(base, source.label, Matcher(_STDLIB_INCLUDE), Matcher(_STDLIB_EXCLUDE), None)
    if base.is_dir():
        if place in _ONE_FILE:
            raise InputError(f"{base}: a folder, where `{place}` needs a file", _ONE_FILE[place])
        suffixes = Matcher(_SUFFIXES[place]) if place in _SUFFIXES else None
        return _walk(base, source.label, Matcher(source.include), Matcher(source.exclude), suffixes)
    if place in ("folder", "documents", "image_text"):
        raise InputError(
            f"{base}: a file, where `{place}` needs a folder", "Use `text`, `jsonl` or `parquet` for a file."
        )
    return [local_file(base, source.label)]


def _walk(base: Path, label: str, wanted: Matcher, unwanted: Matcher, suffixes: Matcher | None) -> list[SourceFile]:
    files: list[tuple[bytes, SourceFile]] = []
    for folder, folders, names in os.walk(base):
        relative = Path(folder).relative_to(base)
        folders[:] = sorted(
            name for name in folders if not unwanted((relative / name).as_posix()) and not _ours(Path(folder, name))
        )
        for name in names:
            path = (relative / name).as_posix()
            # A suffix in capitals is the same suffix.
            fits = wanted(path) and (suffixes is None or suffixes(name.lower()))
            if fits and not unwanted(path) and (base / path).is_file():
                files.append((os.fsencode(path), local_file(base / path, f"{label}/{path}")))
    return [file for _, file in sorted(files, key=lambda entry: entry[0])]


def _ours(folder: Path) -> bool:
    """Whether it is an artefact, or one in the making: a source that holds `runs/` would change with each run."""
    return ".partial-" in folder.name or (folder / MANIFEST).is_file()


def _pictures(source: Source) -> list[list[object]]:
    """The states of a local folder's pictures, which its captions files name."""
    if source.image_text is None or source.remote:
        return []
    from bedplate.data.reading.captions import PICTURES

    wanted, everything, nothing = Matcher(tuple(f"*{suffix}" for suffix in PICTURES)), Matcher(("*",)), Matcher(())
    return [file.state for file in _walk(root(source), source.label, everything, nothing, wanted)]


def _chosen(source: Source, files: list[SourceFile]) -> list[SourceFile]:
    """Those that the globs choose of files that are named label/path."""
    wanted, unwanted = Matcher(source.include), Matcher(source.exclude)
    paths = [(file, file.name.partition("/")[2]) for file in files]
    return [file for file, path in paths if wanted(path) and not unwanted.any_part(path)]


def _find_remote(source: Source, url: str) -> list[SourceFile]:
    system, base = store(url)
    try:
        entry = system.info(base)
        if entry["type"] != "directory":
            return [remote_file(system, entry, source.label)]
        listing: dict[str, dict[str, Any]] = system.find(base, detail=True)
    except FileNotFoundError as error:
        raise InputError(f"{url}: no such file or folder", f"Correct the address in `{source.place}`.") from error
    except Exception as error:  # a store's own errors: no network, no right, no bucket
        raise InputError(f"{url}: can't be listed: {error}", "Check the address, the network and the right.") from error
    suffixes = Matcher(_SUFFIXES[source.place]) if source.place in _SUFFIXES else None
    files = []
    for path, entry in listing.items():
        relative = path.strip("/").removeprefix(base.strip("/")).strip("/")
        if entry["type"] == "file" and (suffixes is None or suffixes(relative.rpartition("/")[2].lower())):
            files.append(remote_file(system, entry, f"{source.label}/{relative}"))
    return _chosen(source, sorted(files, key=lambda file: file.name))


def _check_tables(source: Source, files: list[SourceFile], on_error: str) -> None:
    from bedplate.data.reading.parquet import check_columns, open_parquet

    lacking: list[InputError] = []
    sound = 0
    for file in files:
        if kind_of(source, file) != "parquet":
            sound += 1
            continue
        try:
            parquet = open_parquet(file)
        except InputError:
            if on_error == "stop":
                raise
            continue
        try:
            check_columns(source, file, parquet)
            sound += 1
        except InputError as error:
            if on_error == "stop":
                raise
            lacking.append(error)
    if lacking and not sound:
        raise lacking[0]
