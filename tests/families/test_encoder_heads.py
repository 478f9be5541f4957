"""What heads say of texts, against transformers' own: guesses for masks, classes of texts and tokens; real masked
models on what they were trained to read."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from bedplate.console import Console
from bedplate.errors import InputError
from bedplate.families.encoder_model import EncoderModel
from bedplate.families.imports import import_model
from bedplate.families.opening import load_any

TEXTS = ["the model and the weights", "return folder", "def make(tokenizer)"]


def test_guesses_for_masks_equal_transformers(bert_folder):
    folder = bert_folder(model="BertForMaskedLM")
    ours = EncoderModel.load(folder, device="cpu")
    theirs = transformers.BertForMaskedLM.from_pretrained(folder).eval()
    first, second = ours.fill_mask(["the [MASK] and the [MASK]", "return [MASK]"], top=4)
    assert (len(first), len(second)) == (2, 1)
    tokens = torch.tensor(ours.encode_batch(["the [MASK] and the [MASK]"], specials=True))
    with torch.no_grad():
        chances = theirs(tokens).logits[0, tokens[0] == 4].softmax(-1)
    for guesses, wanted in zip(first, chances, strict=True):
        best = wanted.topk(4)
        assert [guess.token for guess in guesses] == best.indices.tolist()
        np.testing.assert_allclose([guess.probability for guess in guesses], best.values, rtol=1e-4)
        assert all(ours.tokenizer.backend.id_to_token(guess.token) == guess.text for guess in guesses)
    with pytest.raises(InputError, match=r"text 2 of 2 has no mask") as found:
        ours.fill_mask(["[MASK]", "none"])
    assert "[MASK]" in (found.value.fix or "")
    with pytest.raises(InputError, match="can't predict the classes of texts: its head predicts masked tokens"):
        ours.classify(TEXTS)
    assert ours.embed(TEXTS).shape == (3, 30)


@pytest.mark.parametrize("problem", [None, "single_label_classification", "multi_label_classification", "regression"])
def test_classes_of_texts_equal_transformers(bert_folder, tmp_path, problem):
    labels = {0: "good", 1: "bad", 2: "neither"}
    folder = bert_folder(model="BertForSequenceClassification", id2label=labels, problem_type=problem)
    ours = EncoderModel.load(folder, device="cpu")
    theirs = transformers.BertForSequenceClassification.from_pretrained(folder).eval()
    squash = {"multi_label_classification": torch.sigmoid, "regression": torch.clone}.get(
        problem or "", lambda x: x.softmax(-1)
    )
    said = ours.classify(TEXTS)
    for row, found in zip(ours.encode_batch(TEXTS), said, strict=True):
        assert list(found) == ["good", "bad", "neither"]
        with torch.no_grad():
            np.testing.assert_allclose(list(found.values()), squash(theirs(torch.tensor([row])).logits[0]), rtol=1e-4)
    ours.save(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "config.json").read_text())
    assert written["architectures"] == ["BertForSequenceClassification"]
    assert written["id2label"] == {"0": "good", "1": "bad", "2": "neither"}
    assert EncoderModel.load(tmp_path / "again").classify(TEXTS) == said
    with pytest.raises(InputError, match="can't predict masked tokens: its head predicts the classes of texts"):
        ours.fill_mask(TEXTS)


def test_classes_of_tokens_equal_transformers(bert_folder):
    folder = bert_folder(model="BertForTokenClassification", id2label={0: "O", 1: "NAME"})
    ours = EncoderModel.load(folder, device="cpu")
    theirs = transformers.BertForTokenClassification.from_pretrained(folder).eval()
    for row, found in zip(ours.encode_batch(TEXTS), ours.classify_tokens(TEXTS), strict=True):
        with torch.no_grad():
            chances, numbers = theirs(torch.tensor([row])).logits[0].softmax(-1).max(-1)
        assert [each.token for each in found] == row[1:-1]
        assert [each.label for each in found] == [("O", "NAME")[number] for number in numbers[1:-1]]
        np.testing.assert_allclose([each.probability for each in found], chances[1:-1], rtol=1e-4)


@pytest.mark.parametrize("model", ["BertForMaskedLM", "BertForSequenceClassification", "BertForTokenClassification"])
def test_an_import_keeps_the_head(bert_folder, tmp_path, model):
    folder = bert_folder(model=model)
    made = import_model(folder, tmp_path / "out", console=Console.quiet())
    before, after = (load_file(place / "model.safetensors") for place in (folder, made.path))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    ours = load_any(made.path)
    assert isinstance(ours, EncoderModel)
    assert ours.config.head is not None


REACTIONS = [  # of rxnmapper's own documentation
    "CC(C)S.CN(C)C=O.Fc1cccnc1F.O=C([O-])[O-].[K+].[K+]>>CC(C)Sc1ncccc1F",
    "C1COCCO1.CC(C)(C)OC(=O)CONC(=O)NCc1cccc2ccccc12.Cl>>O=C(O)CONC(=O)NCc1cccc2ccccc12",
]
ANTIBODIES = [  # the second is of AntiBERTy's own documentation; the first is trastuzumab's heavy chain
    "EVQLVESGGGLVQPGGSLRLSCAASGFNIKDTYIHWVRQAPGKGLEWVARIYPTNGYTRYADSVKGRFTISADTSKNTAYLQMNSLRAEDTAVYYCSRWGGDGFYAMDYWGQGTLVTVSS",
    "EVQLVQSGPEVKKPGTSVKVSCKASGFTFMSSAVQWVRQARGQRLEWIGWIVIGSGNTNYAQKFQERVTITRDMSTSTAYMELSSLRSEDTAVYYCAAPYCSSISCNDGFDIWGQGTMVTVSS",
]


def masked_one_by_one(model: EncoderModel, text: str, every: int) -> tuple[Tensor, Tensor, Tensor]:
    """tokens [N, T], one of them masked in each row; the places [N] and what stood there [N]."""
    (row,) = model.encode_batch([text])
    assert model.tokenizer.decode(row) == text
    places = torch.arange(1, len(row) - 1, every)
    tokens = torch.tensor(row).repeat(len(places), 1)
    told = tokens[torch.arange(len(places)), places]
    mask = model.tokenizer.backend.token_to_id("[MASK]")
    return tokens.scatter(1, places[:, None], mask), places, told


@torch.inference_mode()
def accuracy(model: EncoderModel, texts: list[str], every: int) -> float:
    right = []
    for text in texts:
        tokens, places, told = masked_one_by_one(model, text, every)
        logits = model.predict_masked(tokens)[torch.arange(len(places)), places]
        right += (logits.argmax(-1) == told).tolist()
    return float(np.mean(right))


@pytest.mark.parametrize(
    ("base", "kind", "texts", "least"),
    [("rxnmapper", "AlbertForMaskedLM", REACTIONS, 0.9), ("antiberty", "BertForMaskedLM", ANTIBODIES, 0.8)],
)
def test_real_masked_models_are_right_about_what_they_read(
    base: str, kind: str, texts: list[str], least: float, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Each masked token alone: most are found, as transformers' own model finds them with the same weights; of the same
    tokens shuffled, few are."""
    folder: Path = request.getfixturevalue(base)
    ours = EncoderModel.load(folder, device="cpu")
    theirs = getattr(transformers, kind).from_pretrained(folder).eval()
    assert accuracy(ours, texts, every=4) > least
    pieces = [ours.tokenizer.backend.id_to_token(token) for token in ours.tokenizer.encode(texts[0])]
    random.Random(0).shuffle(pieces)
    assert accuracy(ours, ["".join(pieces)], every=4) < 0.5
    tokens, places, _ = masked_one_by_one(ours, texts[0], every=16)
    with torch.inference_mode():
        wanted = theirs(tokens).logits
        found = ours.predict_masked(tokens)
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()
    (guesses,) = ours.fill_mask([ours.tokenizer.decode(tokens[0].tolist(), skip_special=False)[5:-5]], top=1)
    assert guesses[0][0].token == wanted[0, places[0]].argmax()
    ours.save(tmp_path)
    again, report = type(theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    with torch.inference_mode():
        assert torch.equal(again.eval()(tokens).logits, wanted)
