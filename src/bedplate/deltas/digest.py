"""Which base a delta belongs to: a digest of the base's weights, its tokenizer's fingerprint and its name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from bedplate.codecs.text import TextTokenizer
from bedplate.errors import ArtefactError, InputError, TokenizerError, WeightsError
from bedplate.families.model import model_folder, read_json, read_tokenizer, write_json
from bedplate.ledger.artefact import damaged
from bedplate.ledger.digests import sha256_file, sha256_json
from bedplate.ledger.manifest import MANIFEST, Output, read_manifest

RECORD = "bedplate_adapter.json"
"""Lies beside PEFT's files, which other libraries read as if it weren't there."""

_VERSION = 1


@dataclass(frozen=True)
class BaseRecord:
    """What an adapter says of its base. weights: `weights_digest` of its folder. tokenizer: fingerprint, None where it
    has none. name: what its folder or artefact is called, for people."""

    name: str
    weights: str
    tokenizer: str | None

    @classmethod
    def of(cls, folder: str | Path) -> BaseRecord:
        """Read it from a base's folder: an artefact of kind model, run or release, or any Hugging Face folder."""
        model = model_folder(folder)
        tokenizer = read_tokenizer(model)
        fingerprint = None if tokenizer is None else tokenizer.fingerprint
        return cls(_name(Path(folder), model), weights_digest(folder), fingerprint)

    def save(self, folder: Path, *, kind: str) -> None:
        """Write it into an adapter's folder. kind: of the delta."""
        write_json(folder / RECORD, {"version": _VERSION, "kind": kind, "base": asdict(self)})

    @classmethod
    def read(cls, folder: Path) -> BaseRecord | None:
        """What an adapter's folder records; None where it was made elsewhere. Raises ArtefactError for a newer form."""
        found = read_json(folder / RECORD, required=False)
        if not found:
            return None
        version, base = found.get("version"), found.get("base")
        if not isinstance(version, int) or version > _VERSION:
            raise ArtefactError(
                f"{folder / RECORD}: version {version!r}; this Bedplate reads up to {_VERSION}", "Upgrade Bedplate."
            )
        if not isinstance(base, dict) or not isinstance(base.get("weights"), str):
            raise InputError(f"{folder / RECORD}: doesn't say the base's weights", "Take an undamaged copy.")
        return cls(str(base.get("name")), base["weights"], base.get("tokenizer"))

    def check(self, base: str | Path, adapter: str | Path) -> None:
        """Raise WeightsError, naming both digests, unless the weights in the folder `base` are those recorded."""
        found = weights_digest(base)
        if found != self.weights:
            raise WeightsError(
                f"{adapter} was trained on other weights than {base} has: on {self.name}, whose weights' digest is "
                f"{self.weights}, and these are {found}",
                f"Give it {self.name}, unchanged and stored in the same type.",
            )

    def check_tokenizer(self, tokenizer: TextTokenizer | None, adapter: str | Path) -> None:
        """Raise TokenizerError unless the tokenizer is the one recorded."""
        if self.tokenizer is not None and (tokenizer is None or tokenizer.fingerprint != self.tokenizer):
            found = "none" if tokenizer is None else tokenizer.fingerprint
            raise TokenizerError(
                f"{adapter} was trained with the tokenizer of {self.name}, fingerprint {self.tokenizer}; this base's "
                f"is {found}",
                f"Give it {self.name} with its own tokenizer.",
            )


def weights_digest(folder: str | Path) -> str:
    """What the weights of a model's folder are: over the names and SHA-256 of its *.safetensors and its config.json.

    In an artefact (of kind model, run or release) the hashes are its manifest's, and a file that was touched since is
    read again; all are where there is no manifest. Raises InputError where there is no model, ArtefactError where an
    artefact is damaged.
    """
    model = model_folder(folder)
    files = sorted(f for f in model.iterdir() if f.suffix == ".safetensors" or f.name == "config.json")
    if not any(f.suffix == ".safetensors" for f in files):
        raise InputError(f"{model}: no safetensors in it", "Give a model's folder.")
    known = _known(model)
    return sha256_json([[f.name, known[f] if f in known else sha256_file(f)] for f in files])


def _known(model: Path) -> dict[Path, str]:
    """Hashes that the manifest of the artefact that a model's folder is, or is the `model/` of, vouches for."""
    owner = next((folder for folder in (model, model.parent) if (folder / MANIFEST).is_file()), None)
    if owner is None:
        return {}
    manifest = read_manifest(owner)
    outputs = {owner / output.path: output for output in manifest.outputs}
    found: dict[Path, str] = {}
    for path, output in outputs.items():
        if path.parent == model and (path.suffix == ".safetensors" or path.name == "config.json"):
            _check(owner, output, manifest.newest_mtime_ns)
            found[path] = output.sha256
    return found


def _check(owner: Path, output: Output, newest: int) -> None:
    path = owner / output.path
    touched = path.is_file() and path.stat().st_mtime_ns > newest
    if problem := damaged(owner, output, read=touched):
        raise ArtefactError(f"{owner}: damaged: {problem}", "Restore it from a copy, or make it again.")


def _name(folder: Path, model: Path) -> str:
    owner = next((f for f in (model, model.parent) if (f / MANIFEST).is_file()), None)
    return read_manifest(owner).name if owner is not None else folder.resolve().name
