"""What is alike is on one side of the split of the finished corpus, and a chain of resemblances doesn't take it all."""

from __future__ import annotations

import json
import random

import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.errors import InputError
from bedplate.ledger import produce


def curate(out, earlier=None, **config):
    inputs = {} if earlier is None else {"earlier": earlier}
    return produce(CURATE, CurateConfig(**config), inputs, out, name="corpus", console=Console.quiet())


def rows_of(corpus):
    return [row for path in sorted(corpus.path.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture
def source(tmp_path):
    """source(rows): the configuration of one; rows are texts, or dicts."""

    def write(rows):
        path = tmp_path / "a.jsonl"
        grouped = {} if isinstance(rows[0], str) else {"group_field": "group"}
        rows = [{"text": row} if isinstance(row, str) else row for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return [{"jsonl": str(path), "license": "MIT", **grouped}]

    return write


def words(start, count):
    return " ".join(f"word{number}" for number in range(start, start + count))


def families(count, seed=0):
    """Texts in families of one to four, of which each two have a Jaccard similarity of 0.7 and more: well above the
    threshold, where signatures of 128 numbers miss none."""
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        base = [f"w{rng.randrange(10**6)}" for _ in range(120)]
        for _ in range(rng.randrange(1, 5)):
            new = list(base)
            for place in rng.sample(range(120), 2):
                new[place] = f"e{rng.randrange(10**6)}"
            texts.append(" ".join(new))
    return rng.sample(texts, len(texts))


def shingles(text):
    units = text.split()
    return {tuple(units[at : at + 5]) for at in range(len(units) - 4)}


def alike_across(rows, least=0.5):
    """Pairs of a training and a validation document, all compared, whose Jaccard similarity is at least that."""
    train, validation = ([shingles(row["text"]) for row in rows if row["split"] == s] for s in ("train", "validation"))
    assert len(train) > len(validation) > 10
    return sum(len(a & b) >= least * len(a | b) > 0 for a in train for b in validation)


def test_no_two_alike_are_on_both_sides(source, tmp_path):
    sources = source(families(150))
    apart = curate(tmp_path / "apart", sources=sources, clusters=None, validation=0.15)
    assert alike_across(rows_of(apart)) > 20
    together = curate(tmp_path / "together", sources=sources, validation=0.15)
    assert alike_across(rows_of(together)) == 0
    assert 0 < together.measures["joint"]["clusters"]["largest_share"] < 0.05
    cutting = {"exact": {}, "substring": {"words": 40}}
    cut = curate(tmp_path / "cut", sources=sources, validation=0.15, mix={}, deduplicate=cutting)
    assert alike_across(rows_of(cut)) == 0
    assert any(row["repeated_fraction"] for row in rows_of(cut))


def test_what_is_alone_goes_where_it_would_go_without_clusters_and_cuts(source, tmp_path):
    boiler = words(10**6, 60)
    texts = [f"{words(1000 * n, 150)} {boiler}" for n in range(60)]
    splits, cutting = [], {"deduplicate": {"substring": {}}}
    for number, config in enumerate(({"clusters": None}, {}, {"clusters": None} | cutting, cutting)):
        corpus = curate(tmp_path / f"corpus{number}", sources=source(texts), validation=0.3, **config)
        splits.append({row["id"]: row["split"] for row in rows_of(corpus)})
    assert splits[0] == splits[1] == splits[2] == splits[3]


def test_a_chain_goes_to_train_and_is_named_where_it_is_everything(source, tmp_path):
    chain = [words(7 * n, 40) for n in range(300)]
    alone = [words(10**6 + 1000 * n, 40) for n in range(200)]
    corpus = curate(tmp_path / "corpus", sources=source(chain + alone), validation=0.2)
    rows = rows_of(corpus)
    clusters = {row["cluster"] for row in rows if row["text"] in set(chain)}
    assert len(clusters) == 1
    assert {row["split"] for row in rows if row["cluster"] in clusters} == {"train"}
    assert 20 < corpus.measures["documents"]["validation"] < 60
    found = corpus.measures["joint"]["clusters"]
    assert (found["largest"], found["too_large"]) == (clusters.pop(), 1)
    assert found["largest_share"] == pytest.approx(sum(map(len, chain)) / sum(map(len, chain + alone)), abs=1e-9)
    with pytest.raises(InputError, match=r"(?s)validation split gets none .* 100% of the text.*clusters: null"):
        curate(tmp_path / "chain", sources=source(chain), validation=0.2)


def test_few_large_groups_are_split_all_the_same(source, tmp_path):
    rows = [{"text": words(1000 * n, 40), "group": f"book {n % 12}"} for n in range(120)]
    corpus = curate(tmp_path / "corpus", sources=source(rows), validation=0.3)
    splits = {}
    for row in rows_of(corpus):
        splits.setdefault(row["group"], set()).add(row["split"])
    assert all(len(one) == 1 for one in splits.values())
    assert 0 < sum(one == {"validation"} for one in splits.values()) < 8
    assert corpus.measures["joint"]["clusters"]["too_large"] == 0  # none is half of it


@pytest.mark.parametrize("first_copies", [0, 2])
def test_an_earlier_corpus_has_the_same_columns_with_copies_and_without(tmp_path, first_copies):
    folder = tmp_path / "days"
    folder.mkdir()

    def write(day, texts):
        (folder / f"{day}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    old, new = [words(1000 * n, 50) for n in range(30)], [words(10**6 + 1000 * n, 50) for n in range(5)]
    near = old[0].replace("word7", "other")
    write("monday", old + (old[:first_copies] + [near] * (first_copies > 0)))
    config = {"sources": [{"jsonl": str(folder), "license": "MIT", "name": "days"}], "validation": 0.2}
    config |= {"deduplicate": {"exact": {}, "minhash": {}}}
    first = curate(tmp_path / "first", **config)
    write("tuesday", new + (new[:2] if not first_copies else []))
    second = curate(tmp_path / "second", first, **config)
    assert second.measures["kept"] == 35
    rows = rows_of(second)
    assert {row["exact_copies"] for row in rows} == {None, 1}
    assert {row["near_copies"] for row in rows} == ({None, 1} if first_copies else {None})
    write("wednesday", [words(2 * 10**6, 50)])
    assert curate(tmp_path / "third", second, **config).measures["kept"] == 36
