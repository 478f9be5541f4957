"""A release folder: stock transformers loads it with equal logits, and its card says only what the ledger knows."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml

import bedplate
from bedplate.console import Console
from bedplate.data.corpus import CORPUS_SCHEMA, ParquetTable
from bedplate.errors import ArtefactError, TokenizerError, WeightsError
from bedplate.families.model import Model, load
from bedplate.ledger import open_artefact
from bedplate.pipeline import verbs
from bedplate.release.card import HUB_LICENSES
from bedplate.release.facts import data_sources

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
QUIET = {"console": Console.quiet()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    raw = folder / "raw | <b>pipe"  # a name that would break a careless table
    raw.mkdir()
    for number in range(30):
        text = f"import os\n\n\ndef f{number}(x):\n    return x + {number}\n" * 3
        (raw / f"m{number}.py").write_text(text)
    corpus = verbs.curate(
        {"sources": [{"folder": str(raw), "license": "MIT"}], "validation": 0.3}, {}, folder / "corpus", **QUIET
    )
    tokenizer = verbs.train_tokenizer({"vocabulary": 300}, {"corpus": corpus}, folder / "tokenizer", **QUIET)
    tokens = verbs.tokenize({}, {"corpus": corpus, "tokenizer": tokenizer}, folder / "tokens", **QUIET)
    training = {"steps": 3, "batch": 2, "length": 32, "architecture": SHAPE, "threads": 1}
    run = verbs.pretrain(training, {"tokens": tokens}, folder / "model", **QUIET)
    roles = {"run": run, "tokens": tokens, "corpus": corpus}
    evaluation = verbs.evaluate({"samples": 2, "sample_tokens": 8}, roles, folder / "evaluation", **QUIET)
    return {"corpus": corpus, "tokenizer": tokenizer, "tokens": tokens, "run": run, "evaluation": evaluation}


@pytest.fixture(scope="module")
def released(made, tmp_path_factory):
    config = {"license": "Apache-2.0", "intended_use": "Tests.\n\n# Not a heading", "title": "Tiny"}
    out = tmp_path_factory.mktemp("released") / "release"
    return verbs.release(config, {"run": made["run"], "evaluation": made["evaluation"]}, out, **QUIET)


def test_stock_transformers_loads_it_with_equal_logits(released, made):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(released.path, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(released.path)
    ours = load(made["run"].path, dtype="float32")
    text = "def f(x):\n    return 'é' + x  # ok\n" * 3
    ids = ours.tokenizer.encode(text, post_process=True)
    assert tokenizer(text).input_ids == ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    with torch.no_grad():
        difference = (theirs(torch.tensor([ids])).logits - ours(torch.tensor([ids]))).abs().max()
    assert difference <= 1e-4  # fp32, two layers of width 32; the kernels add up in different orders


def test_the_certificate_is_of_the_stored_bytes(released):
    certificate = json.loads(released.file("certificate.json").read_text())
    assert certificate["greatest_logit_error"] == 0
    assert certificate["same_tokens"] is True
    assert released.measures["certificate"]["stored"] == "float32"


def test_the_card_has_a_header_and_every_fact_a_status(released, made):
    card = released.file("README.md").read_text(encoding="utf-8")
    _, header, body = card.split("---\n", 2)
    fields = yaml.safe_load(header)
    assert fields["license"] == "apache-2.0"
    assert fields["model-index"][0]["name"] == "Tiny"
    (result,) = fields["model-index"][0]["results"]
    evaluation = made["evaluation"].measures
    assert result["metrics"][0]["value"] == pytest.approx(evaluation["bits_per_byte"]["the model"], abs=1e-4)
    rows = [line for line in body.splitlines() if line.startswith("| ")]
    facts = {line.split(" | ")[0][2:]: line for line in rows}
    assert " | measured | " in facts["tokens seen"]
    assert f"| {3 * 2 * 32:,} |" in facts["tokens seen"]
    assert " | derived | " in facts["floating-point operations"]
    assert "| Apache-2.0 | attested | recipe |" in facts["licence"]
    assert " | missing | " in facts["limitations"]
    assert "MIT 30" in facts["documents by licence"]
    assert released.measures["missing_facts"] == ["limitations", "contact"]
    assert evaluation["verdict"] in body
    assert made["corpus"].digest[:16] in facts["corpus"]


def test_each_source_of_the_corpus_keeps_its_own_licence(tmp_path):
    """Also where one of them gave nothing: the licences aren't those of the neighbours."""
    (tmp_path / "a.jsonl").write_text("\n")
    (tmp_path / "b.jsonl").write_text("".join(f'{{"text": "b {n}"}}\n' for n in range(40)))
    (tmp_path / "c.jsonl").write_text('{"text": "c"}\n')
    licenses = {"a": "CC0-1.0", "b": "MIT", "c": "CC-BY-4.0"}
    sources = [{"jsonl": str(tmp_path / f"{name}.jsonl"), "license": license} for name, license in licenses.items()]
    corpus = verbs.curate({"sources": sources, "validation": 0.3}, {}, tmp_path / "corpus", **QUIET)
    assert [(s.name, s.license, s.read, s.kept) for s in data_sources(corpus)] == [
        ("a.jsonl", "CC0-1.0", 0, 0),
        ("b.jsonl", "MIT", 40, 40),
        ("c.jsonl", "CC-BY-4.0", 1, 1),
    ]


def test_names_and_attested_texts_cannot_break_out(released):
    body = released.file("README.md").read_text(encoding="utf-8").split("---\n", 2)[2]
    assert "\n# Not a heading" not in body
    assert "<b>" not in body
    assert "raw \\| &lt;b>pipe" in body
    for block in body.split("\n\n"):
        if block.startswith("| "):
            columns = {line.replace("\\|", "").count("|") for line in block.splitlines()}
            assert len(columns) == 1


def test_the_card_says_how_much_of_the_text_a_model_wrote(released, made, tmp_path):
    label = "| training text that a model wrote |"
    documents = made["corpus"].measures["documents"]["train"]
    assert f"{label} none of {documents} documents is marked so | measured" in _card(released)

    (tmp_path / "written").mkdir()
    with ParquetTable(tmp_path / "written", "part", CORPUS_SCHEMA) as table:
        for number in range(6):
            known = {"text": f"A model wrote number {number}. " * 20, "source": f"synthetic/{number}", "split": "train"}
            known |= {"synthetic": json.dumps({"generator": "some-model"}), "license": "MIT"}
            table.add(dict.fromkeys(CORPUS_SCHEMA) | known)
    config = {"sources": [{"corpus": str(tmp_path / "written"), "name": "written"}], "clusters": None}
    mixed = verbs.curate(config, {"corpus": [made["corpus"]]}, tmp_path / "mixed", **QUIET)
    tokens = verbs.tokenize({}, {"corpus": mixed, "tokenizer": made["tokenizer"]}, tmp_path / "tokens", **QUIET)
    training = {"steps": 2, "batch": 2, "length": 32, "architecture": SHAPE, "threads": 1}
    run = verbs.pretrain(training, {"tokens": tokens}, tmp_path / "model", **QUIET)
    card = _card(verbs.release({}, {"run": run}, tmp_path / "release", **QUIET))
    seen = mixed.measures["synthetic"]["seen_bytes"]
    share = f"{seen['synthetic'] / seen['all']:.1%}"
    said = f"6 of {documents + 6} documents, {share} of the bytes that an epoch sees; by some-model 6"
    assert f"{label} {said} | measured | mixed {mixed.digest[:12]} |" in card
    # The sources are those of what was tokenised, and of nothing that it was made from.
    assert card.count("&lt;b>pipe | MIT") == 1
    assert "| written | MIT | 6 | 6 |" in card


def _card(release):
    return release.file("README.md").read_text(encoding="utf-8")


def test_provenance_goes_back_to_the_raw_sources_with_digests(released, made):
    provenance = json.loads(released.file("provenance.json").read_text(encoding="utf-8"))
    assert provenance["model"]["digest"] == made["run"].digest
    assert provenance["evaluation"]["digest"] == made["evaluation"].digest
    assert provenance["attested"]["license"] == "Apache-2.0"

    def walk(node):
        yield node
        for parent in node["made_from"]:
            yield from walk(parent)

    nodes = list(walk(provenance["model"]))
    assert {"run", "tokens", "corpus", "tokenizer", "raw"} <= {node["kind"] for node in nodes}
    assert all(len(node["digest"]) == 64 for node in nodes)
    assert made["corpus"].digest in {node["digest"] for node in nodes}


def test_the_digest_doesnt_depend_on_dates(released, made, tmp_path):
    config = {"license": "Apache-2.0", "intended_use": "Tests.\n\n# Not a heading", "title": "Tiny"}
    inputs = {"run": made["run"], "evaluation": made["evaluation"]}
    assert verbs.release(config, inputs, tmp_path / "again", **QUIET).digest == released.digest


def test_without_an_evaluation_the_card_says_so(made, tmp_path):
    artefact = verbs.release({"license": "My Licence"}, {"run": made["run"]}, tmp_path / "release", **QUIET)
    card = artefact.file("README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(card.split("---\n")[1])
    assert (header["license"], header["license_name"]) == ("other", "My Licence")
    assert "model-index" not in header
    assert "| evaluation | no evaluation was given to the release stage | missing |" in card
    assert "apache-2.0" in HUB_LICENSES


def test_lost_ancestors_are_missing_facts_and_no_error(made, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(made["run"].path, moved)
    artefact = verbs.release({}, {"run": open_artefact(moved)}, tmp_path / "release", **QUIET)
    assert "corpus" in artefact.measures["missing_facts"]
    assert "| corpus | the run's lineage" in artefact.file("README.md").read_text(encoding="utf-8")


def test_stored_in_bfloat16_with_a_certificate(made, tmp_path):
    artefact = verbs.release({"dtype": "bfloat16"}, {"run": made["run"]}, tmp_path / "release", **QUIET)
    certificate = artefact.measures["certificate"]
    assert certificate["stored"] == "bfloat16"
    assert 0 < certificate["greatest_logit_error"] < certificate["limits"]["logit_error"]
    assert load(artefact.path).dtype == torch.bfloat16


def test_the_evaluation_of_another_model_is_refused_naming_both(made, tmp_path):
    training = {"steps": 2, "batch": 2, "length": 32, "architecture": SHAPE, "threads": 1}
    other = verbs.pretrain(training, {"tokens": made["tokens"]}, tmp_path / "other", **QUIET)
    with pytest.raises(ArtefactError, match=r"evaluation: an evaluation of another model than .*other"):
        verbs.release({}, {"run": other, "evaluation": made["evaluation"]}, tmp_path / "release", **QUIET)
    assert not (tmp_path / "release").exists()


def test_a_model_without_tokenizer_is_refused(made, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(made["run"].path, copy)
    (copy / "model" / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match="no tokenizer beside the model"):
        verbs.release({}, {"run": open_artefact(copy)}, tmp_path / "release", **QUIET)


def test_what_doesnt_answer_as_its_source_is_not_released(made, tmp_path, monkeypatch):
    store = Model.save

    def spoil(model, folder, *, dtype=None):
        weight = model.net.blocks[0][0].sublayer.q.weight
        kept = weight.detach().clone()
        with torch.no_grad():
            weight[:4] = weight[:4].flip(0)  # rows swapped, as a wrong permutation does
            store(model, folder, dtype=dtype)
            weight.copy_(kept)

    monkeypatch.setattr(Model, "save", spoil)
    with pytest.raises(WeightsError, match=r"isn.t its source stored as float32"):
        verbs.release({}, {"run": made["run"]}, tmp_path / "release", **QUIET)
    assert not (tmp_path / "release").exists()


OTHERS = {
    "bert": ({"kind": "wordpiece", "vocabulary": 300}, {}, "AutoModelForMaskedLM", "fill-mask"),
    "t5": ({"kind": "unigram", "vocabulary": 400}, {"head_dim": 8}, "AutoModelForSeq2SeqLM", "text2text-generation"),
    "bedplate-mixer": ({"vocabulary": 300}, {"mixers": ["gated_linear", "lstm"]}, None, "text-generation"),
}


@pytest.mark.parametrize("model_type", OTHERS)
def test_other_kinds_are_released_as_what_they_are(model_type, made, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizing, shape, opener, pipeline = OTHERS[model_type]
    tokenizer = verbs.train_tokenizer(tokenizing, {"corpus": made["corpus"]}, tmp_path / "tokenizer", **QUIET)
    roles = {"corpus": made["corpus"], "tokenizer": tokenizer}
    tokens = verbs.tokenize({}, roles, tmp_path / "tokens", **QUIET)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    training = {"steps": 2, "batch": 2, "length": 32, "threads": 1, "dtype": "float32"}
    training["architecture"] = {**sizes, **shape, "model_type": model_type}
    run = verbs.pretrain(training, {"tokens": tokens}, tmp_path / "run", **QUIET)
    released = verbs.release({"license": "MIT"}, {"run": run}, tmp_path / "release", **QUIET)
    card = released.file("README.md").read_text(encoding="utf-8")
    fields = yaml.safe_load(card.split("---\n", 2)[1])
    assert fields["pipeline_tag"] == pipeline
    assert fields["library_name"] == ("bedplate" if opener is None else "transformers")
    ours, ids = bedplate.load(released.path, device="cpu"), torch.arange(5, 25)[None]
    if opener is None:
        assert "bedplate.load(" in card
        return
    assert f"{opener}.from_pretrained" in card
    theirs = getattr(transformers, opener).from_pretrained(released.path, dtype=torch.float32).eval()
    with torch.no_grad():
        if model_type == "t5":
            expected, found = theirs(input_ids=ids, decoder_input_ids=ids).logits, ours(ids, ids)
        else:
            expected, found = theirs(input_ids=ids).logits, ours.predict_masked(ids)
    assert (found - expected).abs().max() < 1e-4
    text = "import os"
    assert transformers.AutoTokenizer.from_pretrained(released.path)(text).input_ids == ours.tokenizer.encode(
        text, post_process=True
    )
