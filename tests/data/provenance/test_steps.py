"""The steps that saw a document, against every row that the run was given."""

from __future__ import annotations

import numpy as np
import pytest

from bedplate.data.packing import PackedRows
from bedplate.data.provenance.steps import places_of, seen_in
from bedplate.data.tokens import TokenSet


def whole_document(tokens, entry):
    return tokens.document("train", entry).tolist()


def brute_force(packed, rows):
    """{document entry: rows that hold a pair of it}, pair by pair."""
    found = {}
    for row in range(rows):
        place = packed.place(row)
        begin, end = place * packed.length, (place + 1) * packed.length
        while begin < end:
            epoch, within = divmod(begin, packed.pairs_per_epoch)
            take = min(end - begin, packed.pairs_per_epoch - within)
            order = packed._order(epoch)
            for pair in range(within, within + take):
                entry = int(order.documents[np.searchsorted(order.ends, pair, side="right")])
                found.setdefault(entry, set()).add(row)
            begin += take
    return found


@pytest.mark.parametrize(("length", "seed"), [(24, 0), (7, 3), (1000, 1)])
def test_rows_with_a_document(made, length, seed):
    tokens = TokenSet.open(made.artefact("tokens"))
    packed = PackedRows(tokens, "train", length, seed)
    count = 3 * packed.rows_per_epoch
    told = brute_force(packed, count)
    assert len(told) == len(tokens.documents("train"))
    for entry, rows in told.items():
        epochs = range(3 * packed.rows_per_epoch * length // packed.pairs_per_epoch + 1)
        found = np.concatenate([packed.rows_with(entry, epoch) for epoch in epochs])
        assert set(found[found < count].tolist()) == rows


def test_steps_hold_the_documents_tokens(made):
    """In each step that is told, and in no other, a row has tokens of the document beside each other."""
    artefact = made.artefact("tokens")
    tokens = TokenSet.open(artefact)
    config = made.artefact("model").config
    packed = PackedRows(tokens, "train", config["length"], config["seed"])
    batches = [packed.rows(step * config["batch"], config["batch"]) for step in range(config["steps"])]
    copies = 0
    for document_id in sorted(set(tokens.ids("train"))):
        places = places_of(tokens, document_id)
        seen = seen_in(tokens, config, places)
        copies += len(places[0].entries) > 1
        wanted = " " + " ".join(map(str, whole_document(tokens, places[0].entries[0]))) + " "
        by_text = set()
        for step, batch in enumerate(batches, 1):
            for targets, segments in zip(batch["targets"], batch["segments"], strict=True):
                for segment in np.unique(segments):
                    piece = [t for t in targets[segments == segment].tolist() if t != tokens.boundary_id]
                    if len(piece) > 12 and " " + " ".join(map(str, piece)) + " " in wanted:
                        by_text.add(step)
        assert by_text <= set(seen.steps)
        assert seen.of == config["steps"]
        assert max(seen.steps, default=0) <= config["steps"]
    assert copies  # the mixture sees some more than once an epoch


def test_places_point_at_the_tokens(made):
    tokens = TokenSet.open(made.artefact("tokens"))
    for split in ("train", "validation"):
        ids = tokens.ids(split)
        for entry, document_id in enumerate(ids):
            place = next(place for place in places_of(tokens, document_id) if place.split == split)
            assert entry in place.entries
            shard = np.load(tokens.folder / place.shard)
            np.testing.assert_array_equal(shard[place.start : place.end], tokens.document(split, entry))


def test_validation_documents_are_seen_in_no_step(made):
    tokens = TokenSet.open(made.artefact("tokens"))
    config = made.artefact("model").config
    for document_id in tokens.ids("validation"):
        assert seen_in(tokens, config, places_of(tokens, document_id)).steps == ()


@pytest.mark.parametrize(
    ("objective", "kind"),
    [({"name": "masked"}, "bert"), ({"name": "span-corruption"}, "t5"), ({"name": "prefix"}, "llama"), (None, "bert")],
)
@pytest.mark.parametrize("packing", ["stream", "best_fit"])
def test_every_objective_is_known(made, objective, kind, packing):
    tokens = TokenSet.open(made.artefact("tokens"))
    config = {
        "architecture": {"model_type": kind},
        "objective": objective,
        "steps": 500,
        "batch": 4,
        "length": 64,
        "seed": 0,
    }
    config["packing"] = packing
    seen = seen_in(tokens, config, places_of(tokens, tokens.ids("train")[0]))
    assert seen.steps
    assert not seen.note


def test_documents_turned_round_are_said_to_be_unknown(made):
    tokens = TokenSet.open(made.artefact("tokens"))
    config = made.artefact("model").config | {"objective": {"name": "next-token", "fill_in_the_middle": {"rate": 0.5}}}
    assert "fill in the middle" in seen_in(tokens, config, places_of(tokens, tokens.ids("train")[0])).note


@pytest.mark.parametrize("packing", ["stream", "best_fit"])
def test_documents_turned_round_by_the_rows_that_the_run_was_given(made, tmp_path, packing):
    """A run with fill-in-the-middle says how long the rows of documents were; each step has what is told of it."""
    from bedplate.codecs.text import TextTokenizer
    from bedplate.console import Console
    from bedplate.data.tokenize import TOKENIZE, TokenizeConfig
    from bedplate.data.train_tokenizer import TRAIN_TOKENIZER, TrainTokenizerConfig
    from bedplate.ledger import produce
    from bedplate.train.config import PretrainConfig
    from bedplate.train.learning import learning
    from bedplate.train.stage import PRETRAIN

    def make(stage, config, inputs):
        return produce(stage, config, inputs, tmp_path / stage.name, name=stage.name, console=Console.quiet())

    options = TrainTokenizerConfig(vocabulary=300, specials="fill-in-the-middle")
    tokenizer = make(TRAIN_TOKENIZER, options, {"corpus": made.corpus})
    artefact = make(TOKENIZE, TokenizeConfig(), {"corpus": made.corpus, "tokenizer": tokenizer})
    objective = {"name": "next-token", "fill_in_the_middle": {"rate": 0.1}}
    like = made.artefact("model").config | {"steps": 8, "length": 64, "objective": objective, "packing": packing}
    config = PretrainConfig(**like)
    run = make(PRETRAIN, config, {"tokens": artefact})
    tokens = TokenSet.open(artefact)
    packed = learning(config, tokens, TextTokenizer.load(tokens.tokenizer_folder), config.architecture).packed
    assert run.measures["packed_length"] == packed.length < 64
    told = 0
    ids = tokens.ids("train")
    for document_id in sorted(set(ids)):
        seen = seen_in(tokens, run.config, places_of(tokens, document_id), run.measures)
        assert not seen.note
        entries = [entry for entry, name in enumerate(ids) if name == document_id]
        rows = np.concatenate([packed.rows_with(entry, epoch) for epoch in range(20) for entry in entries])
        assert set(seen.steps) == set((rows[rows < 8 * config.batch] // config.batch + 1).tolist())
        told += len(seen.steps)
    assert told
