"""The stage `python-docs`: this machine's own documents, as a task and as documents to search.

"Which module does this docstring belong to?": real text that is on every machine with Python. Beside the task stand the
same docstrings as Markdown, one file a module, and questions about them with the place of their answers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from bedplate.config import Config
from bedplate.errors import InputError
from bedplate.ledger.atomic import atomic_write
from bedplate.ledger.stage import Inputs, SourceInput, Stage
from bedplate.ledger.work import Work
from bedplate.tasks.docstrings import Documented, documented, library, module_doc, prose, source_files, without_name
from bedplate.tasks.near_copies import canonical, groups
from bedplate.tasks.task_file import TASK_FACTS, TASK_FILE
from bedplate.tasks.task_split import hash_share

DESCRIPTION = "the module of Python's standard library that the documentation belongs to"


class PythonDocsConfig(Config):
    """How much of the standard library's documentation."""

    modules: int = Field(20, ge=2, description="modules, those with the most documented functions and classes")
    per_module: int = Field(24, ge=4, description="most examples of a module")
    words: int = Field(48, ge=8, description="most words of an example; the documents hold all of them")
    fewest_words: int = Field(6, ge=1, description="docstrings of fewer words aren't examples")
    questions: int = Field(40, ge=0, description="questions about the documents")


PYTHON_DOCS = Stage(
    name="python-docs",
    version=2,
    kind="task",
    config=PythonDocsConfig,
    inputs={},
    run="bedplate.tasks.python_docs:run",
    sources="bedplate.tasks.python_docs:sources",
    resumes=False,
)


def sources(config: PythonDocsConfig) -> list[SourceInput]:
    """The standard library as one raw input. Raises InputError where this Python came without its source."""
    folder = library()
    files = [path for paths in source_files(folder).values() for path in paths]
    if not files:
        raise InputError(
            f"{folder}: no source of the standard library in it", "Use a Python that was installed with its library."
        )
    states = [(path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    digest = hashlib.sha256(json.dumps(states).encode()).hexdigest()
    return [SourceInput(path=folder, digest=digest, bytes=sum(size for _, size, _ in states), count=len(files))]


def run(config: PythonDocsConfig, inputs: Inputs, work: Work) -> None:
    """Writes task.jsonl, task.json, documents/MODULE.md and questions.jsonl."""
    files = source_files(library())
    everything = {module: _once(module, paths) for module, paths in files.items()}
    examples = _examples(everything, config)
    chosen = sorted(examples, key=lambda module: (-len(examples[module]), module))[: config.modules]
    rows = [row for module in sorted(chosen) for row in _sample(examples[module], config.per_module)]
    rows.sort(key=lambda row: hash_share(row["text"], "order"))
    _write_lines(work.path / TASK_FILE, rows)
    facts = {"name": "python-docs", "description": DESCRIPTION, "license": "PSF-2.0"}
    atomic_write(work.path / TASK_FACTS, json.dumps(facts, indent=1) + "\n")
    (work.path / "documents").mkdir(exist_ok=True)
    for module in sorted(chosen):
        atomic_write(work.path / "documents" / f"{module}.md", _document(module, files[module], everything[module]))
    asked = _questions({module: everything[module] for module in sorted(chosen)}, config.questions)
    _write_lines(work.path / "questions.jsonl", asked)
    work.measures |= {
        "examples": len(rows),
        "modules": len(chosen),
        "fewest_of_a_module": min(len(_sample(examples[module], config.per_module)) for module in chosen),
        "documented": sum(len(everything[module]) for module in chosen),
        "questions": len(asked),
    }


def _once(module: str, paths: Sequence[Path]) -> list[Documented]:
    """All that a module documents, each qualified name once: the first of several definitions."""
    found: dict[str, Documented] = {}
    for path in paths:
        for item in documented(module, path):
            found.setdefault(item.name, item)
    return list(found.values())


def _examples(everything: Mapping[str, Sequence[Documented]], config: PythonDocsConfig) -> dict[str, list[Any]]:
    """Module -> its examples. Of copies and near copies one stays, and none where two modules share them."""
    texts: list[tuple[str, str, str]] = []
    for module, items in everything.items():
        for item in items:
            text = without_name(prose(item.doc, config.words), module)
            if len(canonical(text).split(" ")) >= config.fewest_words:
                texts.append((module, item.name, text))
    modules_of: dict[int, set[str]] = {}
    first = groups([text for _, _, text in texts])
    for origin, (module, _, _) in zip(first, texts, strict=True):
        modules_of.setdefault(origin, set()).add(module)
    examples: dict[str, list[Any]] = {}
    for index, (origin, (module, name, text)) in enumerate(zip(first, texts, strict=True)):
        if index == origin and len(modules_of[origin]) == 1:
            examples.setdefault(module, []).append({"text": text, "label": module, "of": name})
    return examples


def _sample(rows: Sequence[Any], most: int) -> list[Any]:
    return sorted(rows, key=lambda row: hash_share(row["text"], "sample"))[:most]


def _document(module: str, paths: Sequence[Path], items: Sequence[Documented]) -> str:
    start = next((path for path in paths if path.stem in ("__init__", module)), paths[0])
    parts = [f"# {module}", module_doc(start)]
    parts += [f"## {item.name}{item.signature}\n\n{item.doc}" for item in items]
    return "\n\n".join(part for part in parts if part) + "\n"


def _questions(everything: Mapping[str, Sequence[Documented]], most: int) -> list[dict[str, str]]:
    """Questions whose answer is the first sentence of a function's docstring, fixed by hash, over all modules."""
    functions = [
        item
        for items in everything.values()
        for item in items
        if item.function and len(_sentence(item.doc).split()) >= 5
    ]
    functions.sort(key=lambda item: hash_share(item.name, "questions"))
    return [
        {
            "question": f"What does {item.name} do?",
            "answer": _sentence(item.doc),
            "document": f"{item.name.partition('.')[0]}.md",
            "heading": f"{item.name}{item.signature}",
        }
        for item in functions[:most]
    ]


def _sentence(doc: str) -> str:
    """The first sentence of the first paragraph."""
    paragraph = " ".join(re.split(r"\n\s*\n", doc, maxsplit=1)[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph, maxsplit=1)[0]


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    atomic_write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
