"""A key that millions of documents share is streamed: results are those of loading it, memory doesn't grow with it."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedplate.data.deduplicate import clusters, exact, images, minhash, runs
from bedplate.data.deduplicate.config import ClusterConfig, ExactConfig, ImagesConfig, MinHashConfig
from bedplate.data.deduplicate.runs import Part, RunWriter, light, of_key, read_range

KEYS = st.lists(st.one_of(st.integers(0, 8), st.integers(0, 2**64 - 1), st.just(2**64 - 1)), max_size=60)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(KEYS, st.integers(1, 5), st.integers(1, 30), st.integers(1, 3))
def test_a_cut_range_has_all_keys(tmp_path_factory, keys, most, per_part, number):
    folder, parts = tmp_path_factory.mktemp("keys"), []
    for first in range(0, len(keys), per_part):
        some = np.array(keys[first : first + per_part], dtype=np.uint64)
        parts.append(Part(folder / str(first), first, len(some)))
        parts[-1].folder.mkdir()
        writer = RunWriter(parts[-1].folder)
        writer.add(some, np.arange(len(some)))
        writer.flush()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "MOST", most)
        patch.setattr(runs, "BLOCK", 2)
        found = []
        for a, b in runs.ranges(len(keys), max(1, len(keys) // number)):
            for first, end in light(parts, a, b):
                assert a <= first < end <= b
                here = read_range(parts, first, end)
                assert len(here[0]) <= most or end - first == 1
                if end - first == 1:
                    assert np.concatenate([rows for _, rows in of_key(parts, first)]).tolist() == here[2].tolist()
                found += zip(here[0].tolist(), here[2].tolist(), strict=True)
    assert found == sorted((key, row) for row, key in enumerate(keys))


@pytest.mark.parametrize(
    ("step", "keep"),
    [("exact", "first"), ("exact", "longest"), ("minhash", "longest"), ("images", "first"), ("clusters", "first")],
)
def test_streamed_is_as_loaded(tmp_path, make_shards, make_run, told, column, monkeypatch, step, keep):
    """Boilerplate many times over, among other texts: whoever the tasks hold at once, the same is said."""
    texts = []
    for number in range(120):
        texts.append(" ".join(f"w{number}x{i}" for i in range(12)))
        texts += ["a b c d e f g h i j k l m n", "A b c d e f g h i j k l m n!" + "!" * (number % 50)]
    rows = [
        {"text": text, "image_hash": f"{[7, 6, number << 20][number % 3]:016x}", "group": "one" if number % 3 else None}
        for number, text in enumerate(texts)
    ]
    shards = make_shards(tmp_path / "shards", rows, 50)

    def work(folder):
        run = make_run(tmp_path / folder)
        if step == "clusters":
            return column(shards, clusters.run_it(shards, ClusterConfig(), run, validation=0.05), "cluster")
        decision = {
            "exact": lambda: exact.run_it(shards, ExactConfig(normalise=True), run, keep=keep),
            "minhash": lambda: minhash.run_it(shards, MinHashConfig(), run, keep=keep),
            "images": lambda: images.run_it(shards, ImagesConfig(), run, keep=keep),
        }[step]()
        return told(shards, decision), column(
            shards, decision, f"{step.removesuffix('s')}_copies".replace("minhash", "near")
        )

    loaded = work("loaded")
    assert len({str(one) for one in loaded[0]}) > 1 or step == "clusters"
    monkeypatch.setattr(runs, "MOST", 20)
    monkeypatch.setattr(runs, "BLOCK", 7)
    assert work("streamed") == loaded


MEASURE = """
import json, sys, time
from pathlib import Path
from bedplate.data.deduplicate import exact, minhash
from bedplate.data.deduplicate.verdicts import Rows
from bedplate.data.deduplicate.runs import Part
import pyarrow.parquet

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

folder, each, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rows = Rows((), tuple(Part(folder / f"{i:05d}", i * each, each) for i in range(count)))
files = sorted((folder / "groups").glob("members-*.npy"))
function, arguments = {
    "groups": (exact.find_groups, {"first": 0, "end": 1 << 64}),
    "verdicts": (exact.write_verdicts, {"part": rows.shards[1], "members": files}),
    "links": (minhash.find_links, {"first": 0, "end": 1 << 64, "threshold": 0.7}),
    "joined": (minhash.join, {"links": [folder / "links"], "by": "rank"}),
}[sys.argv[4]]
(folder / sys.argv[4]).mkdir()
before, began = peak(), time.process_time()
said = function(arguments | {"rows": rows}, folder / sys.argv[4])
print(json.dumps([said, peak() - before, time.process_time() - began]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_millions_of_equal_keys_take_little_memory(tmp_path):
    """3 million documents with one key, in 10 shards; loaded at once they took 60 bytes each and more."""
    each, count, key = 300_000, 10, np.uint64(12345 << 40)
    for shard in range(count):
        part = Part(tmp_path / f"{shard:05d}", shard * each, each)
        part.folder.mkdir()
        writer = RunWriter(part.folder, wide=True)
        writer.add(np.full(each, key), np.arange(each), np.full(each, np.uint64(7)))
        writer.flush()
        np.save(part.folder / "rank.npy", np.zeros(each, dtype=np.int64))
        np.save(part.folder / "sha256.npy", np.full((each, 32), 9, dtype=np.uint8))
        np.save(part.folder / "id.npy", np.full((each, 12), 9, dtype=np.uint8))
        np.save(part.folder / "signatures.npy", np.full((each, 16), 5, dtype=np.uint32))
    said, took = {}, {}
    for step in ("groups", "verdicts", "links", "joined"):
        asked = [sys.executable, "-c", MEASURE, str(tmp_path), str(each), str(count), step]
        said[step], *took[step] = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    print("MB and CPU seconds:", took)
    assert said["groups"] == {"groups": 1, "largest": each * count}
    assert said["verdicts"] == {"dropped": {"exact_duplicate": each}}
    assert said["links"]["linked"] == each * count - 1
    assert said["joined"] == {"groups": 1, "largest": each * count}
    assert max(took[step][0] for step in ("groups", "verdicts", "links")) < 110
    assert took["joined"][0] < 130  # it alone grows: 28 bytes a document that has a link
