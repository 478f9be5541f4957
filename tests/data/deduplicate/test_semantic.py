"""Semantic duplicates: the greedy rule against the plainest way, whatever the clusters' and blocks' sizes; and that a
real encoder finds paraphrases."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.console import Console
from bedplate.data.curation.shards import Shards
from bedplate.data.deduplicate import semantic_comparison, semantic_vectors
from bedplate.data.deduplicate.semantic import run_semantic
from bedplate.data.deduplicate.semantic_clusters import k_means, nearest
from bedplate.data.deduplicate.semantic_comparison import ROUNDING, compared
from bedplate.data.deduplicate.semantic_config import SemanticConfig
from bedplate.data.deduplicate.semantic_vectors import unit
from bedplate.data.engine.tasks import InProcess, Run
from bedplate.errors import InputError


def make_shards(folder, shards: list[list[str | None]]) -> Shards:
    """Shards of texts; None is one that was left out before."""
    for number, texts in enumerate(shards):
        (folder / f"{number:05d}").mkdir(parents=True)
        columns = {
            "id": [f"{number}-{row}" for row in range(len(texts))],
            "text": ["left out" if text is None else text for text in texts],
            "status": ["dropped" if text is None else "kept" for text in texts],
        }
        table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
        pq.write_table(table, folder / f"{number:05d}" / "documents.parquet", row_group_size=3)
    return Shards(folder, len(shards))


def decide(folder, shards: list[list[str | None]], **config):
    """The one that each dropped document is like, {id: id}; the columns of every document; the measures."""
    made = make_shards(folder / "shards", shards)
    run = Run(folder / "work", InProcess(), Console.quiet())
    decision = run_semantic(made, SemanticConfig(**config), run)
    dropped, columns = {}, {}
    for shard in range(made.count):
        place = decision.folder / f"{shard:05d}"
        for row in pq.read_table(place / "verdicts.parquet").to_pylist():
            assert row["reason"] == "semantic_duplicate"
            dropped[f"{shard}-{row['row']}"] = row["other"]
        for row in pq.read_table(place / "columns.parquet").to_pylist():
            columns[f"{shard}-{row['row']}"] = (row["semantic_cluster"], row["semantic_similarity"])
    return dropped, columns, decision.measures


@pytest.fixture
def letters(monkeypatch, tmp_path):
    """An encoder that counts letters, and its folder."""

    def embed_counted(texts, batch_tokens):
        counts = [[text.count(chr(97 + i)) for i in range(26)] for text in texts]
        return SimpleNamespace(vectors=np.array(counts, dtype=np.float32).reshape(len(texts), 26), truncated=0)

    monkeypatch.setattr(
        semantic_vectors, "load_encoder", lambda config: SimpleNamespace(width=26, embed_counted=embed_counted)
    )
    return {"encoder": str(tmp_path)}


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(0, 40),
    st.sampled_from([0.3, 0.8, 0.95, 1.0]),
    st.sampled_from([1, 3, 512]),
    st.sampled_from([1, 2, 4096]),
)
def test_each_is_held_against_those_that_are_kept(seed, count, threshold, block, kept_at_once):
    random = np.random.Generator(np.random.PCG64(seed))
    vectors = unit(random.integers(-2, 3, size=(count, 4))).astype(np.float16)
    wide = unit(vectors)
    kept, expected, best = [], [], []
    for i in range(count):
        cosines = [float(wide[i] @ wide[j]) for j in kept]
        best.append(max(cosines, default=-1.0))
        expected.append(best[-1] >= threshold - ROUNDING)
        if not expected[-1]:
            kept.append(i)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semantic_comparison, "_BLOCK", block)
        patch.setattr(semantic_comparison, "_KEPT", kept_at_once)
        similarity, like = compared(vectors, threshold)
    assert similarity == pytest.approx(np.array(best, dtype=np.float32), abs=1e-5)
    assert (like >= 0).tolist() == expected
    for i in np.flatnonzero(like >= 0).tolist():
        assert like[i] in kept
        assert float(wide[i] @ wide[like[i]]) == pytest.approx(best[i], abs=1e-5)


def test_k_means_finds_what_lies_together():
    random = np.random.Generator(np.random.PCG64(0))
    truth = np.repeat(np.arange(5), 100)
    vectors = unit(np.eye(8)[truth] + 0.1 * random.standard_normal((500, 8)))
    centres = k_means(vectors, vectors[[0, 100, 200, 300, 400]], 20)
    assert nearest(vectors, centres).tolist() == truth.tolist()
    assert centres == pytest.approx(np.eye(8)[:5], abs=0.1)
    assert k_means(vectors, centres, 20) == pytest.approx(centres, abs=1e-6)


def test_keeps_the_first_or_the_longest(tmp_path, letters):
    shards = [["abc", "xyz", None], [], ["aabbcc", "zyx zyx", "", " ", "abd"]]
    dropped, columns, measures = decide(tmp_path / "first", shards, keep="first", **letters)
    assert dropped == {"2-0": "0-0", "2-1": "0-1"}
    assert columns["0-0"] == (0, None)
    assert columns["2-0"][1] == pytest.approx(1, abs=1e-3)
    assert columns["2-4"][1] == pytest.approx(2 / 3, abs=1e-3)
    assert set(columns) == {"0-0", "0-1", "2-0", "2-1", "2-2", "2-3", "2-4"}
    assert measures == {
        **{"read": 7, "kept": 5, "dropped": {"semantic_duplicate": 2}, "failed": {}, "clusters": 1, "cut": 0}
    }
    dropped, _, _ = decide(tmp_path / "longest", shards, keep="longest", **letters)
    assert dropped == {"0-0": "2-0", "0-1": "2-1"}


def test_a_chain_keeps_both_its_ends(tmp_path, letters):
    chain = ["a" * 20, "a" * 20 + "b" * 8, "a" * 20 + "b" * 17]  # each 0.93 like the next, the ends 0.76
    dropped, _, _ = decide(tmp_path, [chain], keep="first", threshold=0.9, **letters)
    assert dropped == {"0-1": "0-0"}


def test_clusters_and_sample_decide_only_who_is_compared(tmp_path, letters):
    random = np.random.Generator(np.random.PCG64(1))
    texts = ["".join(chr(97 + i) for i in random.integers(0, 26, size=30)) for _ in range(150)]
    shards = [texts[:50], texts[50:] + texts[:50]]
    found = []
    for name, config in {"one": {}, "same": {}, "many": {"clusters": 7, "sample": 100}}.items():
        dropped, columns, _ = decide(tmp_path / name, shards, keep="first", threshold=1.0, **letters, **config)
        assert dropped == {f"1-{100 + i}": f"0-{i}" for i in range(50)}  # the same text is in the same cluster
        found.append(columns)
    assert found[0] == found[1]
    assert len({cluster for cluster, _ in found[2].values()}) == 7


def test_nothing_to_compare(tmp_path, letters):
    dropped, columns, measures = decide(tmp_path, [[None], [""]], **letters)
    assert (dropped, columns) == ({}, {"1-0": (0, None)})
    assert (measures["read"], measures["kept"]) == (1, 1)


def test_refuses_an_encoder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such folder with an encoder"):
        decide(tmp_path, [["a"]], encoder=str(tmp_path / "none"))


def test_a_real_encoder_finds_what_says_the_same(tmp_path, minilm):
    texts = [
        "The cat sat on the mat and looked out of the window at the rain.",
        "Interest rates were raised by a quarter of a point on Wednesday.",
        "On the mat sat the cat, looking out of the window at the rain.",
        "On Wednesday, interest rates were raised by a quarter point.",
        "Preheat the oven and butter a round cake tin.",
    ]
    dropped, columns, _ = decide(tmp_path, [texts[:3], texts[3:]], encoder=str(minilm), threshold=0.85, keep="first")
    assert dropped == {"0-2": "0-0", "1-0": "0-1"}
    assert columns["1-1"][1] < 0.5
