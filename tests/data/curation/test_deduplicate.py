"""Planted copies in real prose, through the whole of curate: which are found, which stays, and where others point."""

from __future__ import annotations

import json
import random

import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.ledger import produce

KINDS = ("exact", "normalised", "near", "passage")
EACH = 80
PASSAGE = 70
"""Words that are in two texts."""


def curate(out, path, **config):
    sources = [
        {"jsonl": str(path), "license_field": "license", "date_field": "date", "license": "unknown", "name": "a"}
    ]
    config = CurateConfig(**{"sources": sources, "validation": 0.2} | config)
    return produce(CURATE, config, {}, out, name="corpus", console=Console.quiet())


def write(path, texts):
    rows = [{"text": text} if isinstance(text, str) else text for text in texts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def kept(corpus):
    return [row for path in sorted(corpus.path.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def dropped(corpus):
    return pq.read_table(corpus.path / "dropped.parquet").to_pylist()


def numbered(rows):
    """Rows by the line of the source that they came from."""
    return {int(row["source"].rpartition("#")[2]) - 1: row for row in rows}


@pytest.fixture(scope="session")
def prose(shared_data):
    """Pieces of 160 words out of the middle of books, each once."""
    pieces = []
    for path in sorted((shared_data / "gutenberg_books").glob("*.txt"))[:12]:
        words = path.read_text(errors="replace").split()
        middle = words[len(words) // 4 : len(words) * 3 // 4]
        pieces += [middle[at : at + 160] for at in range(0, len(middle) - 160, 160)]
    return pieces


def copy_of(kind, words, draw, fresh):
    """A copy of a text of its kind."""
    words = list(words)
    if kind == "normalised":
        return " ".join(words).upper().replace(",", " ;").replace(".", " . ")
    if kind == "near":
        for at in draw.sample(range(len(words)), draw.randint(1, 5)):
            words[at] = "otherwise"
    if kind == "passage":
        at = draw.randrange(0, len(words) - PASSAGE)
        words = [*fresh[:50], *words[at : at + PASSAGE], *fresh[50:]]
    return " ".join(words)


def planted(prose, draw):
    """Texts in no order, half of them without a copy, and the pairs of their places by the kind of copy."""
    bases = draw.sample(prose, 2 * EACH * len(KINDS) + EACH)
    fresh = [bases.pop() for _ in range(EACH)]
    marked = [(" ".join(words), None, 0) for words in bases[EACH * len(KINDS) :]]
    for number, words in enumerate(bases[: EACH * len(KINDS)]):
        kind = KINDS[number % len(KINDS)]
        spare = fresh[number // len(KINDS)]
        marked += [(" ".join(words), kind, number), (copy_of(kind, words, draw, spare), kind, number)]
    draw.shuffle(marked)
    pairs = {}
    for place, (_, kind, number) in enumerate(marked):
        pairs.setdefault(kind, {}).setdefault(number, []).append(place)
    return [text for text, _, _ in marked], {kind: list(pairs[kind].values()) for kind in KINDS}


def measured(corpus, pairs):
    """{kind: (recall, precision)} of planted pairs. A pair is found where the later one, and it alone, is dropped as a
    copy of the earlier, or for a passage where something was cut out of the later alone; what else is dropped for the
    same reason, or cut, is a mistake."""
    gone, stayed = numbered(dropped(corpus)), numbered(kept(corpus))
    ids = {place: row["id"] for place, row in (stayed | gone).items()}
    reasons = {"exact": "exact_duplicate", "normalised": "normalised_duplicate", "near": "near_duplicate"}
    found = {}
    for kind, reason in reasons.items():
        told = {place: row["other"] for place, row in gone.items() if row["reason"] == reason}
        right = sum(told.get(later) == ids[earlier] and earlier in stayed for earlier, later in pairs[kind])
        found[kind] = right / len(pairs[kind]), right / max(len(told), 1)
    cut = {place for place, row in stayed.items() if row["repeated_fraction"]}
    cut -= {later for _, later in pairs["near"]}  # what wasn't like enough to go still has passages in common
    right = sum(later in cut and earlier not in cut for earlier, later in pairs["passage"])
    return found | {"passage": (right / len(pairs["passage"]), right / max(len(cut), 1))}


def test_all_kinds_of_planted_copies(prose, tmp_path, record_property):
    texts, pairs = planted(prose, random.Random(11))
    path = write(tmp_path / "texts.jsonl", texts)
    config = {"deduplicate": {"exact": {"normalise": True}, "minhash": {}, "substring": {}}}
    corpus = curate(tmp_path / "corpus", path, **config)
    found = measured(corpus, pairs)
    for kind, (recall, precision) in found.items():
        print(f"{kind}: recall {recall:.3f}, precision {precision:.3f}")
        record_property(f"{kind} recall", recall)
        record_property(f"{kind} precision", precision)
    assert found["exact"] == found["normalised"] == (1, 1)
    recall, precision = found["near"]  # one to five words of 160 are others: Jaccard similarities from 0.94 to 0.72
    assert recall >= 0.85  # at the last, which is the threshold, two of three go
    assert precision >= 0.98
    assert min(found["passage"]) >= 0.98
    assert len({row["id"] for row in kept(corpus)}) == corpus.measures["kept"]
    for row in numbered(kept(corpus)).items():
        assert row[1]["repeated_fraction"] or row[1]["text"] == texts[row[0]]


@pytest.mark.parametrize(("keep", "stays"), [("first", 0), ("longest", 2), ("earliest", 1), ("licensed", 3)])
def test_which_copy_stays(prose, tmp_path, keep, stays):
    words = prose[0]
    some = [
        {"text": " ".join(words)},
        {"text": " ".join(["first", *words[1:]]), "date": "1999-05"},
        {"text": " ".join([*words, "lengthened", "extraordinarily"]), "date": "2001", "license": "unknown"},
        {"text": " ".join([*words[:-1], "last"]), "license": "CC0-1.0"},
    ]
    path = write(tmp_path / "texts.jsonl", [*some, *(" ".join(words) for words in prose[1:12])])
    corpus = curate(tmp_path / "corpus", path, deduplicate={"minhash": {}, "keep": keep}, validation=0.3)
    rows = numbered(kept(corpus))
    assert [place for place in range(4) if place in rows] == [stays]
    assert {row["other"] for row in dropped(corpus)} == {rows[stays]["id"]}
    assert rows[stays]["near_copies"] == 3


def test_others_lead_into_the_corpus(prose, tmp_path):
    """Of texts C, A, A: the last is dropped as an exact copy of A, A as nearly C, and C loses a passage that it shares
    with a text before it."""
    earlier, words = prose[20], list(prose[21])
    words[:PASSAGE] = earlier[:PASSAGE]
    nearly = [*words[:-1], "otherwise"]
    first = [*earlier[:PASSAGE], *prose[22][PASSAGE:]]
    texts = [" ".join(one) for one in (first, words, nearly, nearly, *prose[23:40])]
    path = write(tmp_path / "texts.jsonl", texts)
    corpus = curate(tmp_path / "corpus", path, deduplicate={"exact": {}, "minhash": {}, "substring": {}})
    stayed, gone = numbered(kept(corpus)), numbered(dropped(corpus))
    assert {place: row["reason"] for place, row in gone.items()} == {2: "near_duplicate", 3: "exact_duplicate"}
    assert stayed[1]["text"] == " ".join(words[PASSAGE:])
    assert gone[3]["other"] == gone[2]["id"]
    assert gone[2]["other"] == stayed[1]["id"]
