"""Carrying out `curate`: read every raw document, keep or drop it, and account for each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bedplate.console.figures import counted
from bedplate.data.corpus import CORPUS_SCHEMA, DROPPED, DROPPED_SCHEMA, ParquetTable
from bedplate.data.curate import CurateConfig, Source
from bedplate.data.sources import Failure, RawDocument, find, read, root
from bedplate.errors import InputError, InternalError

if TYPE_CHECKING:
    from bedplate.ledger import Work


def run(config: CurateConfig, inputs: dict[str, Any], work: Work) -> None:
    """Write the corpus and `dropped.parquet`, which lists every document that isn't in it, with the reason.

    Memory: one row group, and about 130 bytes a document for its hash. Raises InputError for a document that can't be
    read (unless on_error=skip), or where nothing is kept.
    """
    account = _curate(config, work)
    work.measures.update(account.measures())
    _check_splits(config, account)


def _curate(config: CurateConfig, work: Work) -> _Account:
    account = _Account(config.sources)
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
                account.read(source)
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
        # Hashed, so that a group that is called by a document's hash isn't that document.
        "split": split_of(sha256 if document.group is None else f"group {document.group}", validation),
        "bytes": len(text.encode()),
        "sha256": sha256,
    }


def split_of(sha256: str, validation: float) -> str:
    """The split of a document, from the hash of its text, or of its group: not from its order, name or company."""
    draw = int.from_bytes(hashlib.sha256(f"validation split {sha256}".encode()).digest()[:8], "big") / 2**64
    return "validation" if draw < validation else "train"


class _Account:
    """Counts what became of every document; read = kept + dropped + failed, by source and in all."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._by_source = {source.label: Counter[str]() for source in sources}
        self._declared = {source.label: source.declared_license for source in sources}
        self._dropped: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self.documents: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._licenses: Counter[str] = Counter()
        self.total_kept = 0

    def read(self, source: Source) -> None:
        """A document has left the reader. Counted here and nowhere else, so that one that then gets lost shows."""
        self._by_source[source.label]["read"] += 1

    def kept(self, source: Source, row: dict[str, Any]) -> None:
        self.total_kept += 1
        counts = self._by_source[source.label]
        counts["kept"] += 1
        counts["bytes"] += row["bytes"]
        self.documents[row["split"]] += 1
        self._bytes[row["split"]] += row["bytes"]
        self._licenses[row["license"]] += 1

    def dropped(self, source: Source, reason: str) -> None:
        self._by_source[source.label]["dropped"] += 1
        self._dropped[reason] += 1

    def failed(self, source: Source, reason: str) -> None:
        self._by_source[source.label]["failed"] += 1
        self._failed[reason] += 1

    def measures(self) -> dict[str, Any]:
        """The counts for the manifest. Raises InternalError if they don't add up."""
        read = sum(counts["read"] for counts in self._by_source.values())
        dropped, failed = sum(self._dropped.values()), sum(self._failed.values())
        sums = (self.total_kept, sum(self.documents.values()), sum(self._licenses.values()))
        lost = [
            label
            for label, counts in self._by_source.items()
            if counts["read"] != counts["kept"] + counts["dropped"] + counts["failed"]
        ]
        if lost or read != self.total_kept + dropped + failed or len(set(sums)) != 1:
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
                | {"license": self._declared[label]}
                for label, counts in self._by_source.items()
            },
        }


def _check_splits(config: CurateConfig, account: _Account) -> None:
    names = ", ".join(str(root(source)) for source in config.sources)
    if not account.total_kept:
        counts = account.measures()
        why = ", ".join(f"{reason} {count:,}" for reason, count in (counts["dropped"] | counts["failed"]).items())
        raise InputError(
            f"{names}: no text in it: {counted(counts['read'], 'document')} read, none kept"
            + (f" ({why})" if why else ""),
            "Check that the sources hold text, and the limit largest_document.",
        )
    for split in ("train", "validation"):
        if not account.documents[split]:
            raise InputError(
                f"{names}: {counted(account.total_kept, 'document')} kept, of which the {split} split gets none "
                f"(validation={config.validation})",
                "Give more or smaller documents, or another share in `validation`.",
            )
