"""Encoders against transformers, with each head: hidden states, logits, losses, gradients and weights, both ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import logging

from bedplate.errors import InputError, InternalError, TokenizerError, WeightsError
from bedplate.families.encoder_certificate import certify_encoder
from bedplate.families.encoder_model import EncoderModel
from bedplate.nn.cross_entropy import chunked_cross_entropy
from bedplate.nn.initialise import initialise
from bedplate.nn.parameters import parameter_table

LENGTH, VOCABULARY, MASK, PAD = 33, 131, 7, 1
_SHAPE: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 72,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
    "pad_token_id": PAD,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "num_labels": 5,
}
_UNTIED = {"tie_word_embeddings": False}
_MODERN = {"cls_token_id": 0, "sep_token_id": 2, "local_attention": 8}
_ROTARY = {"position_embedding_type": "rotary", "mask_token_id": MASK}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", {}),
    "bert untied, one head, seven types": ("Bert", {**_UNTIED, "num_attention_heads": 1, "type_vocab_size": 7}),
    "bert narrow, large eps, relu": ("Bert", {"intermediate_size": 5, "layer_norm_eps": 1e-2, "hidden_act": "relu"}),
    "roberta": ("Roberta", {"type_vocab_size": 1}),
    "roberta untied, padding elsewhere": ("Roberta", {**_UNTIED, "pad_token_id": 3, "hidden_act": "gelu"}),
    # In every class of theirs the masked head's function is the exact GELU.
    "roberta relu": ("Roberta", {"hidden_act": "relu"}),
    "xlm-roberta": ("XLMRoberta", {"type_vocab_size": 1, "num_labels": 1}),
    "camembert": ("Camembert", {"type_vocab_size": 1, "layer_norm_eps": 1e-5}),
    "albert": ("Albert", {"embedding_size": 20}),
    "albert groups": ("Albert", {"embedding_size": 20, "num_hidden_layers": 5, "num_hidden_groups": 2}),
    "albert blocks of groups, untied": (
        "Albert",
        {**_UNTIED, "embedding_size": 70, "num_hidden_layers": 4, "num_hidden_groups": 3, "inner_group_num": 2},
    ),
    "albert wide, silu": ("Albert", {"embedding_size": 48, "hidden_act": "silu"}),
    "modernbert": ("ModernBert", _MODERN),
    "modernbert with every bias, mean": (
        "ModernBert",
        {**_MODERN, "attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True,
         "classifier_pooling": "mean"},
    ),
    "modernbert untied, odd window, other layers": (
        "ModernBert",
        {**_MODERN, **_UNTIED, "local_attention": 5, "decoder_bias": False, "hidden_activation": "silu",
         "classifier_activation": "relu",
         "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    ),
    "modernbert of one theta": (
        "ModernBert",
        {**_MODERN, "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 300.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 300.0}}},
    ),
    "esm": ("Esm", {**_ROTARY, "token_dropout": True}),
    "esm untied, without token dropout": ("Esm", {**_ROTARY, **_UNTIED, "emb_layer_norm_before": True}),
    "esm of learned positions": (
        "Esm", {"mask_token_id": MASK, "token_dropout": True, "position_embedding_type": "absolute",
                "emb_layer_norm_before": True},
    ),
}  # fmt: skip
HEADS = ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")
# What the project promises is 1e-4; rounding of fp32 through a few layers gives 1e-6.
RELATIVE = 1e-5


class Case(NamedTuple):
    """A tiny random model of transformers, the folder that it saved itself to, and what is fed to both."""

    kind: str
    head: str
    theirs: PreTrainedModel
    folder: Path
    tokens: Tensor
    valid: Tensor

    @property
    def inputs(self) -> dict[str, Tensor]:
        return {"input_ids": self.tokens, "attention_mask": self.valid.long()}

    def reload(self, folder: Path) -> tuple[PreTrainedModel, dict[str, Any]]:
        found, report = type(self.theirs).from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
        return found.eval(), report


@pytest.fixture(scope="module", autouse=True)
def _quiet_and_alone() -> Iterator[None]:
    logging.disable_progress_bar()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    logging.enable_progress_bar()


def _theirs(kind: str, head: str, keys: dict[str, Any], folder: Path) -> PreTrainedModel:
    config = getattr(transformers, f"{kind}Config")(**{**_SHAPE, **keys}, attn_implementation="eager")
    model: PreTrainedModel = getattr(transformers, f"{kind}{head}")(config).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        # Large enough that attention is far from uniform and every gain and bias tells.
        parameter.data.normal_(std=0.2 if parameter.dim() > 1 else 0.5, generator=generator)
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module", params=[(name, head) for name in FAMILIES for head in HEADS], ids=lambda p: "-".join(p))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name, head = request.param
    kind, keys = FAMILIES[name]
    folder = tmp_path_factory.mktemp("theirs")
    model = _theirs(kind, head, keys, folder)
    tokens = torch.randint(8, VOCABULARY, (4, LENGTH), generator=torch.Generator().manual_seed(1))
    tokens[:, 3] = tokens[1:, 9] = MASK
    lengths = torch.tensor([LENGTH, LENGTH - 1, LENGTH // 2, 4])
    valid = torch.arange(LENGTH) < lengths[:, None]
    return Case(kind, head, model, folder, tokens.masked_fill(~valid, model.config.pad_token_id), valid)


def _off(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def _predicted(ours: EncoderModel, tokens: Tensor, valid: Tensor | None) -> Tensor:
    """What the model is for: hidden states, or what its head makes of them."""
    if ours.config.head is None:
        return ours.hidden(tokens, valid)
    return (ours.predict_masked if ours.config.head == "masked" else ours.class_logits)(tokens, valid)


@torch.no_grad()
def test_hidden_states_and_logits_equal_transformers(case: Case) -> None:
    ours = EncoderModel.load(case.folder, device="cpu")
    body = case.theirs.base_model(**case.inputs).last_hidden_state
    assert _off(ours.hidden(case.tokens, case.valid)[case.valid], body[case.valid]) < RELATIVE
    if case.head != "Model":
        wanted, found = case.theirs(**case.inputs).logits, _predicted(ours, case.tokens, case.valid)
        where = ... if case.head == "ForSequenceClassification" else case.valid
        assert found.shape == wanted.shape
        assert _off(found[where], wanted[where]) < RELATIVE


@torch.no_grad()
def test_token_types_equal_transformers(case: Case) -> None:
    ours = EncoderModel.load(case.folder, device="cpu")
    if ours.net.embed_type is None:
        pytest.skip("one kind of token")
    types = torch.randint(0, len(ours.net.embed_type.weight), case.tokens.shape)
    wanted = case.theirs.base_model(**case.inputs, token_type_ids=types).last_hidden_state
    found = ours.net(case.tokens, valid=case.valid, token_types=types)
    assert _off(found[case.valid], wanted[case.valid]) < RELATIVE


@torch.no_grad()
def test_what_we_save_is_theirs_again(case: Case, tmp_path: Path) -> None:
    ours = EncoderModel.load(case.folder, device="cpu")
    ours.save(tmp_path)
    before, after = (_spelt(load_file(folder / "model.safetensors")) for folder in (case.folder, tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    again, report = case.reload(tmp_path)
    assert not {name for names in report.values() for name in names if not name.endswith("inv_freq")}, report
    wanted, found = case.theirs(**case.inputs), again(**case.inputs)
    # The very same numbers in the very same code: bit for bit.
    assert all(torch.equal(a, b) for a, b in zip(found.to_tuple(), wanted.to_tuple(), strict=True))
    written = EncoderModel.load(tmp_path, device="cpu")
    assert written.config == ours.config
    assert torch.equal(_predicted(written, *_inputs(case)), _predicted(ours, *_inputs(case)))


def _inputs(case: Case) -> tuple[Tensor, Tensor]:
    return case.tokens, case.valid


def _spelt(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the two names that a norm's parts go by, the one that is written today. A buffer of frequencies is no
    weight."""
    return {
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): tensor
        for name, tensor in tensors.items()
        if not name.endswith("inv_freq")
    }


def test_as_many_numbers_each_described(case: Case) -> None:
    ours = EncoderModel.load(case.folder, device="cpu")
    assert ours.parameter_count() == sum(p.numel() for p in case.theirs.parameters())
    assert parameter_table(ours.net).keys() == dict(ours.net.named_parameters()).keys()
    initialise(ours.net, 0)


def test_loss_and_gradients_equal_transformers(case: Case) -> None:
    case.theirs.zero_grad()
    ours = EncoderModel.load(case.folder, device="cpu")
    hidden = ours.hidden(case.tokens, case.valid)
    if case.head == "Model":
        direction = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(2)) * case.valid[..., None]
        expected = (case.theirs(**case.inputs).last_hidden_state * direction).sum() / 100
        loss = (hidden * direction).sum() / 100
    elif case.head == "ForMaskedLM":
        keep = case.valid & (case.tokens == MASK)
        targets = torch.randint(0, VOCABULARY, case.tokens.shape, generator=torch.Generator().manual_seed(2))
        expected = case.theirs(**case.inputs, labels=targets.masked_fill(~keep, -100)).loss
        states = ours.net.head_states(hidden)
        loss = chunked_cross_entropy(states, ours.net.readout, targets, keep) / keep.sum()
    else:
        logits, wanted = ours.net.class_logits(hidden, case.valid), case.theirs(**case.inputs).logits
        where = ... if logits.dim() == 2 else case.valid
        labels = torch.arange(len(logits[where])) % logits.shape[-1]
        expected, loss = (F.cross_entropy(x[where] if logits.shape[-1] > 1 else torch.cat((x[where], -x[where]), -1),
                                          labels) for x in (wanted, logits))  # fmt: skip
    expected.backward()
    loss.backward()
    assert torch.isclose(loss, expected, rtol=1e-5, atol=1e-5)
    gradients = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in ours.net.named_parameters()}
    stored = ours.family.table(ours.config).stored(gradients, ours.config.num_hidden_layers)
    wanted = {name: p.grad for name, p in case.theirs.state_dict(keep_vars=True).items() if p.grad is not None}
    largest = max(gradient.norm() for gradient in wanted.values())
    for name, a in stored.items():
        b = wanted.get(name, torch.zeros_like(a))
        if name.endswith(("word_embeddings.weight", "tok_embeddings.weight", "position_embeddings.weight")):
            # A table's own row for padding is kept from learning there.
            rest = torch.arange(len(a)) != case.theirs.config.pad_token_id
            a, b = a[rest], b[rest]
        # fp32 sums over 100 positions in another order; a gradient that nearly cancels out is off by the rounding of
        # what cancels.
        assert (a - b).norm() < 1e-4 * b.norm() + 1e-6 * largest, name
    assert {id(gradient) for gradient in wanted.values()} == {id(wanted[name]) for name in stored if name in wanted}


@torch.no_grad()
def test_a_padded_batch_is_its_rows_alone(case: Case) -> None:
    ours = EncoderModel.load(case.folder, device="cpu")
    together = _predicted(ours, case.tokens, case.valid)
    for i, length in enumerate(case.valid.sum(1).tolist()):
        alone = _predicted(ours, case.tokens[i : i + 1, :length], None)[0]
        row = together[i] if case.head == "ForSequenceClassification" else together[i, :length]
        assert (row - alone).abs().max() <= RELATIVE * together.abs().max()


@torch.no_grad()
def test_texts_packed_in_one_row_are_texts_alone(case: Case) -> None:
    if case.head != "Model":
        pytest.skip("a head sees one position")
    ours = EncoderModel.load(case.folder, device="cpu")
    first, second = case.tokens[:1, :LENGTH], case.tokens[1:2, : LENGTH - 1]
    segments = torch.cat((torch.zeros_like(first), torch.ones_like(second)), 1)
    positions = torch.cat((torch.arange(LENGTH), torch.arange(LENGTH - 1)))[None]
    packed = ours.net(torch.cat((first, second), 1), positions=positions, segments=segments)
    apart = torch.cat((ours.net(first), ours.net(second)), 1)
    assert _off(packed, apart) < RELATIVE


@torch.no_grad()
def test_an_encoder_without_a_tokenizer_takes_tokens(case: Case, tmp_path: Path) -> None:
    if case.head != "Model":
        pytest.skip("said once")
    ours = EncoderModel.load(case.folder, device="cpu")
    with pytest.raises(TokenizerError, match=r"no tokenizer.*takes tokens"):
        ours.embed(["a"])
    assert ours.embed_tokens(case.tokens, case.valid).shape == (4, 48)
    ours.save(tmp_path)
    made = certify_encoder(ours, lambda: EncoderModel.load(tmp_path), stored="float32", what="the copy")
    assert made.greatest_hidden_error == 0


PLAIN = {"bert": "Bert", "roberta": "Roberta", "albert": "Albert", "modernbert": "ModernBert", "esm": "Esm"}


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("head", HEADS[1:])
def test_a_head_that_the_weights_lack_is_none(kind: str, head: str, tmp_path: Path) -> None:
    """Sentence encoders keep the class's name of the model that they were made from."""
    theirs = _theirs(PLAIN[kind], head, FAMILIES[kind][1], tmp_path)
    body = {
        n: t for n, t in load_file(tmp_path / "model.safetensors").items() if n.startswith(theirs.base_model_prefix)
    }
    save_file({name: t for name, t in body.items() if ".pooler." not in name}, tmp_path / "model.safetensors")
    ours = EncoderModel.load(tmp_path)
    assert ours.config.head is None
    assert ours.config.to_hf()["architectures"] == [f"{PLAIN[kind]}Model"]
    for ask, said in (
        (ours.predict_masked, "can't predict masked tokens: it has no head"),
        (ours.class_logits, "can't predict the classes of texts: it has no head"),
    ):
        with pytest.raises(InputError, match=said):
            ask(torch.ones(1, 3, dtype=torch.long))
    with pytest.raises(InternalError, match="no head for masked tokens"):
        _ = ours.net.readout
    with pytest.raises(InternalError, match="no head for classes"):
        ours.net.class_logits(torch.ones(1, 3, 48))


@pytest.mark.parametrize("kind", PLAIN)
def test_part_of_a_head_is_an_error(kind: str, tmp_path: Path) -> None:
    _theirs(PLAIN[kind], "ForMaskedLM", FAMILIES[kind][1], tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = next(name for name in tensors if name.endswith("dense.weight") and "layer" not in name)
    del tensors[name]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=f"missing: {name}"):
        EncoderModel.load(tmp_path)


@pytest.mark.parametrize("kind", ["bert", "roberta", "albert"])
def test_copies_of_tied_tensors_are_checked(kind: str, tmp_path: Path) -> None:
    """Older files hold the decoder's matrix and bias, which are the embedding and the head's own bias."""
    _theirs(PLAIN[kind], "ForMaskedLM", FAMILIES[kind][1], tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    bias = next(name for name in tensors if name.endswith(("predictions.bias", "lm_head.bias")))
    embedding = next(name for name in tensors if name.endswith("word_embeddings.weight"))
    stem = bias.removesuffix("bias") + "decoder."
    copies = {f"{stem}weight": tensors[embedding].clone(), f"{stem}bias": tensors[bias].clone()}
    save_file(tensors | copies, tmp_path / "model.safetensors")
    assert EncoderModel.load(tmp_path).parameter_count() == sum(t.numel() for t in tensors.values())
    copies[f"{stem}bias"][0] += 1
    save_file(tensors | copies, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"ties .*decoder\.bias to .*bias, but the file holds two that differ"):
        EncoderModel.load(tmp_path)


def test_modernbert_as_transformers_4_spells_it(tmp_path: Path) -> None:
    _theirs("ModernBert", "ForMaskedLM", _MODERN, tmp_path)
    newer = EncoderModel.load(tmp_path).config
    found = json.loads((tmp_path / "config.json").read_text())
    for key in ("layer_types", "rope_parameters"):
        del found[key]
    older = {"global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0}
    (tmp_path / "config.json").write_text(json.dumps(found | older))
    assert EncoderModel.load(tmp_path).config == newer
    assert newer.to_hf().items() >= older.items()
    (tmp_path / "config.json").write_text(json.dumps(found | older | {"local_rope_theta": None}))
    assert EncoderModel.load(tmp_path).config == newer.model_copy(update={"sliding_theta": 160000.0})


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("roberta", {"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key' isn't supp"),
        ("roberta", {"is_decoder": True}, "is_decoder=True isn't supported"),
        ("roberta", {"max_position_embeddings": 2}, "2 rows of positions, the first 2 unused"),
        ("roberta", {"vocab_size": 2}, "eos_token_id 2 is beyond the 2 rows"),
        ("albert", {"num_hidden_groups": 9000, "inner_group_num": 2}, "9000 groups of 2 blocks"),
        ("albert", {"embedding_size": 0}, "embedding_size"),
        ("albert", {"embedding_size": 2**55}, "embedding_size .* can be addressed"),
        ("albert", {"num_hidden_layers": 9000, "inner_group_num": 2}, "9000 steps of 2 blocks"),
        ("modernbert", {"layer_types": 3}, "layer_types=3 is no list"),
        ("modernbert", {"rope_parameters": [1]}, r"rope_parameters=\[1\]"),
        ("modernbert", {"rope_parameters": {"rope_theta": 5.0}}, "rope_parameters="),
        ("esm", {"position_embedding_type": None}, "position_embedding_type"),
        ("bert", {"architectures": "BertModel"}, "architectures='BertModel' is no list"),
        ("bert", {"architectures": [3]}, "architectures="),
        ("albert", {"num_hidden_groups": 9999}, "9999 blocks and experts, and the checkpoint has"),
        ("bert", {"num_hidden_layers": 5000}, "5000 blocks and experts, and the checkpoint has"),
        ("albert", {"classifier_dropout_prob_": 1}, "unknown keys .* classifier_dropout_prob_=1"),
        ("modernbert", {"layer_types": ["full_attention"]}, "layer_types tells of 1 of 3 layers"),
        ("modernbert", {"layer_types": ["full_attention", "local", "local"]}, "layer_types"),
        ("modernbert", {"hidden_activation": "laplace"}, "hidden_act"),
        ("modernbert", {"rope_scaling": {"type": "linear", "factor": 2}}, "rope_scaling="),
        ("modernbert", {"classifier_pooling": "max"}, "classifier_pooling"),
        (
            "modernbert",
            {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2.0}}},
            "of full_attention are stretched",
        ),
        ("esm", {"is_folding_model": True}, "is_folding_model=True isn't supported"),
        ("esm", {"mask_token_id": None}, "token_dropout, and no mask_token_id"),
        ("esm", {"mask_token_id": 131}, "mask_token_id 131 is beyond the 131 rows"),
        ("esm", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("esm", {"num_attention_heads": 16}, "heads of 3 numbers, of which rotary positions turn pairs"),
        ("bert", {"num_attention_heads": 7}, "no multiple of num_attention_heads 7"),
    ],
)  # fmt: skip
def test_what_would_be_other_mathematics_is_refused(
    kind: str, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    _theirs(PLAIN[kind], "Model", FAMILIES[kind][1], tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(content | changes))
    with pytest.raises(WeightsError, match=said):
        EncoderModel.load(tmp_path)


def test_labels_have_to_be_named_from_0_on(tmp_path: Path) -> None:
    _theirs("Bert", "ForSequenceClassification", {}, tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    for labels in ({"1": "a", "2": "b"}, ["a", "b"], {"x": "a"}):
        (tmp_path / "config.json").write_text(json.dumps(content | {"id2label": labels}))
        with pytest.raises(WeightsError, match="doesn't name the classes 0, 1, 2"):
            EncoderModel.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(content | {"id2label": {"0": "a", "1": "b", "2": "a"}}))
    with pytest.raises(WeightsError, match="names two classes 'a'"):
        EncoderModel.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(content | {"id2label": {"0": "a", "1": "b"}}))
    with pytest.raises(WeightsError, match=r"misshapen: .*classifier.bias is \[5\] where the configuration says \[2\]"):
        EncoderModel.load(tmp_path)
