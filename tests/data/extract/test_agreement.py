"""How well the extractors agree with people, on the pages of the article extraction benchmark."""

from __future__ import annotations

import gzip
import json

import pytest

from bedplate.data.documents import Document
from bedplate.data.extract.config import ExtractConfig
from bedplate.data.extract.score import agreement
from bedplate.data.extract.step import step

# Measured with resiliparse 2.0.1 and trafilatura 2.3.1, F1: resiliparse 0.947 as Markdown and 0.948 as text (0.933
# without the clearing of boilerplate), trafilatura 0.964 and 0.969. The floors leave room for other versions.
FLOORS = [
    ({}, 0.94),
    ({"boilerplate": False}, 0.925),
    ({"format": "text"}, 0.94),
    ({"extractor": "trafilatura"}, 0.955),
    ({"extractor": "trafilatura", "format": "text"}, 0.96),
]


@pytest.mark.parametrize(("settings", "floor"), FLOORS)
def test_extraction_agrees_with_people(shared_data, settings, floor):
    folder = shared_data / "article_extraction"
    truth = json.loads((folder / "ground-truth.json").read_text())
    documents = []
    for name in sorted(truth):
        data = gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes())
        documents.append(Document(name, None, data, "text/html; charset=utf-8", len(data), url=truth[name]["url"]))
    step(ExtractConfig(**settings))(documents)
    assert all(document.alive for document in documents)
    assert all(document.title for document in documents)
    found = agreement((truth[document.source]["articleBody"], document.text) for document in documents)
    assert found.pages == 91
    assert found.f1 >= floor


def test_agreement_counts_runs_of_four_words():
    assert agreement([("a b c d e", "a b c d e")]).f1 == 1
    assert agreement([("a b c d e", "x y")]).f1 == 0
    half = agreement([("a b c d e", "a b c d")])
    assert (half.precision, half.recall) == (1, 0.5)
    assert agreement([("a b c d", "a b c d"), ("a b c d", "")]).precision == 1
    assert agreement([("a b c d", "a b c d"), ("a b c d", "")]).recall == 0.5
    assert agreement([]).f1 == 0
