"""Records with an id that was there before: found across the whole source, however it is cut."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedplate.data.curation.record_id import record_id
from bedplate.data.curation.shards import Shards
from bedplate.data.deduplicate import ids, index
from bedplate.data.deduplicate import runs as sorted_runs
from bedplate.data.engine.tasks import task_folder
from bedplate.errors import InputError

SCHEMA = pa.schema(dict.fromkeys(("text", "id", "label", "metadata", "record_id", "status"), pa.string()))


def shards_of(folder, rows, per_shard):
    count = 0
    for first in range(0, max(1, len(rows)), per_shard):
        table = [
            {"text": "t", "id": f"{number:024x}" if status == "kept" else None, "label": label, "status": status,
             "metadata": None if own is None else json.dumps({"id": own}), "record_id": record_id({"id": own})}
            for number, (label, own, status) in enumerate(rows[first : first + per_shard], first + 1)
        ]  # fmt: skip
        task_folder(folder, count).mkdir(parents=True)
        path = task_folder(folder, count) / "documents.parquet"
        pq.write_table(pa.Table.from_pylist(table, SCHEMA), path, row_group_size=5)
        count += 1
    return Shards(folder, count)


def expected(rows, labels):
    """What a plain loop says of each row."""
    first, said = {}, []
    for number, (label, own, status) in enumerate(rows, 1):
        text = f"{number:024x}" if status == "kept" else None
        if label not in labels or own is None:
            said.append(None)
        elif (label, str(own)) in first and status == "kept":
            said.append(("duplicate_id", first[label, str(own)]))
        else:
            first.setdefault((label, str(own)), text)
            said.append(None)
    return said


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([None, 1, "1", "x", "\ud800", "1 x", 10**30]),
        st.sampled_from(["kept", "kept", "dropped"]),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, st.integers(1, 45), st.integers(1, 8), st.booleans())
def test_is_a_plain_loop_however_it_is_cut(tmp_path_factory, make_run, told, rows, per_shard, size, backwards):
    folder = tmp_path_factory.mktemp("ids")
    shards = shards_of(folder / "shards", rows, per_shard)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "ranges", lambda count: sorted_runs.ranges(count, size))
        decision = ids.run_it(shards, ["a", "b"], make_run(folder / "run", backwards=backwards))
    said = expected(rows, {"a", "b"})
    assert told(shards, decision) == said
    lost = sum(one is not None for one in said)
    read = sum(status == "kept" for *_, status in rows)
    assert (decision.measures["read"], decision.measures["kept"]) == (read, read - lost)
    assert decision.measures["dropped"] == ({"duplicate_id": lost} if lost else {})


def test_ids_of_an_earlier_corpus_count_too(tmp_path, make_run, told):
    old = shards_of(tmp_path / "old", [("a", "x", "kept"), ("a", "y", "kept")], 1)
    run = make_run(tmp_path / "run")
    decision = ids.run_it(old, ["a"], run)
    index.write_index(tmp_path / "index", old.after(decision.folder), {"ids": (run.folder / "ids-keys", ids.SETTINGS)})
    new = shards_of(tmp_path / "new", [("a", "z", "kept"), ("a", "x", "kept"), ("b", "x", "kept")], 2)
    decision = ids.run_it(new, ["a", "b"], make_run(tmp_path / "next"), earlier=tmp_path / "index")
    assert told(new, decision) == [None, ("duplicate_id", f"{1:024x}"), None]
    (verdict,) = pq.read_table(task_folder(decision.folder, 0) / "verdicts.parquet").to_pylist()
    assert verdict["detail"] == "the id 'x' was there before"
    index.write_index(tmp_path / "none", old, {})
    with pytest.raises(InputError, match="without `id_field`"):
        ids.run_it(new, ["a"], make_run(tmp_path / "other"), earlier=tmp_path / "none")
