"""Sentence encoders against sentence-transformers: vectors, folders, tokens; truncation, batches, training, import."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from bedplate import errors
from bedplate.console import Console
from bedplate.errors import InputError, TokenizerError, UserError, WeightsError
from bedplate.families.encoder_certificate import certify_encoder
from bedplate.families.encoder_model import BATCH_COST, EncoderModel, TruncationWarning, _batches
from bedplate.families.exports import export_model
from bedplate.families.imports import import_model
from bedplate.families.model import Model, load
from bedplate.families.opening import holds_encoder, load_any
from bedplate.ledger import open_artefact

TEXTS = [
    "The capital of France is Paris.",
    "",
    "  \t\n ",
    "def fibonacci(n: int) -> int:\n    return n",
    "Straße, café, naïve, İstanbul; ΑΒΓ — 素早い茶色の狐 🙂‍↔️ \u0000\ufffd",
    "a",
    "word " * 400,
    "x" * 300,
    "Weights Fit the Configuration; the tokenizer CUTS text.",
    "1,234.5 % of 3\u00bd\u2212\u221e",
]


def theirs(folder: Path, texts: list[str] = TEXTS) -> np.ndarray:
    return SentenceTransformer(str(folder), device="cpu").encode(texts)


def cosine_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The greatest 1 - cosine of two vectors of one text."""
    wide = torch.from_numpy(a).double(), torch.from_numpy(b).double()
    return (1 - F.cosine_similarity(*wide, dim=-1)).max().item()


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.filterwarnings("ignore::bedplate.families.encoder_model.TruncationWarning")
def test_vectors_equal_sentence_transformers_both_ways(bert_folder, tmp_path, pooling, normalise):
    folder = bert_folder(pooling=pooling, normalise=normalise)
    ours = EncoderModel.load(folder, device="cpu")
    assert (ours.pooling, ours.normalise, ours.max_length, ours.width) == (pooling, normalise, 20, 30)
    found, wanted = ours.embed(TEXTS), theirs(folder)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    ours.save(tmp_path / "ours")
    assert np.array_equal(theirs(tmp_path / "ours"), wanted)
    again = EncoderModel.load(tmp_path / "ours", device="cpu")
    assert again.settings == ours.settings
    assert np.array_equal(again.embed(TEXTS), found)


@pytest.mark.filterwarnings("ignore::bedplate.families.encoder_model.TruncationWarning")
def test_what_sentence_transformers_saves_today_is_read(bert_folder, tmp_path):
    """Its newest spelling: other module names, one `pooling_mode`, the length in tokenizer_config.json."""
    folder = bert_folder(pooling="cls")
    SentenceTransformer(str(folder), device="cpu").save(str(tmp_path / "saved"))
    assert "max_seq_length" not in (tmp_path / "saved" / "sentence_bert_config.json").read_text()
    ours, again = EncoderModel.load(folder), EncoderModel.load(tmp_path / "saved")
    assert (again.pooling, again.normalise, again.max_length) == ("cls", True, 20)
    assert np.array_equal(again.embed(TEXTS), ours.embed(TEXTS))


def test_a_bert_folder_that_says_nothing_is_pooled_as_sentence_transformers_does(bert_folder):
    folder = bert_folder(pooling=None)
    ours = EncoderModel.load(folder)
    assert not ours.settings.stated
    assert (ours.pooling, ours.normalise, ours.max_length) == ("mean", False, 37)
    texts = TEXTS[:4]
    np.testing.assert_allclose(ours.embed(texts), theirs(folder, texts), rtol=0, atol=1e-5)


@pytest.mark.parametrize("lower", [False, True])
def test_tokens_equal_sentence_transformers(bert_folder, lower):
    """The tokenizer.json says: pad and cut to 8. That is how somebody batched, and is neither obeyed nor written."""
    folder = bert_folder()
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20, "do_lower_case": lower}))
    ours = EncoderModel.load(folder)
    reference = SentenceTransformer(str(folder), device="cpu")
    ids = ours.encode_batch(TEXTS)
    features = [reference.tokenize([text])["input_ids"][0].tolist() for text in TEXTS]
    assert list(ids) == features
    assert {len(row) for row in ids} >= {2, 20}
    assert all(row[0] == 2 and row[-1] == 3 for row in ids)


def test_special_tokens_in_a_text_are_text(bert_folder):
    ours = EncoderModel.load(bert_folder())
    (row,) = ours.encode_batch(["a [SEP] b"])
    assert row.count(3) == 1


def test_truncation_is_counted_and_warned_of(bert_folder):
    ours = EncoderModel.load(bert_folder())
    assert ours.encode_batch(TEXTS).truncated == sum(len(row) > 20 for row in uncut(ours))
    with pytest.warns(TruncationWarning, match=r"\d of 10 texts are longer than the 20 tokens"):
        vectors = ours.embed(TEXTS)
    counted = ours.embed_counted(TEXTS)
    assert np.array_equal(counted.vectors, vectors)
    assert counted.tokens == tuple(min(20, len(row)) for row in uncut(ours))
    assert counted.truncated == ours.encode_batch(TEXTS).truncated > 0


def uncut(model: EncoderModel) -> list[list[int]]:
    return model.tokenizer.encode_batch(TEXTS, post_process=True)


def test_no_texts_and_one_text(bert_folder):
    ours = EncoderModel.load(bert_folder())
    none = ours.embed([])
    assert none.shape == (0, 30)
    assert none.dtype == np.float32
    assert ours.embed_counted([]).tokens == ()
    assert ours.embed(["one"]).shape == (1, 30)
    with pytest.raises(TypeError, match="a list of texts"):
        ours.embed("one")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::bedplate.families.encoder_model.TruncationWarning")
def test_a_vector_depends_neither_on_its_batch_nor_on_its_place(bert_folder):
    ours = EncoderModel.load(bert_folder())
    texts = [f"{'weights ' * (i % 23)}{i}" for i in range(100)]
    alone = np.concatenate([ours.embed([text]) for text in texts])
    for size in (1, 64, 500, 100_000):
        np.testing.assert_allclose(ours.embed(texts, batch_tokens=size), alone, rtol=0, atol=2e-6)
    backwards = ours.embed(texts[::-1])
    np.testing.assert_allclose(backwards[::-1], alone, rtol=0, atol=2e-6)


def test_long_lists_are_taken_by_windows(bert_folder, monkeypatch):
    ours = EncoderModel.load(bert_folder())
    texts = [f"text {i}" for i in range(50)]
    whole = ours.embed_counted(texts)
    monkeypatch.setattr("bedplate.families.encoder_model.WINDOW", 7)
    parts = ours.embed_counted(texts)
    np.testing.assert_allclose(parts.vectors, whole.vectors, rtol=0, atol=2e-6)
    assert (parts.tokens, parts.truncated) == (whole.tokens, whole.truncated)


@given(st.lists(st.integers(2, 300), max_size=60), st.integers(1, 2000))
@settings(max_examples=200)
def test_batches_hold_every_row_once_within_the_budget(lengths, budget):
    batches = list(_batches(lengths, budget))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert sum(longest - lengths[i] for i in batch) <= BATCH_COST


def test_bf16_is_close(bert_folder):
    folder = bert_folder(max_length=37)
    exact, half = EncoderModel.load(folder), EncoderModel.load(folder, dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    texts = [text[:30] for text in TEXTS[:6]]
    found = half.embed(texts)
    assert found.dtype == np.float32
    assert cosine_distance(found, exact.embed(texts)) < 5e-3  # 8 bits through three layers
    exact.net.compute_dtype = torch.bfloat16
    assert cosine_distance(exact.embed(texts), half.embed(texts)) < 5e-3


def test_it_trains(bert_folder):
    """Parameters in fp32, activations in bf16: two classes of texts come apart."""
    ours = EncoderModel.load(bert_folder())
    ours.net.compute_dtype = torch.bfloat16
    ours.net.train()
    tokens, valid = ours.padded(ours.encode_batch(["the model and the weights", "tokenizer", "return None", "def f"]))
    optimiser = torch.optim.AdamW(ours.net.parameters(), lr=1e-3)
    signs = torch.tensor([1.0, 1.0, -1.0, -1.0])
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = F.softplus(-signs * ours.embed_tokens(tokens, valid)[:, 0] * 10).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert all(p.grad is not None for p in ours.net.parameters())


def test_more_tokens_than_positions_are_refused(bert_folder):
    ours = EncoderModel.load(bert_folder())
    with pytest.raises(InputError, match="38 tokens in a row, where the encoder has 37"):
        ours.hidden(torch.zeros(1, 38, dtype=torch.long))


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("modules.json", "[]", r"the modules \(none\) aren't supported"),
        ("modules.json", "{", "not a list of modules"),
        ("modules.json", '[{"path": ""}]', "not a list of modules"),
        ("1_Pooling/config.json", '{"pooling_mode_max_tokens": true}', "pooling max isn't supported"),
        ("1_Pooling/config.json", '{"pooling_mode": ["mean", "cls"]}', "pooling mean and cls isn't supported"),
        ("sentence_bert_config.json", '{"max_seq_length": 512}', "512 tokens?, where|texts of 512 tokens, where"),
        ("sentence_bert_config.json", '{"max_seq_length": "20"}', "texts of '20' tokens"),
        ("sentence_bert_config.json", '{"max_seq_length": 2}', "texts of 2 tokens"),
        (
            "config_sentence_transformers.json",
            '{"default_prompt_name": "query", "prompts": {"query": "query: "}}',
            "default_prompt_name='query'",
        ),
    ],
)
def test_what_would_embed_otherwise_is_refused(bert_folder, file, content, said):
    folder = bert_folder()
    (folder / file).write_text(content)
    with pytest.raises(UserError, match=said) as found:
        EncoderModel.load(folder)
    assert file in found.value.problem
    assert found.value.fix


@pytest.mark.parametrize(
    "added",
    [
        {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        {"path": "2_Normalize", "type": "somebody.models.Normalize"},
    ],
)
def test_modules_that_are_not_ours_are_refused(bert_folder, added):
    folder = bert_folder(normalise=False)
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([*modules, {"idx": 2, "name": "2", **added}]))
    with pytest.raises(WeightsError, match=added["type"]):
        EncoderModel.load(folder)


@pytest.mark.parametrize("path", ["../1_Pooling", "/etc", "..", "a/b"])
def test_modules_outside_the_folder_are_refused(bert_folder, path):
    folder = bert_folder()
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = path
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(WeightsError, match="a folder of its own inside it"):
        EncoderModel.load(folder)


def test_prompts_that_nobody_asked_for_are_kept_and_not_used(bert_folder, tmp_path):
    folder = bert_folder()
    said = {"prompts": {"query": "query: "}, "default_prompt_name": None, "similarity_fn_name": "dot"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(said))
    EncoderModel.load(folder).save(tmp_path / "ours")
    assert json.loads((tmp_path / "ours" / "config_sentence_transformers.json").read_text()) == said
    assert SentenceTransformer(str(tmp_path / "ours"), device="cpu").similarity_fn_name == "dot"


def test_the_tokenizer_has_to_be_there_and_to_fit(bert_folder):
    folder = bert_folder(vocab_size=200)
    with pytest.raises(TokenizerError, match="the model 200 rows"):
        EncoderModel.load(folder)
    folder = bert_folder(name="bare")
    definition = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(definition | {"post_processor": None}))
    with pytest.raises(TokenizerError, match="no special tokens around a text"):
        EncoderModel.load(folder)
    (folder / "tokenizer.json").unlink()
    assert not EncoderModel.load(folder).has_tokenizer
    (folder / "vocab.txt").write_text("[PAD]\n")
    with pytest.raises(TokenizerError, match=r"vocab\.txt: no token '\[UNK\]'"):
        EncoderModel.load(folder)


def test_each_kind_of_model_is_opened_as_what_it_is(bert_folder, hf_folder):
    encoder, decoder = bert_folder(), hf_folder()
    assert holds_encoder(encoder)
    assert not holds_encoder(decoder)
    assert isinstance(load_any(encoder), EncoderModel)
    assert isinstance(load_any(decoder, dtype="bfloat16"), Model)
    with pytest.raises(WeightsError, match="'bert' is an encoder: it turns texts into vectors and can't write"):
        load(encoder)
    with pytest.raises(WeightsError, match="'llama' is a language model, and an encoder is needed"):
        EncoderModel.load(decoder)
    with pytest.raises(InputError, match="no such folder"):
        load_any(encoder / "absent")


def test_an_import_is_a_model_artefact_with_a_certificate(bert_folder, tmp_path):
    folder = bert_folder()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    made = import_model(folder, tmp_path / "out", console=Console.quiet())
    assert made.kind == "model"
    said = {"architecture": "encoder", "pooling": "mean", "normalise": True, "width": 30, "max_length": 20}
    assert {key: made.measures[key] for key in said} == said
    assert made.measures["license"] == "mit"
    assert made.measures["notes"] == []
    assert made.measures["parameters"] == EncoderModel.load(folder).parameter_count()
    certificate = made.measures["certificate"]
    assert certificate["greatest_hidden_error"] == certificate["greatest_tensor_error"] == 0
    assert (made.path / "certificate.json").is_file()
    open_artefact(made.path, "model").verify()
    assert np.array_equal(theirs(made.path), theirs(folder))
    assert import_model(folder, tmp_path / "out", console=Console.quiet()).cached
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    with pytest.raises(UserError, match="made differently"):
        import_model(folder, tmp_path / "out", console=Console.quiet())


def test_an_import_in_half_precision_and_an_export_back(bert_folder, tmp_path):
    half = import_model(bert_folder(), tmp_path / "half", dtype="bfloat16", console=Console.quiet())
    assert EncoderModel.load(half.path).dtype == torch.bfloat16
    assert 0 < half.measures["certificate"]["greatest_tensor_error"] < 2**-8
    assert 0 < half.measures["certificate"]["greatest_cosine_distance"] < 2e-2
    whole = export_model(half.path, tmp_path / "whole", dtype="float32", console=Console.quiet())
    assert whole.measures["certificate"]["greatest_hidden_error"] < 1e-5
    assert whole.measures["architecture"] == "encoder"
    np.testing.assert_allclose(
        theirs(whole.path), EncoderModel.load(whole.path).embed_counted(TEXTS).vectors, atol=1e-5
    )
    with pytest.raises(WeightsError, match="is an encoder, which isn't written as GGUF"):
        export_model(half.path, tmp_path / "gguf", format="gguf", console=Console.quiet())
    assert not (tmp_path / "gguf").exists()


def test_an_import_says_what_it_assumed_and_what_it_left_out(bert_folder, tmp_path):
    folder = bert_folder(pooling=None, model="BertForPreTraining")
    made = import_model(folder, tmp_path / "out", console=Console.quiet())
    pooling, left_out = made.measures["notes"]
    assert "says nothing of pooling" in pooling
    assert left_out.endswith("cls.seq_relationship.bias, cls.seq_relationship.weight")


def test_a_folder_that_cannot_be_an_encoder_leaves_nothing_behind(bert_folder, tmp_path):
    folder = bert_folder()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "max"}')
    with pytest.raises(WeightsError, match="pooling max isn't supported"):
        import_model(folder, tmp_path / "out", console=Console.quiet())
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("name", ["embeddings.word_embeddings.weight", "pooler.dense.bias"])
def test_a_certificate_finds_one_wrong_number(bert_folder, name):
    folder = bert_folder()
    source, result = EncoderModel.load(folder, device="cpu"), EncoderModel.load(folder, device="cpu")
    tensor = result.carried.get(name, result.net.embed.weight.data)
    tensor.view(-1)[-1] += 1e-4
    with pytest.raises(WeightsError, match=f"the copy: {name} isn't its source stored as float32"):
        certify_encoder(source, lambda: result, stored="float32", what="the copy")


def test_a_certificate_finds_another_pooling_or_tokenizer(bert_folder):
    mean, cls = (EncoderModel.load(bert_folder(name=kind, pooling=kind)) for kind in ("mean", "cls"))
    with pytest.raises(WeightsError, match="doesn't embed as its source does"):
        certify_encoder(mean, lambda: cls, stored="float32", what="the copy")
    source, result = (EncoderModel.load(bert_folder(name=f"again {i}")) for i in range(2))
    result.settings = EncoderModel.load(bert_folder(name="shorter", max_length=9)).settings
    with pytest.raises(WeightsError, match="cuts the fixed prompts differently"):
        certify_encoder(source, lambda: result, stored="float32", what="the copy")


def test_damaged_weights_are_no_source(bert_folder):
    source = EncoderModel.load(bert_folder())
    source.net.embed_norm.weight.data[0] = float("nan")
    with pytest.raises(WeightsError, match="aren't finite numbers"):
        certify_encoder(source, lambda: source, stored="float32", what="the copy")


@pytest.mark.filterwarnings("ignore::bedplate.families.encoder_model.TruncationWarning")
def test_all_minilm_l6_v2_embeds_as_the_reference_pipeline(minilm, minilm_source, tmp_path):
    """The published model: cosine within 1e-5 of sentence-transformers, in fp32, on short, long, empty, foreign and odd
    texts; the imported folder is one that sentence-transformers loads, to the same bits."""
    ours = EncoderModel.load(minilm, device="cpu")
    assert (ours.pooling, ours.normalise, ours.max_length, ours.width) == ("mean", True, 256, 384)
    assert ours.parameter_count() == 22_713_216
    source = Path(errors.__file__).read_text()
    texts = [*TEXTS, source, *source.split("\n\n"), *(" ".join(["lorem"] * n) for n in range(1, 300, 37))]
    wanted = theirs(minilm_source, texts)
    found = ours.embed(texts)
    assert cosine_distance(found, wanted) < 1e-5
    assert np.abs(found - wanted).max() < 1e-5
    assert np.array_equal(theirs(minilm, texts), wanted)
    # 8 bits of each number through six layers: measured 2e-4.
    assert cosine_distance(EncoderModel.load(minilm, dtype="bfloat16").embed(texts), wanted) < 2e-3


def test_what_all_minilm_says_of_itself(minilm):
    made = open_artefact(minilm, "model")
    assert made.measures["license"] == "apache-2.0"
    assert made.measures["architecture"] == "encoder"
    assert made.measures["certificate"]["greatest_hidden_error"] == 0


def test_a_run_folder_is_opened_at_its_model(bert_folder, tmp_path):
    shutil.copytree(bert_folder(), tmp_path / "run" / "model")
    assert EncoderModel.load(tmp_path / "run").width == 30
