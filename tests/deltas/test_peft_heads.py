"""PEFT's folders on encoders with a head and on encoder-decoders: keys, task types, heads that were trained whole."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from peft_case import LENGTH, VOCABULARY, off
from safetensors.torch import load_file
from torch import Tensor

import bedplate
from bedplate.deltas.adapter import load_adapter, save_adapter
from bedplate.deltas.lora import LoraConfig, LoraDelta, add_lora
from bedplate.deltas.merge import fold
from bedplate.deltas.peft_config import CONFIG
from bedplate.deltas.peft_folder import WEIGHTS
from bedplate.deltas.places import module_paths
from bedplate.families.seq2seq_model import Seq2SeqModel

pytestmark = pytest.mark.filterwarnings("ignore::bedplate.deltas.adapter.AdapterWarning")
RELATIVE = 1e-5  # what is promised; rounding of fp32 through two layers gives 1e-6
_BERT: dict[str, Any] = {
    "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 2, "num_attention_heads": 6,
    "vocab_size": VOCABULARY, "max_position_embeddings": 64,
}  # fmt: skip
_SPECIALS = tuple(f"{name}_token_id" for name in ("pad", "bos", "eos", "cls", "sep"))
_T5 = {
    "d_model": 48, "d_kv": 12, "d_ff": 72, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4,
    "vocab_size": VOCABULARY, "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
_BART = {
    "d_model": 48, "encoder_ffn_dim": 72, "decoder_ffn_dim": 72, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "vocab_size": VOCABULARY,
    "max_position_embeddings": 64, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
    "decoder_start_token_id": 2, "forced_eos_token_id": 2,
}  # fmt: skip
KINDS: dict[str, tuple[str, str, dict[str, Any], str | None]] = {
    "masked": ("BertConfig", "BertForMaskedLM", _BERT, None),
    "classes": ("BertConfig", "BertForSequenceClassification", {**_BERT, "num_labels": 3}, "SEQ_CLS"),
    "token classes": ("BertConfig", "BertForTokenClassification", {**_BERT, "num_labels": 3}, "TOKEN_CLS"),
    "modernbert": ("ModernBertConfig", "ModernBertForMaskedLM", {**_BERT, **dict.fromkeys(_SPECIALS, 0)}, None),
    "bare": ("BertConfig", "BertModel", _BERT, "FEATURE_EXTRACTION"),
    "t5": ("T5Config", "T5ForConditionalGeneration", _T5, "SEQ_2_SEQ_LM"),
    "t5 1.1": (
        "T5Config", "T5ForConditionalGeneration",
        {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, "SEQ_2_SEQ_LM",
    ),
    "bart": ("BartConfig", "BartForConditionalGeneration", _BART, "SEQ_2_SEQ_LM"),
}  # fmt: skip
TOKENS, WRITTEN = torch.randint(3, VOCABULARY, (2, 2, LENGTH), generator=torch.Generator().manual_seed(1))
WRITTEN = WRITTEN[:, :9]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def base(kind: str, tmp_path: Path) -> Path:
    config, cls, keys, _ = KINDS[kind]
    model = getattr(transformers, cls)(getattr(transformers, config)(**keys))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.2, generator=generator)
    model.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def _theirs(kind: str, base: Path) -> Any:
    return getattr(transformers, KINDS[kind][1]).from_pretrained(base, attn_implementation="eager").eval()


def _peft_answer(model: Any, kind: str) -> Tensor:
    more = {"decoder_input_ids": WRITTEN} if KINDS[kind][3] == "SEQ_2_SEQ_LM" else {}
    answer: Tensor = model(input_ids=TOKENS, **more)[0]
    return answer


def _answer(model: Any) -> Tensor:
    if isinstance(model, Seq2SeqModel):
        return model(TOKENS, WRITTEN)
    if (head := model.config.head) is None:
        hidden: Tensor = model.hidden(TOKENS)
        return hidden
    logits: Tensor = model.predict_masked(TOKENS) if head == "masked" else model.class_logits(TOKENS)
    return logits


def _shake(parameters: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(3)
    for parameter in parameters.values():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)


@torch.no_grad()
def test_what_peft_made_is_read_and_folded(kind: str, base: Path, tmp_path: Path) -> None:
    """Of a classifier PEFT's task types train the head whole, which is read too."""
    task = KINDS[kind][3]
    # What our encoder computes nothing with; and what PEFT itself would train whole and adapt at once.
    unused = {"bare": "pooler.dense", "token classes": "classifier"}.get(kind)
    options: dict[str, Any] = {} if unused is None else {"exclude_modules": [unused]}
    config = peft.LoraConfig(r=3, lora_alpha=7, target_modules="all-linear", task_type=task, **options)
    theirs = peft.get_peft_model(_theirs(kind, base), config)
    _shake({n: p for n, p in theirs.named_parameters() if "lora_" in n or (p.requires_grad and "default" in n)})
    theirs.eval().save_pretrained(tmp_path / "adapter")
    model, expected = bedplate.load(base, device="cpu"), _peft_answer(theirs, kind)
    assert off(_answer(model), expected) > 1e-2
    delta = load_adapter(tmp_path / "adapter", model, trainable=True)
    assert isinstance(delta, LoraDelta)
    assert off(_answer(model), expected) < RELATIVE
    assert bool(delta.replaced.parameters()) == (task in ("SEQ_CLS", "TOKEN_CLS"))
    fold(model.net, delta)
    model.save(tmp_path / "merged")
    assert off(_answer(bedplate.load(tmp_path / "merged", device="cpu")), expected) < RELATIVE


@torch.no_grad()
def test_what_was_trained_here_gives_the_same_answers_in_peft(kind: str, base: Path, tmp_path: Path) -> None:
    model = bedplate.load(base, device="cpu")
    delta = add_lora(model.net, LoraConfig(rank=2), torch.Generator().manual_seed(0), paths=module_paths(model))
    _shake(dict(delta.parameters()))
    save_adapter(tmp_path / "adapter", model, delta, base=None)
    said = json.loads((tmp_path / "adapter" / CONFIG).read_text())["task_type"]
    assert said == (KINDS[kind][3] if "classes" not in kind else None)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*missing adapter keys.*")
        theirs = peft.PeftModel.from_pretrained(_theirs(kind, base), tmp_path / "adapter").eval()
    assert off(_answer(model), _peft_answer(theirs, kind)) < RELATIVE
    wrapped = {n.replace(".default", "") for n, _ in theirs.named_parameters() if "lora_" in n}
    assert wrapped == set(load_file(tmp_path / "adapter" / WEIGHTS))
