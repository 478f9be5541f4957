"""Labelled texts out of files: read, told apart by side, the same text once, conflicts settled or refused."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.data.classify.train_filter import ExampleFile, TrainFilterConfig
from bedplate.data.row_files import Row, read_rows
from bedplate.errors import InputError
from bedplate.ledger.digests import sha256_file
from bedplate.ledger.stage import SourceInput

if TYPE_CHECKING:
    from bedplate.ledger import Artefact


@dataclass(frozen=True)
class Example:
    """A text and the side it is on. key: SHA-256 of the text as it is compared; weak: labelled by functions alone."""

    text: str
    positive: bool
    key: str
    weak: bool = False


@dataclass
class Read:
    """Examples, and what became of the rows: read = used + repeated + the rest of `left_out`."""

    examples: list[Example] = field(default_factory=list)
    rows: int = 0
    repeated: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)


def sources(config: TrainFilterConfig) -> list[SourceInput]:
    """The files that it reads, and the module of the labelling functions."""
    paths = [Path(file.path) for file in config.examples]
    if config.weak is not None:
        from bedplate.data.classify.weak_labels import labelling_module

        paths += [Path(file.path) for file in config.weak.texts]
        try:
            spec = find_spec(labelling_module(config.weak.functions))
        except ImportError:  # said when the functions are wanted
            spec = None
        if spec is not None and spec.origin is not None and Path(spec.origin).is_file():
            paths.append(Path(spec.origin))
    found = []
    for path in paths:
        try:
            found.append(SourceInput(path, sha256_file(path), path.stat().st_size))
        except OSError as error:
            raise InputError(f"{path}: can't be read: {error.strerror}", "Correct the path.") from error
    return found


def label_word(value: object) -> str:
    """A label as the configuration names it: numbers as digits, true and false in lower case."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def text_key(text: str) -> str:
    """Texts that differ in white space and case alone are the same."""
    return hashlib.sha256(" ".join(text.lower().split()).encode("utf-8", "surrogatepass")).hexdigest()


def read_examples(config: TrainFilterConfig, corpus: Artefact | None) -> Read:
    """The examples in the order of the files. Raises InputError, naming file and row, for a missing field, and for the
    same text on both sides where that is refused."""
    read = Read()
    rows = [(row, file) for file in config.examples for row in read_rows(file.path)]
    texts = _corpus_texts(rows, corpus)
    sides: dict[str, list[tuple[bool, str]]] = {}
    first: dict[str, str] = {}
    for row, file in rows:
        read.rows += 1
        label = _label(row, file)
        read.labels[label] += 1
        positive = label in config.positive
        if not positive and config.negative is not None and label not in config.negative:
            read.left_out["other_label"] += 1
            continue
        text = _text(row, file, texts, corpus)
        if text is None or not text.strip():
            read.left_out["not_in_corpus" if text is None else "empty"] += 1
            continue
        key = text_key(text)
        first.setdefault(key, text)
        sides.setdefault(key, []).append((positive, row.place))
    for key, given in sides.items():
        side = _settled(config, given, first[key])
        if side is None:
            read.left_out["conflict"] += len(given)
            continue
        read.repeated += len(given) - 1
        read.examples.append(Example(first[key], side, key))
    return read


def _settled(config: TrainFilterConfig, given: list[tuple[bool, str]], text: str) -> bool | None:
    """The side of one text; None: left out."""
    yes = [place for positive, place in given if positive]
    no = [place for positive, place in given if not positive]
    if not yes or not no:
        return bool(yes)
    if config.conflicts == "refuse":
        raise InputError(
            f"{yes[0]} and {no[0]}: the same text on both sides: {' '.join(text.split())[:60]!r}",
            "Correct one of them, or set conflicts=majority or conflicts=leave_out.",
        )
    return None if config.conflicts == "leave_out" or len(yes) == len(no) else len(yes) > len(no)


def _label(row: Row, file: ExampleFile) -> str:
    value = row.values.get(file.label_field)
    if value is None or isinstance(value, dict | list):
        raise _no_field(row, file.label_field, "label_field")
    return label_word(value)


def _text(row: Row, file: ExampleFile, texts: dict[str, str], corpus: Artefact | None) -> str | None:
    text = row.values.get(file.text_field)
    if isinstance(text, str):
        return text
    if corpus is None or row.values.get(file.id_field) is None:
        raise _no_field(row, file.text_field, "text_field")
    return texts.get(str(row.values[file.id_field]))


def _no_field(row: Row, name: str, setting: str) -> InputError:
    fields = ", ".join(str(key) for key in row.values)
    return InputError(
        f'{row.place}: no field "{name}" (fields: {fields})',
        f"Set {setting}, or give the input corpus whose documents the rows name by id.",
    )


def _corpus_texts(rows: list[tuple[Row, ExampleFile]], corpus: Artefact | None) -> dict[str, str]:
    """The texts of the documents that rows name by id."""
    wanted = {
        str(row.values[file.id_field])
        for row, file in rows
        if not isinstance(row.values.get(file.text_field), str) and row.values.get(file.id_field) is not None
    }
    if corpus is None or not wanted:
        return {}
    return {id_: text for id_, text in _documents(corpus) if id_ in wanted}


def _documents(corpus: Artefact) -> Iterator[tuple[str, str]]:
    from bedplate.data.corpus import read_corpus

    for batch in read_corpus(corpus, ["id", "text"]):
        yield from zip(batch["id"], batch["text"], strict=True)


def corpus_texts(corpus: Artefact) -> Iterator[str]:
    """Every text of a corpus, in order."""
    return (text for _, text in _documents(corpus))
