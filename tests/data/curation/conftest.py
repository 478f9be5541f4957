"""Documents with everything that curation looks for among them, and a recipe with nearly all of its stages."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

WORDS = [line.strip() for line in Path(os.__file__).read_text().split() if line.strip()]
STAGES = {
    "privacy": {},
    "signals": {},
    "filters": {"rules": [{"column": "words", "min": 5}]},
    "deduplicate": {"exact": {}, "minhash": {}, "substring": {"words": 20}},
    "clusters": {},
    "mix": {"weights": {"a.jsonl": 1, "b": 2}},
}


def write_sources(folder: Path, documents: int) -> list[dict]:
    """Real words in new orders, with copies, near copies and repeated passages among them."""
    draw = random.Random(7)
    texts: list[str] = []
    for number in range(documents):
        if number % 7 == 3:
            words = draw.choice(texts).split()
            if number % 2:
                words[draw.randrange(len(words))] = "changed"
        else:
            words = draw.choices(WORDS, k=draw.randrange(3, 300))
        if number % 11 == 5 and texts:
            words += draw.choice(texts).split()[:60]
        texts.append(" ".join(words))
    half = documents // 2
    lines = [json.dumps({"text": text}) for text in texts[:half]]
    (folder / "a.jsonl").write_text("\n".join(lines) + '\n{"broken\n')
    (folder / "b").mkdir()
    for number, text in enumerate(texts[half:]):
        (folder / "b" / f"{number:04d}.txt").write_text(text)
    return [
        {"jsonl": str(folder / "a.jsonl"), "license": "MIT"},
        {"folder": str(folder / "b"), "license": "CC0-1.0"},
    ]


@pytest.fixture
def mingled(tmp_path):
    """The configuration of a curation of so many documents."""

    def make(documents):
        return {"sources": write_sources(tmp_path, documents), "on_error": "skip", **STAGES}

    return make
