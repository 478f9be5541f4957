"""What a corpus tells of a document that it kept, and of one that it left out; differences and previews."""

from __future__ import annotations

import json
import shutil

import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.provenance.difference import difference, tokens_of
from bedplate.data.provenance.finding import find_documents, rows_of, tables
from bedplate.data.provenance.forwards import forwards
from bedplate.data.provenance.previews import own_rules, preview_corpus, rules_said, sizes_by_label
from bedplate.data.provenance.removing import remove_documents
from bedplate.data.provenance.story import story
from bedplate.data.provenance.telling import told
from bedplate.errors import ArtefactError, InputError, UserError
from bedplate.ledger import open_artefact

QUIET = Console.quiet()


def tell(world, key):
    corpus = world.corpus
    found = find_documents(corpus, key)
    return story(corpus, found[0], forwards(corpus, world.root))


def a_kept(world, split="train"):
    rows = [row for path in tables(world.corpus)[:-1] for row in rows_of(path, ("id", "url", "split", "source"))]
    return next(row for row in rows if row["split"] == split and row["url"])


def test_a_kept_document(made):
    row = a_kept(made)
    for key in (row["id"], row["id"][:8], row["url"], row["source"]):
        facts = tell(made, key)
        assert facts["id"] == row["id"]
    assert facts["kept"]
    assert facts["from"]["date"] == "2024-05-01T12:00:00Z"
    assert facts["from"]["license"] == facts["from"]["declared_license"] == "CC-BY-4.0"
    judged = facts["said"]["filters"]
    assert [(j["rule"], j["verdict"], j["bound"]) for j in judged] == [("few_words", "passed", "10 at least")]
    assert judged[0]["value"] == facts["said"]["signals"]["words"] >= 10
    ended = facts["ended"]
    assert pq.read_table(ended["file"]).to_pylist()[ended["row"]]["id"] == row["id"]
    used = facts["used"]
    assert [t["path"].rpartition("/")[2] for t in used["tokens"]] == ["tokens"]
    assert used["runs"][0]["of"] == 30
    assert used["runs"][0]["steps"]
    assert {"tokenizer"} == {other["kind"] for other in used["others"]}
    words = told(facts)
    assert "few_words" in words
    assert "of 30:" in words
    json.dumps(facts)


def test_a_validation_document(made):
    facts = tell(made, a_kept(made, "validation")["id"])
    assert facts["used"]["runs"][0]["count"] == 0
    assert "set aside for validation" in told(facts)


def test_a_dropped_document(made):
    facts = tell(made, "https://short.org/x")
    assert not facts["kept"]
    assert (facts["ended"]["stage"], facts["ended"]["reason"]) == ("filters", "few_words")
    assert facts["said"]["filters"][0]["verdict"] == "failed"
    assert "FAILS" in told(facts)
    assert "used" not in facts
    assert facts["excerpt"] == "far too short"


def test_copies_name_each_other(made):
    copy = tell(made, "https://mirror.org/3")
    kept = tell(made, copy["ended"]["other"])
    assert kept["kept"]
    assert [c["url"] for c in kept["copies"]] == ["https://mirror.org/3"]
    assert f"a copy of {kept['id']}" in told(copy)


def test_what_was_removed_still_says_who_saw_it(world):
    row, other = [r for r in rows_of(tables(world.corpus)[0], ("id", "url", "split")) if r["split"] == "train"][:2]
    before = [tell(world, one["id"])["used"]["runs"] for one in (row, other)]
    assert before[0][0]["count"]
    remove_documents(world.root / "corpus", matches=[f"id={row['id']}"], why="asked", in_place=True, console=QUIET)
    remove_documents(world.root / "corpus", matches=["domain=b.org"], why="asked", in_place=True, console=QUIET)
    facts = tell(world, row["id"])
    assert facts["ended"]["reason"] == "taken_down"
    assert facts["from"]["url"] == row["url"]
    assert facts["excerpt"] is None
    assert facts["used"]["tokens"] == []
    # By the table that the tokens had when it was trained.
    assert [facts["used"]["runs"], tell(world, other["id"])["used"]["runs"]] == before
    shutil.rmtree(world.root / "tokens" / "before")
    assert "aren't there any more" in tell(world, row["id"])["used"]["runs"][0]["note"]
    other = next(r for r in rows_of(tables(world.corpus)[0], ("id", "url")) if r["url"])
    assert tell(world, other["id"])["said"]["filters"]  # by the rules of the curation, two manifests back


@pytest.mark.parametrize("key", ["nothing", "00000000", "https://a.org/none"])
def test_nothing_of_this_name(made, key):
    with pytest.raises(InputError, match="no document is called"):
        find_documents(made.corpus, key)


def test_difference_of_a_removal(world):
    a = world.corpus
    b = remove_documents(a.path, matches=["domain=b.org"], why="x", out=world.root / "corpus-2", console=QUIET).corpus
    made = tokens_of(a, world.root), tokens_of(b, world.root)
    facts = difference(a, b, made).facts()
    n = b.measures["remove"]["documents"]
    assert facts["removed"]["crawl.jsonl"]["documents"] == n
    assert facts["removed"]["crawl.jsonl"]["bytes"] == b.measures["remove"]["bytes"]
    total = [sum(artefact.measures["tokens"].values()) for artefact in made]
    assert facts["removed"]["crawl.jsonl"]["tokens"] == total[0] - total[1]
    assert facts["same"]["tokens"] == total[1]
    assert facts["removed_because"] == {"crawl.jsonl": {"taken_down": n}}
    assert facts["added"] == facts["changed"] == facts["moved"] == {}
    back = difference(b, a).facts()
    assert back["added"]["crawl.jsonl"]["documents"] == n
    assert back["added_although"] == {"crawl.jsonl": {"taken_down": n}}
    assert "tokens" not in back["same"]


def test_difference_of_texts_that_changed(world):
    from bedplate.data.curate import CURATE, CurateConfig
    from bedplate.ledger import produce

    def curate(name, texts):
        (world.root / "x.jsonl").write_text(
            "".join(json.dumps({"text": text, "id": i}) + "\n" for i, text in texts.items())
        )
        source = {"jsonl": str(world.root / "x.jsonl"), "license": "CC0-1.0"}
        return produce(
            CURATE, CurateConfig(sources=[source], validation=0.4), {}, world.root / name, name=name, console=QUIET
        )

    texts = {str(n): f"document number {n}" for n in range(12)}
    a = curate("a", texts)
    b = curate("b", texts | {"3": "another text", "12": "one more"})
    facts = difference(a, b).facts()
    assert facts["changed"]["x.jsonl"] == {"documents": 1, "bytes": len("another text")}
    assert facts["changed_from"]["x.jsonl"] == {"documents": 1, "bytes": len(texts["3"])}
    assert facts["added"]["x.jsonl"]["documents"] == 1
    assert facts["added_although"] == {"x.jsonl": {"new": 1}}
    assert facts["same"]["documents"] == 11
    assert facts["removed"] == {}


def test_preview_is_what_the_filters_do(made):
    found, samples = preview_corpus(made.corpus, own_rules(made.corpus), 3)
    dropped = made.corpus.measures["stages"]["filters"]["dropped"]
    assert {rule.rule: rule.first for rule in found.rules if rule.first} == dropped
    assert found.documents == made.corpus.measures["stages"]["filters"]["read"]
    assert [samples[name].excerpt for name in found.rules[0].samples] == ["far too short"]


def test_preview_of_rules_said(made):
    config = rules_said(["words>=60", "words<=80", "characters<=1000"])
    assert [(r.column, r.min, r.max) for r in config.rules] == [("words", 60, 80), ("characters", None, 1000)]
    found, samples = preview_corpus(made.corpus, config, 2)
    assert found.dropped == found.rules[0].alone > 10
    assert all(samples[name].excerpt for rule in found.rules for name in rule.samples)
    with pytest.raises(UserError, match="no step measures"):
        preview_corpus(made.corpus, rules_said(["wrods>=1"]), 1)
    for wrong in ("words", "words>3", "words>=x", "words>=1e"):
        with pytest.raises(InputError, match="no threshold"):
            rules_said([wrong])
    with pytest.raises(InputError, match="lets nothing through"):
        rules_said(["words>=9", "words<=3"])


def test_sizes(made):
    sizes = sizes_by_label(made.corpus)
    assert sum(sizes.values()) == made.corpus.measures["bytes"]["train"]


def test_damage_is_told(world):
    path = world.corpus.path / "dropped.parquet"
    path.write_bytes(b"PAR1 not at all")
    with pytest.raises(ArtefactError, match=r"dropped\.parquet: not a whole Parquet file"):
        find_documents(world.corpus, "https://short.org/x")
    tokens = world.artefact("tokens")
    (tokens.path / "train-00000.npy").unlink()
    for part in world.corpus.path.glob("dropped.parquet"):
        part.unlink()
    facts = tell(world, a_kept_id(world))
    assert "missing" in facts["used"]["tokens"][0]["note"]
    assert "note" in facts["used"]["runs"][0] or facts["used"]["runs"][0]["count"] == 0


def a_kept_id(world):
    return next(iter(rows_of(tables(world.corpus)[0], ("id",))))["id"]


def test_corpora_of_elsewhere(made, tmp_path):
    (tmp_path / "bedplate.json").write_text("{}")
    with pytest.raises(ArtefactError, match="no schema_version"):
        open_artefact(tmp_path, "corpus")
