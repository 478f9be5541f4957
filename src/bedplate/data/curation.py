"""Carrying out `curate`: read every raw document, keep or drop it, and account for each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.data.corpus import CORPUS_SCHEMA, DROPPED, DROPPED_SCHEMA, ParquetTable
from bedplate.data.curate import CurateConfig, Source
from bedplate.data.sources import Failure, RawDocument, find, read
from bedplate.errors import InputError, InternalError

if TYPE_CHECKING:
    from bedplate.ledger import Work


def run(config: CurateConfig, inputs: dict[str, Any], work: Work) -> None:
    """Write the corpus and `dropped.parquet`, which lists every document that isn't in it, with the reason.

    Memory: one row group, and about 130 bytes a document for its hash. Starts afresh after an interruption.
    Raises InputError for a document that can't be read (unless on_error=skip), or where nothing is kept.
    """
    _clear(work.path)
    try:
        account = _curate(config, work)
        work.measures.update(account.measures())
        _check_splits(config, account)
    except InputError:
        _clear(work.path)
        raise


def _curate(config: CurateConfig, work: Work) -> _Account:
    account = _Account()
    files = [(source, file) for source in config.sources for file in find(source)]
    seen: set[bytes] = set()
    done = 0
    with (
        ParquetTable(work.path, "part", CORPUS_SCHEMA) as corpus,
        ParquetTable(work.path, DROPPED, DROPPED_SCHEMA, single=True) as dropped,
        work.console.progress("curate", total=sum(file.bytes for _, file in files), unit="B") as progress,
    ):
        for source, file in files:
            for document in read(source, file, config.largest_document):
                if isinstance(document, Failure):
                    if config.on_error == "stop":
                        raise InputError(f"{document.place}: {document.problem}", document.fix)
                    detail = f"{document.place.replace(str(file.path), file.name)}: {document.problem}"
                    row = {"status": "failed", "reason": document.reason, "detail": detail, "bytes": document.bytes}
                    dropped.add({"source": document.source, "sha256": None} | row)
                    account.failed(source, document.reason)
                    continue
                text, reason, sha256 = _examine(document, config.largest_document, seen)
                if reason is not None:
                    row = {"status": "dropped", "reason": reason, "detail": None, "bytes": document.bytes}
                    dropped.add({"source": document.source, "sha256": sha256} | row)
                    account.dropped(source, reason)
                    continue
                kept = _row(source, document, text, sha256 or "", config.validation)
                corpus.add(kept)
                account.kept(source, kept)
            done += file.bytes
            progress.update(done, documents=account.total_kept)
    return account


def _examine(document: RawDocument, largest: int, seen: set[bytes]) -> tuple[str, str | None, str | None]:
    """The text, why it is dropped (None: it is kept), and its hash where it has one."""
    if document.text is None:
        return "", document.drop, None
    text = document.text
    if not text.strip():
        return text, "empty", None
    if "\0" in text:
        return text, "not_text", None
    try:
        data = text.encode()
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair
        return text, "not_text", None
    digest = hashlib.sha256(data)
    if len(data) > largest:
        return text, "too_large", digest.hexdigest()
    if digest.digest() in seen:
        return text, "duplicate", digest.hexdigest()
    seen.add(digest.digest())
    return text, None, digest.hexdigest()


def _row(source: Source, document: RawDocument, text: str, sha256: str, validation: float) -> dict[str, Any]:
    return {
        "id": sha256[:24],
        "text": text,
        "source": document.source,
        "url": document.url,
        "license": source.declared_license,
        "language": source.declared_language,
        "split": split_of(sha256, validation),
        "bytes": len(text.encode()),
        "sha256": sha256,
    }


def split_of(sha256: str, validation: float) -> str:
    """The split of a document, from the hash of its text alone: not from its order, name or company."""
    draw = int.from_bytes(hashlib.sha256(f"validation split {sha256}".encode()).digest()[:8], "big") / 2**64
    return "validation" if draw < validation else "train"


class _Account:
    """Counts what became of every document; read = kept + dropped + failed, by source and in all."""

    def __init__(self) -> None:
        self._by_source: dict[str, Counter[str]] = {}
        self._dropped: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self.documents: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._licenses: Counter[str] = Counter()
        self.total_kept = 0

    def kept(self, source: Source, row: dict[str, Any]) -> None:
        self.total_kept += 1
        self._count(source, "kept")
        self._by_source[source.label]["bytes"] += row["bytes"]
        self.documents[row["split"]] += 1
        self._bytes[row["split"]] += row["bytes"]
        self._licenses[row["license"]] += 1

    def dropped(self, source: Source, reason: str) -> None:
        self._count(source, "dropped")
        self._dropped[reason] += 1

    def failed(self, source: Source, reason: str) -> None:
        self._count(source, "failed")
        self._failed[reason] += 1

    def _count(self, source: Source, what: str) -> None:
        counts = self._by_source.setdefault(source.label, Counter())
        counts["read"] += 1
        counts[what] += 1

    def measures(self) -> dict[str, Any]:
        """The counts for the manifest. Raises InternalError if they don't add up."""
        read = sum(counts["read"] for counts in self._by_source.values())
        dropped, failed = sum(self._dropped.values()), sum(self._failed.values())
        sums = (self.total_kept, sum(self.documents.values()), sum(self._licenses.values()))
        if read != self.total_kept + dropped + failed or len(set(sums)) != 1:
            raise InternalError(f"documents lost: read {read}, kept {sums}, dropped {dropped}, failed {failed}")
        return {
            "read": read,
            "kept": self.total_kept,
            "dropped": dict(sorted(self._dropped.items())),
            "failed": dict(sorted(self._failed.items())),
            "documents": {split: self.documents[split] for split in ("train", "validation")},
            "bytes": {split: self._bytes[split] for split in ("train", "validation")},
            "licenses": dict(sorted(self._licenses.items())),
            "sources": {
                label: {what: counts[what] for what in ("read", "kept", "dropped", "failed", "bytes")}
                for label, counts in self._by_source.items()
            },
        }


def _check_splits(config: CurateConfig, account: _Account) -> None:
    if not account.total_kept:
        counts = account.measures()
        raise InputError(
            f"nothing is left of {counts['read']} documents: dropped {counts['dropped']}, failed {counts['failed']}",
            "Check that the sources hold text, and the limit largest_document.",
        )
    wanted = ["train"] + (["validation"] if config.validation > 0 else [])
    for split in wanted:
        if not account.documents[split]:
            raise InputError(
                f"none of {account.total_kept} documents falls in the {split} split (validation={config.validation})",
                "Give more or smaller documents, or another share; validation=0 needs no validation documents.",
            )


def _clear(folder: Path) -> None:
    for path in _leftovers(folder):
        path.unlink()


def _leftovers(folder: Path) -> Iterator[Path]:
    """What an interrupted attempt left; the ledger's own files begin with a dot."""
    yield from (path for path in sorted(folder.glob("*.parquet")) if path.is_file())
