"""Tiny random models of transformers, with PEFT's own LoRA on them, and the same models on our core."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

import bedplate
from bedplate.families.encoder_model import EncoderModel

VOCABULARY, LENGTH = 131, 24
_SHAPE = {
    "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 3, "num_attention_heads": 6,
    "vocab_size": VOCABULARY, "max_position_embeddings": 64,
}  # fmt: skip
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"num_key_value_heads": 2}),
    "llama tied": ("Llama", {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "qwen2": ("Qwen2", {"num_key_value_heads": 2}),  # biases on queries, keys and values
    "bert": ("Bert", {}),
}


@dataclass(frozen=True)
class Base:
    """A model's folder, in two libraries."""

    kind: str
    folder: Path

    def theirs(self) -> PreTrainedModel:
        """The model in transformers."""
        cls = transformers.BertModel if self.kind == "bert" else transformers.AutoModelForCausalLM
        model: PreTrainedModel = cls.from_pretrained(self.folder, attn_implementation="eager")
        return model.eval()

    def ours(self, **options: Any) -> Any:
        """The model on our core."""
        return bedplate.load(self.folder, **options)

    def answer(self, ours: Any, tokens: Tensor) -> Tensor:
        """Our logits, or an encoder's hidden states."""
        return ours.hidden(tokens) if isinstance(ours, EncoderModel) else ours(tokens)

    def peft_answer(self, theirs: Any, tokens: Tensor) -> Tensor:
        """Theirs."""
        return theirs(input_ids=tokens)[0]


def make_base(kind: str, folder: Path) -> Base:
    name, changes = KINDS[kind]
    config = getattr(transformers, f"{name}Config")(**_SHAPE, **changes)
    if kind == "bert":
        model = transformers.BertModel(config)
    else:
        model = transformers.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        # Large enough that attention is far from uniform and every gain and bias tells.
        parameter.data.normal_(std=0.2 if parameter.dim() > 1 else 0.5, generator=generator)
    model.save_pretrained(folder)
    _tokenizer(folder)
    return Base(kind, folder)


def _tokenizer(folder: Path) -> None:
    """One token a byte, up to the vocabulary: an encoder is nothing without a tokenizer, and adapters record it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    backend = Tokenizer(models.WordLevel({chr(33 + i): i for i in range(90)} | {"[UNK]": 90}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.decoder = decoders.Fuse()
    around = [("!", 0), ('"', 1)]
    backend.post_processor = processors.TemplateProcessing(single='! $A "', special_tokens=around)
    backend.save(str(folder / "tokenizer.json"))


def with_lora(base: Base, **changes: Any) -> peft.PeftModel:
    """PEFT's LoRA on all linear layers of transformers' model, with random weights (B isn't zero)."""
    options: dict[str, Any] = {"r": 4, "lora_alpha": 7, "target_modules": "all-linear"}
    if base.kind == "bert" and "target_modules" not in changes:
        # PEFT also takes BERT's pooler, which our encoder computes nothing with.
        options["exclude_modules"] = ["pooler.dense"]
    theirs = peft.get_peft_model(base.theirs(), peft.LoraConfig(**(options | changes)))
    generator = torch.Generator().manual_seed(3)
    for name, parameter in theirs.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(std=0.2, generator=generator)
    return theirs.eval()


def saved(theirs: peft.PeftModel, folder: Path) -> Path:
    theirs.save_pretrained(folder)
    return folder


def off(ours: Tensor, theirs: Tensor) -> float:
    """Greatest error over greatest number."""
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()
