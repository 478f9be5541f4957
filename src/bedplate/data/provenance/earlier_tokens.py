"""The tables of what a tokens artefact was before documents were taken out of it: `before/DIGEST/documents.parquet`.

They have places and ids and not a token, and tell in which steps the runs of then saw a document.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.data.tokens import DOCUMENTS, TOKENIZER, TokenSet

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bedplate.ledger import Artefact

BEFORE = "before"


class EarlierTokens(TokenSet):
    """A tokens artefact whose shards are gone: it says which document was where, and gives no token."""

    @property
    def tokenizer_folder(self) -> Path:
        """That of what is left, which is the same."""
        return self.folder.parents[1] / TOKENIZER

    def _map_shards(self, split: str) -> list[npt.NDArray[np.unsignedinteger]]:
        return []


def keep_tables(tokens: Artefact, out: Path) -> None:
    """Copy the table of the artefact, and those of what it was before, to what is made of it."""
    for digest, folder in {tokens.digest: tokens.path, **earlier_folders(tokens)}.items():
        target = out / BEFORE / digest
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / DOCUMENTS, target / DOCUMENTS)


def earlier_folders(tokens: Artefact) -> dict[str, Path]:
    """What a tokens artefact knows of its earlier versions, by their digests."""
    return {path.parent.name: path.parent for path in sorted(tokens.path.glob(f"{BEFORE}/*/{DOCUMENTS}"))}


def earlier_tokens(now: TokenSet, folder: Path) -> EarlierTokens:
    """An earlier version of these tokens. Raises ArtefactError for a damaged table."""
    return EarlierTokens(folder, vocab_size=now.vocab_size, boundary_id=now.boundary_id, fingerprint=now.fingerprint)
