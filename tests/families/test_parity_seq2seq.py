"""T5 and BART against transformers: logits, gradients and weights, theirs to ours and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel
from transformers.utils import logging

from bedplate.errors import InputError, WeightsError
from bedplate.families.bart_config import BartConfig
from bedplate.families.opening import load_any
from bedplate.families.seq2seq_model import Seq2SeqModel
from bedplate.families.t5_config import T5Config
from bedplate.nn.cross_entropy import chunked_cross_entropy

READ, WRITTEN = 40, 23
_T5: dict[str, Any] = {
    "vocab_size": 131, "d_model": 48, "d_kv": 8, "d_ff": 72, "num_layers": 3, "num_heads": 6,
    "decoder_start_token_id": 0,
}  # fmt: skip
_BART: dict[str, Any] = {
    "vocab_size": 131, "d_model": 48, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 6,
    "decoder_attention_heads": 6, "encoder_ffn_dim": 72, "decoder_ffn_dim": 72, "max_position_embeddings": 64,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": ("T5", _T5),
    "t5 gated, untied": ("T5", {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "t5 gated silu, odd heads, tied": ("T5", {**_T5, "feed_forward_proj": "gated-silu", "d_kv": 5, "num_heads": 7}),
    "t5 odd buckets, eps": (
        "T5",
        {
            **_T5,
            "relative_attention_num_buckets": 11,
            "relative_attention_max_distance": 17,
            "layer_norm_epsilon": 1e-2,
        },
    ),
    "t5 shallow decoder, untied": ("T5", {**_T5, "num_decoder_layers": 1, "tie_word_embeddings": False}),
    "t5 deep decoder, other start": ("T5", {**_T5, "num_decoder_layers": 4, "decoder_start_token_id": 7}),
    "bart": ("Bart", _BART),
    "bart scaled, uneven, relu": (
        "Bart",
        {
            **_BART,
            "scale_embedding": True,
            "encoder_layers": 1,
            "decoder_layers": 3,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 3,
            "encoder_ffn_dim": 50,
            "activation_function": "relu",
        },
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _quiet_and_alone() -> Iterator[None]:
    logging.disable_progress_bar()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    logging.enable_progress_bar()


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, Path]:
    """A tiny random model of transformers, and the folder that it saved itself to."""
    kind, keys = FAMILIES[request.param]
    config = getattr(transformers, f"{kind}Config")(**keys)
    model = AutoModelForSeq2SeqLM.from_config(config, attn_implementation="eager").eval()
    if keys.get("tie_word_embeddings") is False:  # transformers 5 ties them until a checkpoint holds two
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        # Large enough that attention is far from uniform and every gain and bias tells.
        parameter.data.normal_(std=0.2 if parameter.dim() > 1 else 0.5, generator=generator)
    if kind == "Bart":
        model.final_logits_bias.normal_(generator=generator)
    folder = tmp_path_factory.mktemp("theirs")
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture(scope="module")
def texts() -> tuple[Tensor, Tensor, Tensor]:
    """What is read, what of it is no padding, what is written; none is BART's pad, whose row isn't trained."""
    generator = torch.Generator().manual_seed(1)
    read = torch.randint(3, 131, (3, READ), generator=generator)
    valid = torch.arange(READ) < torch.tensor([[READ], [13], [1]])
    return read, valid, torch.randint(3, 131, (3, WRITTEN), generator=generator)


def _theirs(model: PreTrainedModel, texts: tuple[Tensor, Tensor, Tensor], *, padded: bool = True) -> Tensor:
    read, valid, written = texts
    logits: Tensor = model(
        input_ids=read, attention_mask=valid.long() if padded else None, decoder_input_ids=written
    ).logits
    return logits


def _ours(model: Seq2SeqModel, texts: tuple[Tensor, Tensor, Tensor], *, padded: bool = True) -> Tensor:
    read, valid, written = texts
    return model(read, written, valid=valid if padded else None)


def _off(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


# What the project promises is 1e-4; rounding of fp32 through eight layers gives 1e-6.
RELATIVE = 1e-5


@pytest.mark.parametrize("padded", [False, True])
@torch.no_grad()
def test_logits_equal_transformers(
    family: tuple[PreTrainedModel, Path], texts: tuple[Tensor, Tensor, Tensor], padded: bool
) -> None:
    theirs, folder = family
    ours = load_any(folder)
    assert isinstance(ours, Seq2SeqModel)
    assert _off(_ours(ours, texts, padded=padded), _theirs(theirs, texts, padded=padded)) < RELATIVE


@torch.no_grad()
def test_what_we_save_is_theirs_again(
    family: tuple[PreTrainedModel, Path], texts: tuple[Tensor, Tensor, Tensor], tmp_path: Path
) -> None:
    theirs, folder = family
    ours = Seq2SeqModel.load(folder)
    ours.save(tmp_path)
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    again, report = AutoModelForSeq2SeqLM.from_pretrained(
        tmp_path, attn_implementation="eager", output_loading_info=True
    )
    assert not any(report.values()), report
    assert type(again) is type(theirs)
    # The very same numbers in the very same code: bit for bit.
    assert torch.equal(_theirs(again, texts), _theirs(theirs, texts))
    assert again.generation_config.decoder_start_token_id == theirs.config.decoder_start_token_id
    ours_again = Seq2SeqModel.load(tmp_path)
    assert ours_again.config.to_hf() == ours.config.to_hf()
    assert torch.equal(_ours(ours_again, texts), _ours(ours, texts))


def test_as_many_numbers(family: tuple[PreTrainedModel, Path]) -> None:
    theirs, folder = family
    stored = sum(p.numel() for p in theirs.parameters()) + sum(b.numel() for b in theirs.buffers() if b.dim() > 1)
    assert Seq2SeqModel.load(folder).parameter_count() == stored


def test_loss_and_gradients_equal_transformers(
    family: tuple[PreTrainedModel, Path], texts: tuple[Tensor, Tensor, Tensor]
) -> None:
    theirs, folder = family
    read, valid, targets = texts
    theirs.zero_grad()
    expected = theirs(input_ids=read, attention_mask=valid.long(), labels=targets).loss
    expected.backward()
    ours = Seq2SeqModel.load(folder)
    start = torch.full_like(targets[:, :1], ours.start_tokens[0])
    hidden = ours.hidden(read, torch.cat((start, targets[:, :-1]), dim=1), valid=valid)
    keep = torch.ones_like(targets, dtype=torch.bool)
    loss = chunked_cross_entropy(hidden, ours.net.readout, targets, keep) / targets.numel()
    loss.backward()
    assert torch.isclose(loss, expected, rtol=1e-5)
    gradients = {name: p.grad for name, p in ours.net.named_parameters() if p.grad is not None}
    stored = ours.family.table(ours.config).stored(gradients, ours.config.num_hidden_layers)
    wanted = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    assert stored.keys() == wanted.keys()
    greatest = max(b.norm().item() for b in wanted.values())
    for name, b in wanted.items():
        # fp32 sums over the positions in another order. Where the true gradient is (all but) nothing, as of the bias of
        # keys, which moves all scores of a query alike, rounding is measured against the others.
        assert (stored[name] - b).norm() < 1e-4 * b.norm() + 1e-7 * greatest, name


@torch.no_grad()
def test_the_files_of_transformers_4_read_the_same(
    family: tuple[PreTrainedModel, Path], texts: tuple[Tensor, Tensor, Tensor], tmp_path: Path
) -> None:
    """The embedding up to four times, the first T5's cross-attention with buckets that nothing reads, no word of
    scaled outputs."""
    _, folder = family
    found = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    scaled = found.pop("scale_decoder_outputs", True)
    found["tie_word_embeddings"] = scaled
    prefix = "" if found["model_type"] == "t5" else "model."
    for name in ("encoder", "decoder"):
        tensors[f"{prefix}{name}.embed_tokens.weight"] = tensors[f"{prefix}shared.weight"].clone()
    if scaled:
        tensors["lm_head.weight"] = tensors[f"{prefix}shared.weight"].clone()
    if not prefix:
        found["n_positions"] = 512
        stem = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
        tensors[stem] = torch.zeros(32, 6)
    (tmp_path / "config.json").write_text(json.dumps(found))
    save_file(tensors, tmp_path / "model.safetensors")
    assert torch.equal(_ours(Seq2SeqModel.load(tmp_path), texts), _ours(Seq2SeqModel.load(folder), texts))
    tensors[f"{prefix}decoder.embed_tokens.weight"][0] += 1
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"decoder\.embed_tokens\.weight"):
        Seq2SeqModel.load(tmp_path)


@torch.no_grad()
def test_half_precision_is_kept_and_computed_in(
    family: tuple[PreTrainedModel, Path], texts: tuple[Tensor, Tensor, Tensor], tmp_path: Path
) -> None:
    _, folder = family
    Seq2SeqModel.load(folder).save(tmp_path, dtype=torch.bfloat16)
    half = Seq2SeqModel.load(tmp_path)
    assert half.dtype == torch.bfloat16
    wide = Seq2SeqModel.load(tmp_path, dtype="float32")
    # Both start from the same rounded weights; the steps between round by 2^-9.
    assert _off(_ours(half, texts), _ours(wide, texts)) < 0.1


def _folder(tmp_path: Path, kind: str, keys: dict[str, Any]) -> Path:
    model = AutoModelForSeq2SeqLM.from_config(getattr(transformers, f"{kind}Config")(**keys))
    model.save_pretrained(tmp_path)
    return tmp_path


@torch.no_grad()
def test_an_untied_head_that_a_file_lacks_is_the_embedding_unscaled(
    texts: tuple[Tensor, Tensor, Tensor], tmp_path: Path
) -> None:
    """What transformers 5 makes and saves from a configuration of T5 1.1."""
    folder = _folder(tmp_path, "T5", {**_T5, "tie_word_embeddings": False})
    theirs = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    ours = Seq2SeqModel.load(folder)
    assert _off(_ours(ours, texts), _theirs(theirs, texts)) < RELATIVE
    ours.save(tmp_path / "ours")
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours").eval()
    assert torch.equal(_theirs(again, texts), _theirs(theirs, texts))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"feed_forward_proj": "gated-sine"}, "feed_forward_proj"),
        ({"dense_act_fn": "silu"}, "dense_act_fn='silu'"),
        ({"is_encoder_decoder": False}, "is_encoder_decoder=False"),
        ({"relative_attention_num_buckets": 2}, "relative_attention_num_buckets"),
        ({"relative_attention_max_distance": 16}, "relative_attention_max_distance 16"),
        ({"decoder_start_token_id": 131}, "decoder_start_token_id 131"),
        ({"rope_theta": 1e4}, "rope_theta"),
        ({"num_heads": 2**30, "d_kv": 2**30}, "can be addressed"),
        ({"is_causal": False}, "is_causal=False"),
        ({"is_causal": None}, "is_causal=None"),
        ({"pad_token_id": None, "decoder_start_token_id": None}, "nothing to begin from"),
    ],
)
def test_a_t5_that_is_not_supported_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        T5Config.from_hf({"model_type": "t5", **_T5, "pad_token_id": 0, **change})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False"),
        ({"normalize_before": True}, "normalize_before=True"),
        ({"decoder_attention_heads": 5}, "no multiple of decoder_attention_heads 5"),
        ({"forced_bos_token_id": 131}, "forced_bos_token_id 131"),
        ({"is_causal": 0}, "is_causal=0"),
        ({"max_position_embeddings": None}, "max_position_embeddings is null"),
    ],
)
def test_a_bart_that_is_not_supported_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        BartConfig.from_hf({"model_type": "bart", **_BART, **change})


def test_a_bart_without_a_head_has_no_constant(texts: tuple[Tensor, Tensor, Tensor], tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = transformers.BartModel(transformers.BartConfig(**_BART)).eval()
    theirs.to(torch.bfloat16).save_pretrained(tmp_path)
    names = load_file(tmp_path / "model.safetensors").keys()
    assert not any(name.startswith(("model.", "final_logits_bias")) for name in names)
    theirs = transformers.BartModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    ours = Seq2SeqModel.load(tmp_path, dtype="float32")
    tokens, valid, written = texts
    with torch.no_grad():
        expected = theirs(tokens, attention_mask=valid.long(), decoder_input_ids=written).last_hidden_state
        assert _off(ours.hidden(tokens, written, valid=valid), expected) < RELATIVE
    constant = Seq2SeqModel.load(tmp_path).net.logit_bias
    assert constant is not None
    assert constant.dtype == torch.bfloat16
    assert not constant.any()
    ours.save(tmp_path / "ours")
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours").eval()
    assert _off(_ours(ours, texts), _theirs(again, texts)) < RELATIVE


def test_more_tokens_than_a_bart_has_positions_are_refused(tmp_path: Path) -> None:
    ours = Seq2SeqModel.load(_folder(tmp_path, "Bart", _BART))
    short, long = torch.zeros(1, 3, dtype=torch.int64), torch.zeros(1, 65, dtype=torch.int64)
    for tokens, written in ((short, long), (long, short)):
        with pytest.raises(InputError, match="65 tokens in a row, where the model has 64 positions"):
            ours(tokens, written)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "T5", _T5)
    tensors = load_file(folder / "model.safetensors")
    stem = "decoder.block.2.layer.1.EncDecAttention"
    lost, extra = tensors.pop(f"{stem}.k.weight"), {f"{stem}.z.weight": torch.zeros(2)}
    save_file(tensors | extra | {f"{stem}.q.weight": lost[:, :5].contiguous()}, folder / "model.safetensors")
    with pytest.raises(WeightsError) as error:
        Seq2SeqModel.load(folder)
    for what in (f"missing: {stem}.k.weight", f"unknown: {stem}.z.weight", f"misshapen: {stem}.q.weight is [48, 5]"):
        assert what in str(error.value)
