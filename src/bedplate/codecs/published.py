"""What the published tokenizers of older model folders have beside their vocabulary: roles, and tokens around a text.

The vocabulary files don't say it; `tokenizer_config.json` names the class (`tokenizer_class`), `config.json` the family
(`model_type`), and these are the facts of each class in transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Published:
    """roles: "eos_token" -> token, where the folder's configuration names none. before, after, between: around a text,
    and between two. sentinels: how many `<extra_id_...>` follow, counting backwards. optional: whether `add_bos_token`
    and `add_eos_token` of the configuration decide instead."""

    roles: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    between: tuple[str, ...] = ()
    pair_type: int = 0
    sentinels: int = 0
    optional: bool = False


def _roles(**names: str) -> dict[str, str]:
    return {f"{role}_token": token for role, token in names.items()}


_BERT = _roles(unk="[UNK]", sep="[SEP]", pad="[PAD]", cls="[CLS]", mask="[MASK]")
_ROBERTA = _roles(bos="<s>", eos="</s>", unk="<unk>", sep="</s>", pad="<pad>", cls="<s>", mask="<mask>")
_GPT2 = _roles(bos="<|endoftext|>", eos="<|endoftext|>", unk="<|endoftext|>")
_LLAMA = _roles(bos="<s>", eos="</s>", unk="<unk>")

BERT = Published(_BERT, ("[CLS]",), ("[SEP]",), pair_type=1)
ALBERT = Published({**_BERT, "unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "[CLS]", "eos_token": "[SEP]"},
                   ("[CLS]",), ("[SEP]",), pair_type=1)  # fmt: skip
ROBERTA = Published(_ROBERTA, ("<s>",), ("</s>",), ("</s>",))
GPT2 = Published(_GPT2, optional=True)
QWEN2 = Published(_roles(eos="<|endoftext|>", pad="<|endoftext|>"), optional=True)
T5 = Published(_roles(eos="</s>", unk="<unk>", pad="<pad>"), (), ("</s>",), sentinels=100)
LLAMA = Published(_LLAMA, ("<s>",), optional=True)
GEMMA = Published(_roles(bos="<bos>", eos="<eos>", unk="<unk>", pad="<pad>"), ("<bos>",), optional=True)
ESM = Published(_roles(cls="<cls>", pad="<pad>", eos="<eos>", unk="<unk>", mask="<mask>"), ("<cls>",), ("<eos>",))

CLASSES: Mapping[str, Published] = {
    "BertTokenizer": BERT,
    "DistilBertTokenizer": BERT,
    "ElectraTokenizer": BERT,
    "EsmTokenizer": ESM,
    "GPT2Tokenizer": GPT2,
    "Qwen2Tokenizer": QWEN2,
    "RobertaTokenizer": ROBERTA,
    "BartTokenizer": ROBERTA,
    "AlbertTokenizer": ALBERT,
    "XLMRobertaTokenizer": ROBERTA,
    "T5Tokenizer": T5,
    "LlamaTokenizer": LLAMA,
    "GemmaTokenizer": GEMMA,
}
FAMILIES: Mapping[str, str] = {
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "esm": "EsmTokenizer",
    "gpt2": "GPT2Tokenizer",
    "roberta": "RobertaTokenizer",
    "bart": "BartTokenizer",
    "albert": "AlbertTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "t5": "T5Tokenizer",
    "mt5": "T5Tokenizer",
    "llama": "LlamaTokenizer",
    "mistral": "LlamaTokenizer",
    "mixtral": "LlamaTokenizer",
    "gemma": "GemmaTokenizer",
    "gemma2": "GemmaTokenizer",
    "gemma3_text": "GemmaTokenizer",
    **dict.fromkeys(("qwen2", "qwen3", "qwen2_moe", "qwen3_moe"), "Qwen2Tokenizer"),
}
