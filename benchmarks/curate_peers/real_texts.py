"""Real English texts, their sentences and halves of sentences, and real items of evaluations, from the shared data."""

from __future__ import annotations

import ast
import csv
import json
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

TOKEN = re.compile(r"\w+|[^\w\s]")
SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])")
HALF = 14
"""Tokens of the longest half: what two texts share by chance stays far below 50 tokens."""


def raw_texts(data: Path) -> Iterator[str]:
    """Real English texts, a work or an article each, in a fixed order."""
    for name in ("valid", "test"):
        lines = (data / "wikitext2/word_language_model/data/wikitext-2" / f"{name}.txt").read_text().splitlines()
        text = "\n".join(line for line in lines if "<unk>" not in line and not line.startswith(" ="))
        text = re.sub(r" @(.)@ ", r"\1", text)
        yield re.sub(r" ([,.;:?!)%]|'s)", r"\1", text).replace("( ", "(")
    gold = json.loads((data / "article_extraction/ground-truth.json").read_text())
    yield from (article["articleBody"] for _, article in sorted(gold.items()))
    for book in sorted((data / "gutenberg_books").glob("*.txt")):
        if book.name != "SOURCE.txt":
            yield re.sub(r"(?<=\S)\r?\n(?=\S)", " ", book.read_text(encoding="utf-8", errors="replace"))
    yield (data / "tinyshakespeare/data/tinyshakespeare/input.txt").read_text().replace("\n", " ")
    for article in json.loads((data / "xquad/xquad.en.json").read_text())["data"]:
        yield from (paragraph["context"] for paragraph in article["paragraphs"])
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if "test" not in str(file) and "site-packages" not in file.parts and "lib2to3" not in file.parts:
            yield from docstrings(file)


def docstrings(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text and ">>>" not in text:
                yield re.sub(r"(?<=\S)\n(?=\S)", " ", text)


def items(data: Path) -> list[dict[str, str]]:
    """Evaluation items of at least 20 words: {id, text}."""
    found = []
    for file in sorted((data / "mmlu/data/mmlu/test").glob("*.csv")):
        for row, fields in enumerate(csv.reader(file.open(encoding="utf-8", newline=""))):
            found.append({"id": f"mmlu/{file.stem}/{row}", "text": " ".join(fields[0].split())})
    lines = (data / "gsm8k/grade_school_math/data/test.jsonl").read_text().splitlines()
    found += [{"id": f"gsm8k/{i}", "text": " ".join(json.loads(s)["question"].split())} for i, s in enumerate(lines)]
    return [item for item in found if 20 <= len(item["text"].split()) <= 150]


@dataclass(frozen=True)
class Pool:
    """Whole sentences, and first and second halves of sentences: all different, in the order of the texts.

    None has a curly bracket: one alone would have C4's rules drop most long documents.
    """

    sentences: list[str]
    heads: list[str]
    tails: list[str]

    @cached_property
    def words(self) -> list[str]:
        """Different words of four letters and more."""
        return sorted({w for tail in self.tails for w in tail.split() if w.isalpha() and len(w) > 3})

    @classmethod
    def read(cls, data: Path) -> Pool:
        sentences: dict[str, None] = {}
        heads: dict[str, None] = {}
        tails: dict[str, None] = {}
        for text in raw_texts(data):
            for piece in SENTENCE.split(text):
                words = piece.split()
                sentence = " ".join(words)
                if not (
                    7 <= len(words) <= 40 and sentence[-1] in ".!?" and sentence[0].isupper() and "{" not in sentence
                ):
                    continue
                sentences[sentence] = None
                head, tail = " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])
                if max(len(TOKEN.findall(head)), len(TOKEN.findall(tail))) <= HALF:
                    heads[head], tails[tail] = None, None
        return cls(list(sentences), list(heads), list(tails))
