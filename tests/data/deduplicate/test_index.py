"""The index of a corpus of which something was taken out: as if that had never been there."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.data.deduplicate.index import write_without
from bedplate.errors import ArtefactError
from bedplate.ledger import produce


def curate(folder, out, workers=1):
    source = {"jsonl": str(folder), "license": "MIT", "id_field": "id", "name": "x"}
    config = CurateConfig(
        sources=[source], deduplicate={"exact": {}, "minhash": {}}, clusters=None, validation=0.4, workers=workers
    )
    return produce(CURATE, config, {}, out, name="c", console=Console.quiet())


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def written(tmp_path):
    """Two corpora: of 40 documents in three files, and of those that aren't `gone`."""
    gone = [3, 10, 11, 12, 13, 39]
    for name, without in (("all", []), ("some", gone)):
        folder = tmp_path / name
        folder.mkdir()
        for file, numbers in enumerate((range(10), range(10, 14), range(14, 40))):
            rows = [{"text": f"{n} " + " ".join(f"w{n * 99 + k}" for k in range(40)), "id": str(n)} for n in numbers]
            rows = [row for row in rows if int(row["id"]) not in without]
            (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stays = np.ones(40, dtype=bool)
    stays[gone] = False
    return curate(tmp_path / "all", tmp_path / "a"), curate(tmp_path / "some", tmp_path / "b"), stays


def test_keys_are_those_of_what_is_left(written, tmp_path):
    everything, some, stays = written
    write_without(tmp_path / "index", everything.path / "index", stays)
    ours, theirs = (json.loads((p / "index.json").read_text()) for p in (tmp_path / "index", some.path / "index"))
    for name, section in ours["sections"].items():
        assert sum(section["rows"]) == stays.sum()
        assert section["settings"] == theirs["sections"][name]["settings"]

    def keys(folder, name):
        found = [np.load(path) for path in sorted((folder / name).rglob("*.key.npy"))]
        return sorted(np.concatenate(found).tolist())

    for name in ("exact", "minhash", "ids"):
        assert keys(tmp_path / "index", name) == keys(some.path / "index", name)
        assert len(keys(everything.path / "index", name)) > len(keys(some.path / "index", name))


def test_all_that_stays_is_the_index_itself(written, tmp_path):
    everything, _, stays = written
    write_without(tmp_path / "index", everything.path / "index", np.ones_like(stays))
    assert files(tmp_path / "index") == files(everything.path / "index")


def test_an_index_of_other_documents_is_refused(written, tmp_path):
    _, some, stays = written
    with pytest.raises(ArtefactError, match="the keys of 34 documents"):
        write_without(tmp_path / "index", some.path / "index", stays)
    with pytest.raises(ArtefactError, match="no index of a corpus"):
        write_without(tmp_path / "other", tmp_path, stays)
