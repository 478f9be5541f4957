"""Small real tokenizers, one of each kind of decoder, built with the `tokenizers` library itself."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from bedplate.codecs.text import TextTokenizer

TEXTS = [
    "def main():\n    return 'hello world' * 12345",
    "Grüße aus Köln, naïve café",
    "日本語のテキスト 🙂 emoji",
    "a b  c\t\td",
] * 4


@pytest.fixture(scope="session")
def byte_level() -> TextTokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_tokens(["added words é"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return TextTokenizer(tokenizer.to_str(), {"bos_token": "<s>", "eos_token": {"content": "</s>"}})


@pytest.fixture(scope="session")
def sentencepiece() -> TextTokenizer:
    """As Llama 2's: words joined by a mark, bytes as a fallback, the first space stripped."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{b:02X}>": 3 + b for b in range(256)}
    merges = [("▁", "h"), ("▁h", "e"), ("l", "o"), ("▁", "w")]
    for piece in [*"▁helowrdabc", *("".join(pair) for pair in merges)]:
        vocab.setdefault(piece, len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return TextTokenizer(tokenizer.to_str(), {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})


@pytest.fixture
def saved(byte_level, tmp_path):
    """A folder with the byte-level tokenizer and its parts as plain JSON, to be damaged."""
    byte_level.save(tmp_path)
    return tmp_path, json.loads((tmp_path / "tokenizer_config.json").read_text())
