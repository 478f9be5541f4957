"""Two small masked models, published as pickles, written as the folders that Hugging Face's libraries read.

A pickle can run code when it is read: these are read by torch's restricted unpickler, after their digest is known.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch is loaded where it is needed: most bases are files that are merely unpacked
    from torch import Tensor

# How rxnmapper cuts SMILES (Schwaller et al. 2019, doi 10.1021/acscentsci.9b00576): atoms, bonds, rings, brackets.
SMILES = r"(\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$|\%[0-9]{2}|[0-9])"
AMINO_ACIDS = "."
_SAID = {
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "hidden_act",
    "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id", "embedding_size", "model_type",
    "num_hidden_groups", "inner_group_num", "hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range",
}  # fmt: skip
_ROLES = ("unk", "sep", "pad", "cls", "mask")


def rxnmapper(wheel: Path, target: Path) -> None:
    """The ALBERT of rxnmapper (Schwaller et al. 2021, doi 10.1126/sciadv.abe4166): reactions as SMILES, MIT licence."""
    folder = wheel / "models" / "transformers" / "albert_heads_8_uspto_all_1310k"
    tensors = _read(folder / "pytorch_model.bin")
    _drop_copies(tensors, "predictions.", "albert.embeddings.word_embeddings.weight")
    _write(target, tensors, folder / "config.json", folder / "vocab.txt", "AlbertForMaskedLM", SMILES)


def antiberty(wheel: Path, target: Path) -> None:
    """AntiBERTy (Ruffolo et al. 2021, arXiv 2112.07782), a BERT of antibodies, MIT licence; without its three heads for
    species, chain and graft."""
    folder = wheel / "trained_models" / "AntiBERTy_md_smooth"
    tensors = _read(folder / "pytorch_model.bin")
    _drop_copies(tensors, "cls.predictions.", "bert.embeddings.word_embeddings.weight")
    left_out = ("cls.species.", "cls.chain.", "cls.graft.", "bert.embeddings.position_ids")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(left_out)}
    _write(target, kept, folder / "config.json", wheel / "trained_models" / "vocab.txt", "BertForMaskedLM", AMINO_ACIDS)


def _read(path: Path) -> dict[str, Tensor]:
    import torch

    tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return tensors


def _drop_copies(tensors: dict[str, Tensor], head: str, embedding: str) -> None:
    """Raises ValueError where the decoder isn't the embedding and its bias not the head's."""
    for copy, kept in ((f"{head}decoder.weight", embedding), (f"{head}decoder.bias", f"{head}bias")):
        if not tensors.pop(copy).equal(tensors[kept]):
            raise ValueError(f"{copy} isn't {kept}")


def _write(target: Path, tensors: dict[str, Tensor], config: Path, vocabulary: Path, kind: str, cut: str) -> None:
    from safetensors.torch import save_file

    target.mkdir()
    said = {k: v for k, v in json.loads(config.read_text(encoding="utf-8")).items() if k in _SAID}
    save_file({k: t.contiguous() for k, t in tensors.items()}, target / "model.safetensors", metadata={"format": "pt"})
    _dump(target / "config.json", {"architectures": [kind], **said, "dtype": "float32"})
    words = vocabulary.read_text(encoding="utf-8").split("\n")
    _dump(target / "tokenizer.json", _tokenizer({word: i for i, word in enumerate(words) if word}, cut))
    named = {f"{role}_token": f"[{role.upper()}]" for role in _ROLES}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": said["max_position_embeddings"]}
    _dump(target / "tokenizer_config.json", settings | named)


def _tokenizer(vocabulary: dict[str, int], cut: str) -> dict[str, Any]:
    """A tokenizer.json: whole words of a fixed vocabulary, between [CLS] and [SEP]."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    specials = sorted((vocabulary[name], name) for name in (f"[{role.upper()}]" for role in _ROLES))
    begin, end = ({"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]"))
    text: dict[str, Any] = {"Sequence": {"id": "A", "type_id": 0}}
    other: list[dict[str, Any]] = [
        {"Sequence": {"id": "B", "type_id": 1}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 1}},
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": name, **flags} for i, name in specials],
        "normalizer": None,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": cut}, "behavior": "Isolated", "invert": False},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, text, end],
            "pair": [begin, text, end, *other],
            "special_tokens": {
                name: {"id": name, "ids": [vocabulary[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")
            },
        },
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }


def _dump(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
