"""No two documents that are alike, or of one group, are in different clusters."""

from __future__ import annotations

import hashlib
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedplate.data.curation.shards import TEXTS
from bedplate.data.deduplicate import clusters, minhash
from bedplate.data.deduplicate.config import ClusterConfig, MinHashConfig
from bedplate.data.engine.tasks import task_folder


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def variants(count=60, copies=3):
    """Texts of 200 words in families, of which each two have about 0.7 of their shingles in common."""
    rng = random.Random(0)
    texts, family = [], []
    for i in range(count):
        base = [f"w{rng.randrange(5000)}" for _ in range(200)]
        for _ in range(copies):
            words = list(base)
            for place in rng.sample(range(200), 3):
                words[place] = f"e{rng.randrange(10**6)}"
            texts.append(" ".join(words))
            family.append(i)
    order = rng.sample(range(len(texts)), len(texts))
    return [texts[i] for i in order], [family[i] for i in order]


def test_families_stay_together(tmp_path, make_shards, make_run, column):
    texts, family = variants()
    shards = make_shards(tmp_path / "shards", texts, 50)
    decision = clusters.run_it(shards, ClusterConfig(), make_run(tmp_path / "run"), validation=0.05)
    named = column(shards, decision, "cluster")
    least = {one: min(sha256(t) for t, f in zip(texts, family, strict=True) if f == one) for one in family}
    assert named == [least[one] for one in family]
    assert decision.measures["kept"] == len(texts)
    assert decision.measures["groups"] == 60


def test_signatures_are_used_again(tmp_path, make_shards, make_run, column):
    """Those that `minhash` made, but for a text that was changed since; the clusters are those of the texts."""
    texts, _ = variants(20)
    shards = make_shards(tmp_path / "shards", texts, 25)
    run = make_run(tmp_path / "run")
    config = MinHashConfig()
    after = shards.after(minhash.run_it(shards, config, run).folder)
    alive = [int(i) for i in after.alive(0).nonzero()[0]]
    changed = task_folder(tmp_path / "changed", 0)
    changed.mkdir(parents=True)
    new = "another text of its own that has nothing in common with what it was"
    pq.write_table(pa.table({"row": pa.array([alive[0]], pa.int32()), "text": [new]}), changed / TEXTS)
    after = after.after(tmp_path / "changed")
    decision = clusters.run_it(
        after, ClusterConfig(), run, signed=(config, run.folder / "minhash-keys"), validation=0.05
    )
    assert decision.measures["signatures_reused"] == decision.measures["read"] - 1
    named = column(after, decision, "cluster")
    assert named[alive[0]] == sha256(texts[alive[0]])  # called by what it was, as its split is decided by that
    fresh = clusters.run_it(after, ClusterConfig(), make_run(tmp_path / "fresh"), signed=None, validation=0.05)
    assert fresh.measures["signatures_reused"] == 0
    other = clusters.run_it(
        after,
        ClusterConfig(length=3),
        make_run(tmp_path / "other"),
        signed=(config, run.folder / "minhash-keys"),
        validation=0.05,
    )
    assert other.measures["signatures_reused"] == 0
    few = MinHashConfig(bands=12, rows=8)  # 96 hashes tell too little of what is half alike
    minhash.run_it(shards, few, make_run(tmp_path / "few"))
    signed = (few, tmp_path / "few" / "minhash-keys")
    short = clusters.run_it(after, ClusterConfig(), make_run(tmp_path / "short"), signed=signed, validation=0.05)
    assert short.measures["signatures_reused"] == 0


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("abcdef"), max_size=8), st.sampled_from([None, "g", "h", ""])), max_size=25
    ),
    st.integers(1, 30),
)
def test_groups_and_equal_texts_stay_together(tmp_path_factory, make_shards, make_run, column, made, per_shard):
    rows = [{"text": " ".join(words), "group": group} for words, group in made]
    named = []
    for cut, backwards in ((1000, False), (per_shard, True)):
        folder = tmp_path_factory.mktemp("clusters")
        shards = make_shards(folder / "shards", rows, cut)
        run = make_run(folder / "run", backwards=backwards)
        decision = clusters.run_it(shards, ClusterConfig(length=2), run, validation=0.05)
        named.append(column(shards, decision, "cluster"))
    assert named[0] == named[1]
    for i, one in enumerate(rows):
        for j in range(i):
            if rows[j]["text"] == one["text"] or (one["group"] is not None and rows[j]["group"] == one["group"]):
                assert named[0][i] == named[0][j]
    members = {}
    for row, name in zip(rows, named[0], strict=True):
        members.setdefault(name, []).append(sha256(row["text"]))
    assert all(name == min(hashes) for name, hashes in members.items())


@pytest.mark.parametrize("keep", ["dropped", "failed"])
def test_what_was_left_out_has_no_cluster(tmp_path, make_shards, make_run, column, keep):
    rows = [{"text": "a b c d e f g", "status": keep}, "a b c d e f g h"]
    shards = make_shards(tmp_path / "shards", rows)
    decision = clusters.run_it(shards, ClusterConfig(), make_run(tmp_path / "run"), validation=0.05)
    assert column(shards, decision, "cluster") == [None, sha256("a b c d e f g h")]
