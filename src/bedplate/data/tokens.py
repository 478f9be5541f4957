"""`TokenSet`: the token shards of an artefact, memory-mapped, with the table that says which document is where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bedplate.errors import ArtefactError, TokenizerError

if TYPE_CHECKING:
    from bedplate.codecs.text import TextTokenizer
    from bedplate.ledger import Artefact

SPLITS = ("train", "validation")
DOCUMENTS = "documents.parquet"
TOKENIZER = "tokenizer"
BOUNDARY = "<|endoftext|>"
"""The one special token at document boundaries: it begins a document (BOS) and ends it (EOS). Never in the shards."""

_REMAKE = "Make the tokens artefact again; it has been damaged."
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DocumentTable:
    """Where the documents of one split are, in the artefact's order; of those that training sees more than once,
    further entries come after all first ones."""

    shard: Ids
    start: Ids
    """First token within the shard."""
    length: Ids
    """Tokens, without special ones."""
    bytes: Ids
    """UTF-8 bytes of the text."""
    distinct: int
    """Documents without their further entries: the first so many."""
    phase: Ids | None = None
    """The part of an epoch in which each is seen, from 0; None where there is but one."""

    def __len__(self) -> int:
        return len(self.length)


class TokenSet:
    """A tokens artefact, opened. Get one from `TokenSet.open`; nothing is read until it is asked for."""

    def __init__(self, folder: Path, *, vocab_size: int, boundary_id: int, fingerprint: str) -> None:
        self.folder = folder
        self.vocab_size = vocab_size
        self.boundary_id = boundary_id
        self.fingerprint = fingerprint
        """That of the tokenizer that made the tokens (`TextTokenizer.fingerprint`)."""
        self._tables = {split: _read_table(folder, split) for split in SPLITS}
        self._shards = {split: self._map_shards(split) for split in SPLITS}

    @classmethod
    def open(cls, artefact: Artefact | Path | str) -> TokenSet:
        """Open an artefact of kind `tokens`, or the folder of one.

        Checks the document table against every shard's header and size, and the tokenizer kept beside them against the
        one recorded. Raises ArtefactError or TokenizerError naming the file. Token ids are checked as they are
        read, and all at once by `verify`.
        """
        from bedplate.codecs.text import TextTokenizer
        from bedplate.ledger import open_artefact

        if isinstance(artefact, (str, Path)):
            artefact = open_artefact(artefact, "tokens")
        measures = artefact.measures
        tokenizer = TextTokenizer.load(artefact.file(TOKENIZER))
        if tokenizer.fingerprint != measures.get("tokenizer_fingerprint"):
            raise TokenizerError(
                f"{artefact.path / TOKENIZER / 'tokenizer.json'}: not the tokenizer that made these tokens", _REMAKE
            )
        return cls(
            artefact.path,
            vocab_size=int(measures["vocab_size"]),
            boundary_id=boundary_id(tokenizer, str(artefact.path / TOKENIZER)),
            fingerprint=tokenizer.fingerprint,
        )

    @property
    def tokenizer_folder(self) -> Path:
        """The tokenizer that made the tokens: copy it beside a model trained on them."""
        return self.folder / TOKENIZER

    def tokenizer(self) -> TextTokenizer:
        from bedplate.codecs.text import TextTokenizer

        return TextTokenizer.load(self.tokenizer_folder)

    def documents(self, split: str) -> DocumentTable:
        """The table of a split's documents."""
        if split not in self._tables:
            raise ArtefactError(f"{self.folder}: no split {split!r}", f"Use one of: {', '.join(SPLITS)}.")
        return self._tables[split]

    def bytes(self, split: str) -> Ids:
        """UTF-8 bytes of each document of a split, int64 [documents]."""
        return self.documents(split).bytes

    def document(self, split: str, index: int) -> npt.NDArray[np.unsignedinteger]:
        """The tokens of one document (uint16 or uint32, a view of the file), without special ones."""
        table = self.documents(split)
        start = int(table.start[index])
        tokens = self._shards[split][int(table.shard[index])][start : start + int(table.length[index])]
        self._check_range(tokens, split, int(table.shard[index]))
        return tokens

    def gather(self, split: str, shard: Ids, offset: Ids) -> Ids:
        """Tokens at (shard, offset), int64 of the same shape [N]. Reads only those."""
        mapped = self._shards[split]
        out = np.empty(len(offset), dtype=np.int64)
        for number in np.unique(shard):
            here = slice(None) if shard[0] == shard[-1] and len(mapped) == 1 else shard == number
            found = mapped[int(number)][offset[here]]
            self._check_range(found, split, int(number))
            out[here] = found
        return out

    def shard_name(self, split: str, number: int) -> str:
        return shard_name(split, number)

    def ids(self, split: str) -> list[str]:
        """The documents' ids, in the table's order."""
        import pyarrow.parquet as pq

        present = set(pq.read_schema(self.folder / DOCUMENTS).names)
        columns = [name for name in ("id", "copies") if name in present]
        table = pq.read_table(self.folder / DOCUMENTS, columns=columns, filters=[("split", "==", split)])
        names: list[str] = table.column("id").to_pylist()
        copies = table.column("copies").to_numpy() if "copies" in present else np.ones(len(names), dtype=np.int64)
        return [names[row] for row in _with_copies(copies)]

    def verify(self) -> None:
        """Read every token. Raises ArtefactError, naming the shard, for one beyond the vocabulary."""
        for split, shards in self._shards.items():
            for number, tokens in enumerate(shards):
                for first in range(0, len(tokens), 1 << 22):
                    self._check_range(tokens[first : first + (1 << 22)], split, number)

    def _check_range(self, tokens: npt.NDArray[np.unsignedinteger], split: str, number: int) -> None:
        if len(tokens) and int(tokens.max()) >= self.vocab_size:
            raise ArtefactError(
                f"{self.folder / shard_name(split, number)}: token {int(tokens.max())} in a vocabulary of "
                f"{self.vocab_size}",
                _REMAKE,
            )

    def _map_shards(self, split: str) -> list[npt.NDArray[np.unsignedinteger]]:
        table = self._tables[split]
        count = int(table.shard.max()) + 1 if len(table) else 0
        shards = [_map_shard(self.folder / shard_name(split, number)) for number in range(count)]
        for number, tokens in enumerate(shards):
            end = int((table.start + table.length)[table.shard == number].max(initial=0))
            if end > len(tokens):
                raise ArtefactError(
                    f"{self.folder / shard_name(split, number)}: {len(tokens)} tokens, where {DOCUMENTS} needs {end}",
                    _REMAKE,
                )
        return shards


def shard_name(split: str, number: int) -> str:
    """The file name of a shard."""
    return f"{split}-{number:05d}.npy"


def boundary_id(tokenizer: TextTokenizer, where: str) -> int:
    """The id that begins and ends documents: the tokenizer's EOS, which must exist. `where` is named in the error."""
    if tokenizer.eos_id is None:
        raise TokenizerError(
            f"{where}: no eos_token, which begins and ends documents",
            "Name one in tokenizer_config.json, or train a tokenizer with: bedplate train-tokenizer",
        )
    return tokenizer.eos_id


def _map_shard(path: Path) -> npt.NDArray[np.unsignedinteger]:
    try:
        tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ArtefactError(f"{path}: missing", _REMAKE) from None
    except (ValueError, OSError, EOFError) as error:
        raise ArtefactError(f"{path}: not a whole .npy file: {error}", _REMAKE) from error
    if tokens.ndim != 1 or tokens.dtype not in (np.uint16, np.uint32):
        raise ArtefactError(f"{path}: {tokens.dtype} {tokens.shape}, not a list of uint16 or uint32", _REMAKE)
    # The plain array over the same memory: indexing np.memmap itself costs a Python subclass on every access.
    plain: npt.NDArray[np.unsignedinteger] = tokens.view(np.ndarray)
    return plain


def _read_table(folder: Path, split: str) -> DocumentTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / DOCUMENTS
    try:
        present = set(pq.read_schema(path).names)  # the last two came later
        columns = ["shard", "start", "end", "bytes", *(name for name in ("copies", "phase") if name in present)]
        table = pq.read_table(path, columns=columns, filters=[("split", "==", split)])
    except FileNotFoundError:
        raise ArtefactError(f"{path}: missing", _REMAKE) from None
    except (pa.ArrowException, OSError) as error:
        raise ArtefactError(f"{path}: not a whole Parquet file: {error}", _REMAKE) from error
    found = {name: np.ascontiguousarray(table.column(name).to_numpy(), dtype=np.int64) for name in columns}
    shard, start, end = (found[name] for name in ("shard", "start", "end"))
    if len(start) and (shard.min() < 0 or start.min() < 0 or (end < start).any()):
        raise ArtefactError(f"{path}: a document with negative place or length", _REMAKE)
    rows = _with_copies(found.get("copies", np.ones(len(start), dtype=np.int64)))
    phase = found.get("phase")
    if phase is not None and (len(phase) == 0 or not phase.any()):
        phase = None
    return DocumentTable(
        shard=shard[rows],
        start=start[rows],
        length=(end - start)[rows],
        bytes=found["bytes"][rows],
        distinct=len(start),
        phase=None if phase is None else phase[rows],
    )


def _with_copies(copies: Ids) -> Ids:
    """The rows of a table in which row i stands copies[i] times: all once, then those that are there twice, and on."""
    most = int(copies.max(initial=0))
    return np.concatenate([np.flatnonzero(copies > seen) for seen in range(most)] or [np.empty(0, dtype=np.int64)])
