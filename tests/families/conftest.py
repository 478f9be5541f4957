"""A real GGUF, and tiny models made by transformers with tokenizers trained on the spot."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)  # the cases of `test_parity` lie beside it

Folder = Callable[..., Path]


@pytest.fixture(scope="session")
def byte_level_json() -> str:
    """A tokenizer.json: byte-level BPE with GPT-2's cut, 400 tokens, trained on this folder's sources."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([Path(__file__).read_text()], trainer)
    return backend.to_str()


@pytest.fixture
def hf_folder(tmp_path: Path, byte_level_json: str) -> Folder:
    """`hf_folder("qwen2", head_dim=8)`: a tiny random model that transformers saved, 400 tokens, and its tokenizer."""

    def make(kind: str = "llama", *, name: str = "hf", tokenizer: bool = True, seed: int = 0, **changes: Any) -> Path:
        from transformers import AutoConfig, AutoModelForCausalLM

        shape = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 6}
        shape |= {"num_key_value_heads": 2, "vocab_size": 400, "max_position_embeddings": 256}
        shape |= {"head_dim": 8, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0}
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(shape | changes)))
        with torch.no_grad():
            for parameter in model.parameters():  # biases and norms start as constants, which would hide mistakes
                parameter.add_(torch.randn_like(parameter) * 0.05)
        folder = tmp_path / name
        model.save_pretrained(folder)
        if tokenizer:
            (folder / "tokenizer.json").write_text(byte_level_json)
            settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
            settings |= {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
            (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        return folder

    return make


@pytest.fixture(scope="session")
def word_piece_json() -> str:
    """A tokenizer.json as BERT's: lower-casing, WordPiece, [CLS] and [SEP] around a text; 300 tokens trained on this
    folder's sources. Like published ones it also says how somebody once batched: padded and cut to 8."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=specials, show_progress=False)
    backend.train_from_iterator([Path(__file__).read_text()], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    backend.enable_padding(length=8)
    backend.enable_truncation(8)
    return backend.to_str()


@pytest.fixture
def bert_folder(tmp_path: Path, word_piece_json: str) -> Folder:
    """`bert_folder(pooling="cls")`: a tiny random BERT of odd sizes that transformers saved, and what makes it a
    sentence encoder in the files of sentence-transformers (none of them where pooling is None)."""

    def make(
        *,
        name: str = "bert",
        model: str = "BertModel",
        pooling: str | None = "mean",
        normalise: bool = True,
        max_length: int | None = 20,
        **changes: Any,
    ) -> Path:
        import transformers

        shape = {"hidden_size": 30, "intermediate_size": 44, "num_hidden_layers": 3, "num_attention_heads": 5}
        shape |= {"vocab_size": 311, "max_position_embeddings": 37, "type_vocab_size": 2}
        torch.manual_seed(0)
        net = getattr(transformers, model)(transformers.BertConfig(**(shape | changes)))
        with torch.no_grad():
            for parameter in net.parameters():  # biases and norms start as constants, which would hide mistakes
                parameter.add_(torch.randn_like(parameter) * 0.1)
        folder = tmp_path / name
        net.save_pretrained(folder)
        (folder / "tokenizer.json").write_text(word_piece_json)
        named = {f"{role}_token": f"[{role.upper()}]" for role in ("unk", "sep", "pad", "cls", "mask")}
        settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings | named))
        if pooling is None:
            return folder
        kinds = {"Transformer": "", "Pooling": "1_Pooling"} | ({"Normalize": "2_Normalize"} if normalise else {})
        modules = [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(kinds.items())
        ]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Pooling").mkdir()
        modes = {
            f"pooling_mode_{mode}": mode.startswith(pooling) for mode in ("cls_token", "mean_tokens", "max_tokens")
        }
        width = (shape | changes)["hidden_size"]
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": width, **modes}))
        if max_length is not None:
            sizes = {"max_seq_length": max_length, "do_lower_case": False}
            (folder / "sentence_bert_config.json").write_text(json.dumps(sizes))
        return folder

    return make
