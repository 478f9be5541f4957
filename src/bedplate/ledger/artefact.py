"""`Artefact`: a finished folder and its manifest; opening one and checking that it still is what it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedplate.errors import ArtefactError
from bedplate.ledger.digests import outputs_digest, sha256_file
from bedplate.ledger.manifest import MANIFEST, Manifest, Output, read_manifest


@dataclass(frozen=True)
class Artefact:
    """A finished artefact folder. Made by `open_artefact` and `produce` only."""

    path: Path
    manifest: Manifest
    cached: bool = False
    """True if `produce` found it already made."""

    @property
    def kind(self) -> str:
        """corpus, tokens, run, model ..."""
        return self.manifest.kind

    @property
    def name(self) -> str:
        """What the user called it."""
        return self.manifest.name

    @property
    def key(self) -> str:
        """What it was asked to be."""
        return self.manifest.key

    @property
    def digest(self) -> str:
        """What it is."""
        return self.manifest.digest

    @property
    def measures(self) -> dict[str, Any]:
        """What the stage counted or scored."""
        return self.manifest.measures

    @property
    def config(self) -> dict[str, Any]:
        """The full configuration that it was made with."""
        return self.manifest.config

    def file(self, relative: str) -> Path:
        """The path of a file or folder inside. Raises ArtefactError, naming it, if it isn't there."""
        path = self.path / relative
        if not path.exists():
            raise ArtefactError(f"{path}: missing from this {self.kind} artefact", "Make the artefact again.")
        return path

    def verify(self) -> None:
        """Read every output again. Raises ArtefactError naming each file that isn't what the manifest says."""
        damage = [text for output in self.manifest.outputs if (text := damaged(self.path, output, read=True))]
        if not damage and outputs_digest(self.manifest.outputs) != self.digest:
            damage = [f"{MANIFEST}: its digest doesn't match its own list of outputs"]
        if damage:
            raise _damage_error(self.path, damage)

    def strangers(self) -> list[str]:
        """Files in the folder that the manifest doesn't know, sorted; relative, with forward slashes."""
        known = {MANIFEST, *(output.path for output in self.manifest.outputs)}
        files = (path for path in self.path.rglob("*") if path.is_symlink() or not path.is_dir())
        return sorted({path.relative_to(self.path).as_posix() for path in files} - known)

    def check(self) -> None:
        """The quick check of a cache hit: sizes, and hashes only of files touched since they were committed.

        Copying a folder touches its files, so a copy costs one reading and stays valid. Raises like `verify`.
        """
        newest = self.manifest.newest_mtime_ns
        damage = []
        for output in self.manifest.outputs:
            path = self.path / output.path
            touched = path.is_file() and path.stat().st_mtime_ns > newest
            if text := damaged(self.path, output, read=touched):
                damage.append(text)
        if damage:
            raise _damage_error(self.path, damage)


def damaged(folder: Path, output: Output, *, read: bool) -> str | None:
    """What is wrong with one output, or None. Reads its bytes only if told to."""
    path = folder / output.path
    try:
        size = path.stat().st_size
    except OSError:
        return f"{output.path}: missing"
    if size != output.bytes:
        return f"{output.path}: {size:,} bytes where the manifest says {output.bytes:,}"
    if read and sha256_file(path) != output.sha256:
        return f"{output.path}: its bytes have changed since it was made"
    return None


def open_artefact(path: Path | str, kind: str | None = None) -> Artefact:
    """The artefact at `path`. `kind` restricts what it may be ("model|release": either).

    Raises ArtefactError if there is none, it is unfinished, of another kind, or from a newer Bedplate.
    """
    path = Path(path)
    if path.name == MANIFEST:
        path = path.parent
    if not (path / MANIFEST).is_file():
        raise _absent(path)
    artefact = Artefact(path, read_manifest(path))
    if kind is not None and artefact.kind not in kind.split("|"):
        raise ArtefactError(
            f"{path}: a {artefact.kind} artefact (made by {artefact.manifest.stage}), where "
            f"{' or '.join(kind.split('|'))} is needed",
            "Give the folder of one of that kind.",
        )
    return artefact


def partials(path: Path) -> list[Path]:
    """Folders of unfinished work on the artefact at `path`."""
    prefix = f"{path.name}.partial-"
    if not path.parent.is_dir():
        return []
    return sorted(entry for entry in path.parent.iterdir() if entry.name.startswith(prefix) and entry.is_dir())


def _absent(path: Path) -> ArtefactError:
    if ".partial-" in path.name or partials(path):
        where = path if ".partial-" in path.name else partials(path)[0]
        return ArtefactError(
            f"{path}: not finished yet; the work so far is in {where}",
            "Run the command that makes it again: it goes on where it stopped.",
        )
    if path.is_dir():
        return ArtefactError(
            f"{path}: a folder without {MANIFEST}, so not an artefact",
            "Give an artefact's folder. A foreign model is brought in by: bedplate import SRC OUT",
        )
    if path.exists():
        return ArtefactError(f"{path}: a file, not an artefact", "Give an artefact's folder.")
    return ArtefactError(f"{path}: no such artefact", "Check the path, or make it first.")


def _damage_error(folder: Path, damage: list[str]) -> ArtefactError:
    shown = "".join(f"\n  {line}" for line in damage[:10])
    more = f"\n  and {len(damage) - 10} more" if len(damage) > 10 else ""
    return ArtefactError(
        f"{folder}: damaged{shown}{more}",
        "Restore it from a copy, or make it again with --replace.",
    )
