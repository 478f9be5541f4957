"""The mixture in the finished corpus: copies, phases and shares are what was asked for, and validation is left be."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.data.curation.splitting import split_of
from bedplate.data.mix.mixing import draw
from bedplate.errors import InputError
from bedplate.ledger import produce

PASSAGE = " ".join(f"passage{number}" for number in range(60))


def curate(out, **config):
    return produce(CURATE, CurateConfig(**config), {}, out, name="corpus", console=Console.quiet())


def rows_of(corpus):
    return [row for path in sorted(corpus.path.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def reasons(corpus):
    dropped = pq.read_table(corpus.path / "dropped.parquet").to_pylist()
    return Counter((row["label"], row["stage"], row["reason"]) for row in dropped)


def some_texts(count, seed, passage=""):
    """Texts of 40 to 200 words, unlike one another."""
    rng = random.Random(seed)
    return [" ".join(f"w{rng.randrange(10**9)}" for _ in range(rng.randrange(40, 200))) + passage for _ in range(count)]


@pytest.fixture
def sources(tmp_path):
    """sources(name=texts): their configuration, and the hash of each document's text by its name in the corpus."""

    def write(**texts):
        made, hashes = [], {}
        for name, some in texts.items():
            path = tmp_path / f"{name}.jsonl"
            path.write_text("".join(json.dumps({"text": text}) + "\n" for text in some))
            made.append({"jsonl": str(path), "name": name, "license": "MIT"})
            hashes |= {f"{name}#{n}": hashlib.sha256(text.encode()).hexdigest() for n, text in enumerate(some, 1)}
        return made, hashes

    return write


@pytest.mark.parametrize("clusters", [None, {}])
@pytest.mark.parametrize("descending", [False, True])
def test_copies_and_phases_after_a_cut(sources, tmp_path, clusters, descending):
    made, hashes = sources(a=some_texts(90, 1), b=some_texts(90, 2, " " + PASSAGE))
    mix = {"weights": {"a": 1, "b": 9}, "budget": 65_000, "most_epochs": 3}
    mix |= {"curriculum": {"by": "words", "descending": descending, "phases": 3}}
    config = {"deduplicate": {"substring": {}}, "signals": {}, "validation": 0.2, "clusters": clusters, "mix": mix}
    corpus = curate(tmp_path / "corpus", sources=made, **config)
    rows = rows_of(corpus)
    assert sum(PASSAGE in row["text"] for row in rows) == 1
    for row in rows:  # decided by the text from before the cut
        assert row["split"] == split_of(hashes[row["source"]], 0.2)
        assert row["bytes"] == len(row["text"].encode())
        assert row["sha256"] == hashlib.sha256(row["text"].encode()).hexdigest()
    rest = [row for row in rows if row["split"] == "validation"]
    assert len(rest) == sum(split_of(sha256, 0.2) == "validation" for sha256 in hashes.values()) > 20
    assert {(row["copies"], row["phase"]) for row in rest} == {(1, None)}

    train = [row for row in rows if row["split"] == "train"]
    plan = corpus.measures["joint"]["mix"]
    assert plan["a"]["epochs"] < 1 < 2 < plan["b"]["epochs"] < 3
    for row in train:
        epochs = plan[row["label"]]["epochs"]
        assert row["copies"] == int(epochs) + (draw(hashes[row["source"]]) < epochs % 1)
    gone = sum(split_of(h, 0.2) == "train" and draw(h) >= plan["a"]["epochs"] for n, h in hashes.items() if n[0] == "a")
    assert reasons(corpus) == {("a", "mix", "mixed_out"): gone}
    assert {row["copies"] for row in train if row["label"] == "b"} == {int(plan["b"]["epochs"] + i) for i in (0, 1)}
    # The whole of b is there, so its size is that of what the corpus has: as it is now.
    assert plan["b"]["bytes"] == sum(row["bytes"] for row in train if row["label"] == "b")
    assert plan["b"]["share"] == pytest.approx(0.9)
    tokens = Counter()
    for row in train:
        tokens[row["label"]] += row["bytes"] / 4 * row["copies"]
    assert tokens["b"] / tokens.total() == pytest.approx(0.9, abs=0.03)

    assert Counter(row["phase"] for row in train).keys() == {0, 1, 2}
    order = sorted(train, key=lambda row: row["words"], reverse=descending)
    phases = [row["phase"] for row in order]
    assert phases == sorted(phases)


def test_phases_are_equal_parts(sources, tmp_path):
    made, _ = sources(a=some_texts(200, 3))
    config = {"signals": {}, "mix": {"curriculum": {"by": "words", "phases": 4}}}
    rows = [row for row in rows_of(curate(tmp_path / "corpus", sources=made, **config)) if row["split"] == "train"]
    bounds = np.quantile(np.array([row["words"] for row in rows], dtype=np.float32), [0.25, 0.5, 0.75])
    assert [row["phase"] for row in rows] == [int((bounds <= row["words"]).sum()) for row in rows]
    assert {row["copies"] for row in rows} == {1}
    sizes = Counter(row["phase"] for row in rows)
    assert sizes.keys() == {0, 1, 2, 3}
    assert min(sizes.values()) > 0.2 * len(rows)


def test_a_source_of_which_nothing_is_wanted_is_nobodys_original(sources, tmp_path):
    same = some_texts(40, 4)
    made, _ = sources(b=same, a=same, c=some_texts(3, 5))
    for mix in ({"weights": {"a": 1}, "rest": "drop"}, {"weights": {"a": 1, "b": 0, "c": 0}}):
        corpus = curate(tmp_path / f"corpus{len(mix)}{mix.get('rest')}", sources=made, mix=mix, validation=0.2)
        assert Counter(row["label"] for row in rows_of(corpus)) == {"a": 40}
        assert reasons(corpus) == {(name, "mix_sources", "mixed_out"): n for name, n in (("b", 40), ("c", 3))}
        assert corpus.measures["joint"]["mix_sources"]["left_out"] == {"b": 40, "c": 3}


def test_a_source_that_holds_nothing_any_more_is_still_a_source(sources, tmp_path):
    same = some_texts(40, 6)
    made, _ = sources(a=same, b=same, c=[], d=some_texts(40, 7))
    mix = {"weights": {"a": 1, "b": 1, "c": 1}, "bytes_per_token": {"b": 3.0}}
    plan = curate(tmp_path / "corpus", sources=made, mix=mix, validation=0.2).measures["joint"]["mix"]
    assert {name: portion["epochs"] for name, portion in plan.items()} == pytest.approx(
        {"a": 1, "b": 0, "c": 0, "d": 1}
    )
    with pytest.raises(InputError, match="holds any training text"):
        curate(tmp_path / "none", sources=made, mix={"weights": {"c": 1}, "rest": "drop"})
    with pytest.raises(InputError, match="bytes_per_token for 'typo', which is no source"):
        curate(tmp_path / "typo", sources=made, mix={"bytes_per_token": {"typo": 2.0}})
