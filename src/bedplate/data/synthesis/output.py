"""`Output`: the corpus that is being written, and the account of what became of every answer."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bedplate.data.corpus import CORPUS_SCHEMA, DROPPED, DROPPED_SCHEMA, ParquetTable
from bedplate.data.synthesis.asking import Answer, Unanswered
from bedplate.data.synthesis.prompts import VERSION
from bedplate.data.synthetic_share import SyntheticShare
from bedplate.errors import InputError, InternalError

CONVERSATIONS = "conversations.jsonl"
_SHOWN = 200
"""Characters of a dropped answer that are kept."""


@dataclass(frozen=True)
class Seed:
    """A document that something is written from."""

    id: str
    text: str
    language: str | None
    license: str | None
    split: str


class Output:
    """Everything that was to be written is told here once: kept, dropped or failed.

    Beside the rows, pairs of a question and its answer are written as conversations, for fine-tuning.
    """

    def __init__(self, folder: Path, *, generator: str, license: str, most_failed: float) -> None:
        for stale in folder.glob("part-*.parquet"):  # of an attempt that was interrupted
            stale.unlink()
        self._generator, self._license, self._most_failed = generator, license, most_failed
        self._rows = ParquetTable(folder, "part", CORPUS_SCHEMA)
        self._others = ParquetTable(folder, DROPPED, DROPPED_SCHEMA, single=True)
        self._conversations = (folder / CONVERSATIONS).open("w", encoding="utf-8", newline="\n")
        self._seen: set[bytes] = set()
        self._dropped, self._failed = Counter[str](), Counter[str]()
        self._splits, self._bytes, self._seeds = Counter[str](), Counter[str](), Counter[str]()
        self._usage = Counter[str]()
        self._synthetic = SyntheticShare()
        self.kept = self._read = 0

    def __enter__(self) -> Output:
        self._rows.__enter__()
        self._others.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.__exit__(kind, error, trace)
        self._others.__exit__(kind, error, trace)
        self._conversations.close()

    def asked(self, answers: Sequence[Answer | Unanswered]) -> None:
        """Count what the answers cost. Raises InputError where too many requests have failed."""
        for answer in answers:
            self._usage["requests"] += 1
            if isinstance(answer, Unanswered):
                self._usage["failed"] += 1
                last = answer.problem
            elif answer.prompt_tokens is None or answer.completion_tokens is None:
                self._usage["of_unknown_tokens"] += 1
            else:
                self._usage["prompt_tokens"] += answer.prompt_tokens
                self._usage["completion_tokens"] += answer.completion_tokens
        failed, requests = self._usage["failed"], self._usage["requests"]
        if failed and failed > self._most_failed * requests and (failed >= 10 or failed == requests):
            raise InputError(
                f"synthesize: {failed} of {requests} requests failed: {last if requests else ''}",
                "Mend that and run the same command again (what was answered is kept), or raise most_failed.",
            )

    def keep(
        self,
        text: str,
        name: str,
        method: str,
        seeds: Sequence[Seed],
        split: str,
        pairs: Sequence[tuple[str, str]] = (),
    ) -> None:
        """A row of the corpus, unless the same text has been kept before. name: alone of its kind."""
        data = text.encode()
        digest = hashlib.sha256(data)
        if digest.digest() in self._seen:
            self.drop(name, "duplicate", text)
            return
        self._seen.add(digest.digest())
        sha256 = digest.hexdigest()
        marks = {
            "generator": self._generator,
            "method": method,
            "prompt": VERSION,
            "of": list(dict.fromkeys(seed.id for seed in seeds)),
        }
        known = {
            "id": sha256[:24],
            "text": text,
            "source": name,
            "license": self._license,
            "language": seeds[0].language if seeds else None,
            "split": split,
            "bytes": len(data),
            "sha256": sha256,
            "synthetic": json.dumps(marks, ensure_ascii=False),
        }
        row = dict.fromkeys(CORPUS_SCHEMA) | known
        self._rows.add(row)
        self._synthetic.add(row)
        for question, answer in pairs:
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            line = {"messages": turns, "document": sha256[:24], "split": split, "synthetic": marks}
            self._conversations.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._read += 1
        self.kept += 1
        self._splits[split] += 1
        self._bytes[split] += len(data)
        self._seeds.update(seed.license or "unknown" for seed in seeds)

    def drop(self, name: str, reason: str, text: str = "") -> None:
        """An answer, or a passage, that isn't wanted."""
        self._dropped[reason] += 1
        self._note(name, "dropped", reason, text)

    def fail(self, name: str, failure: Unanswered) -> None:
        """What wasn't answered."""
        self._failed[failure.reason] += 1
        self._note(name, "failed", failure.reason, failure.problem)

    def measures(self) -> dict[str, Any]:
        """The counts for the manifest. Raises InternalError if they don't add up."""
        dropped, failed = self._dropped.total(), self._failed.total()
        if self._read != self.kept + dropped + failed or self.kept != self._splits.total():
            raise InternalError(
                f"answers lost: read {self._read}, kept {self.kept}, {dropped} dropped, {failed} failed"
            )
        return {
            "read": self._read,
            "kept": self.kept,
            "dropped": dict(sorted(self._dropped.items())),
            "failed": dict(sorted(self._failed.items())),
            "documents": {split: self._splits[split] for split in ("train", "validation")},
            "bytes": {split: self._bytes[split] for split in ("train", "validation")},
            "licenses": {self._license: self.kept},
            "seed_licenses": dict(sorted(self._seeds.items())),
            "synthetic": self._synthetic.measures() | {"prompt": VERSION},
            "usage": dict(sorted(self._usage.items())),
        }

    def _note(self, name: str, status: str, reason: str, text: str) -> None:
        self._read += 1
        detail = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
        known = {"source": name, "status": status, "reason": reason, "detail": detail or None, "stage": "synthesize"}
        self._others.add(dict.fromkeys(DROPPED_SCHEMA) | known | {"bytes": len(text.encode())})
