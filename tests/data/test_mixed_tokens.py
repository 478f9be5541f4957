"""Tokens of a mixed corpus: documents stand as often as they are to be seen, and phases come one after the other."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedplate.data.packing import PackedRows
from bedplate.data.tokens import TokenSet


@pytest.fixture
def mixed(built, tmp_path):
    """The fixture's tokens, with copies and phases said of the training documents."""

    def make(copies, phases):
        folder = tmp_path / "tokens"
        shutil.copytree(built.tokens.path, folder)
        table = pq.read_table(folder / "documents.parquet")
        train = np.array(table.column("split").to_pylist()) == "train"
        for name, values in (("copies", copies), ("phase", phases)):
            column = np.where(train, np.resize(values, len(train)), 1 if name == "copies" else 0)
            table = table.set_column(table.schema.get_field_index(name), name, pa.array(column, pa.int32()))
        pq.write_table(table, folder / "documents.parquet")
        measures = built.tokens.measures
        return TokenSet(
            folder,
            vocab_size=measures["vocab_size"],
            boundary_id=TokenSet.open(built.tokens).boundary_id,
            fingerprint=measures["tokenizer_fingerprint"],
        )

    return make


def epoch_rows(tokens, length=64):
    rows = PackedRows(tokens, "train", length, seed=3)
    return rows, rows.rows(0, rows.rows_per_epoch)


def test_documents_are_seen_as_often_as_they_have_copies(built, mixed):
    tokens = mixed([1, 2, 3], [0])
    plain = TokenSet.open(built.tokens)
    once = {name: plain.document("train", i).tolist() for i, name in enumerate(plain.ids("train"))}
    seen = Counter(tokens.ids("train"))
    table = pq.read_table(tokens.folder / "documents.parquet", filters=[("split", "==", "train")]).to_pylist()
    assert seen == {row["id"]: row["copies"] for row in table}
    assert tokens.ids("train")[: len(once)] == plain.ids("train")
    for index in range(0, len(tokens.ids("train")), 7):
        assert tokens.document("train", index).tolist() == once[tokens.ids("train")[index]]
    rows, _ = epoch_rows(tokens)
    assert rows.pairs_per_epoch == sum(row["copies"] * (row["end"] - row["start"] + 1) for row in table)


def test_phases_come_in_order_and_every_pair_once(mixed):
    phases = [2, 0, 1]
    tokens = mixed([1], phases)
    rows, found = epoch_rows(tokens)
    place = {tuple(tokens.document("train", i).tolist()[:6]): i for i in range(len(tokens.ids("train")))}
    table = tokens.documents("train")
    pairs = [int((table.length + 1)[table.phase == phase].sum()) for phase in range(3)]
    # A phase's last row is filled up with the next phase's pairs, and may come anywhere among its own.
    ends = [-(-sum(pairs[: phase + 1]) // 64) for phase in range(3)]
    shared = 0
    for row, (targets, segments) in enumerate(zip(found["targets"], found["segments"], strict=True)):
        phase = next(number for number, end in enumerate(ends) if row < end)
        starts = np.flatnonzero(np.diff(segments, prepend=-1))[1:]
        begun = [place.get(tuple(targets[at : at + 6].tolist())) for at in starts]
        phases = {int(table.phase[i]) for i in begun if i is not None}
        assert phases <= {phase, (phase + 1) % 3}
        shared += (phase + 1) % 3 in phases
    assert shared <= 3
    unshuffled = PackedRows(mixed_without_phases(tokens), "train", 64, seed=3)
    assert Counter(found["targets"].ravel().tolist()).total() == unshuffled.rows_per_epoch * 64
    places = [rows.place(r) for r in range(2 * rows.rows_per_epoch)]
    assert sorted(places) == list(range(2 * rows.rows_per_epoch))


def mixed_without_phases(tokens):
    table = pq.read_table(tokens.folder / "documents.parquet").drop_columns(["phase", "copies"])
    pq.write_table(table, tokens.folder / "documents.parquet")
    return TokenSet(
        tokens.folder, vocab_size=tokens.vocab_size, boundary_id=tokens.boundary_id, fingerprint=tokens.fingerprint
    )
