"""`index.json`: what an index says of itself: the encoder that it was built by, and its form."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.errors import ArtefactError

if TYPE_CHECKING:
    from bedplate.families.encoder_model import EncoderModel

DOCUMENTS, CHUNKS, MODIFIED, LANCE = "documents.parquet", "chunks.parquet", "modified.parquet", "lance"
RECORD = "index.json"
_VERSION = 1


@dataclass(frozen=True)
class IndexRecord:
    """encoder: its name, for people. weights, tokenizer: digest and fingerprint. reads: how it turns hidden states into
    vectors (pooling, length, ...). width: of a vector. language: of the word search."""

    encoder: str
    weights: str
    tokenizer: str
    reads: dict[str, Any]
    width: int
    language: str
    version: int = _VERSION

    @classmethod
    def of(cls, folder: Path, encoder: EncoderModel, language: str) -> IndexRecord:
        """Of an encoder and the folder that it was loaded from."""
        from bedplate.deltas.digest import BaseRecord

        base = BaseRecord.of(folder)
        return cls(base.name, base.weights, encoder.tokenizer.fingerprint, _reads(encoder), encoder.width, language)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, sort_keys=True) + "\n"

    @classmethod
    def read(cls, folder: Path) -> IndexRecord:
        """Raises ArtefactError where it is missing, broken or newer."""
        path = folder / RECORD
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            version = found["version"]
            if not isinstance(version, int) or version > _VERSION:
                raise ArtefactError(f"{path}: version {version!r}; this Bedplate reads {_VERSION}", "Upgrade Bedplate.")
            return cls(**found)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtefactError(f"{path}: not the record of an index: {error}", "Make the index again.") from error

    def check_weights(self, folder: Path, index: Path) -> None:
        """Raise ArtefactError, naming both, unless the encoder in `folder` has the weights that built the index."""
        from bedplate.deltas.digest import BaseRecord

        found = BaseRecord.of(folder)
        if (found.weights, found.tokenizer) != (self.weights, self.tokenizer):
            raise _another(index, self, f"{found.name} ({folder}), weights {found.weights[:12]}")

    def check_encoder(self, encoder: EncoderModel, folder: Path, index: Path) -> None:
        """Raise ArtefactError unless the loaded encoder makes vectors as the one that built the index did."""
        if _reads(encoder) != self.reads:
            raise _another(index, self, f"{folder}, which reads texts otherwise: {_reads(encoder)}, not {self.reads}")


def _reads(encoder: EncoderModel) -> dict[str, Any]:
    settings = encoder.settings
    return {
        "pooling": settings.pooling,
        "normalise": settings.normalise,
        "max_length": settings.max_length,
        "lower_case": settings.lower_case,
    }


def _another(index: Path, record: IndexRecord, found: str) -> ArtefactError:
    return ArtefactError(
        f"{index}: an index built by another encoder: by {record.encoder}, weights {record.weights[:12]}, and this is "
        f"{found}",
        f"Give it {record.encoder}, unchanged, or build the index again with this one.",
    )
