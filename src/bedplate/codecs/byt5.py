"""ByT5's tokenizer (Xue et al. 2021, arXiv 2105.13626): the bytes of UTF-8, which no file of its models lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bedplate.codecs.byte_alphabet import byte_alphabet

CLASS = "ByT5Tokenizer"
SPECIALS = ("<pad>", "</s>", "<unk>")
"""Tokens 0 to 2; byte b is token b + 3."""
SENTINELS = 125
"""`<extra_id_0>` and on, after the bytes: all its models have 384 rows."""


def names_byt5(settings: Mapping[str, Any]) -> bool:
    """Whether a `tokenizer_config.json` names ByT5's class."""
    return settings.get("tokenizer_class") == CLASS


def byt5_definition() -> tuple[str, dict[str, Any]]:
    """The content of its `tokenizer.json` and its roles. A text gets `</s>` at its end."""
    return json.dumps(_definition()), dict(zip(("pad_token", "eos_token", "unk_token"), SPECIALS, strict=True))


def _definition() -> dict[str, Any]:
    """A `tokenizer.json`: byte-level BPE without a single merge."""
    vocabulary = {token: i for i, token in enumerate(SPECIALS)}
    vocabulary |= {character: byte + len(SPECIALS) for character, byte in byte_alphabet().items()}
    extra = [f"<extra_id_{i}>" for i in range(SENTINELS)]
    vocabulary |= {token: len(SPECIALS) + 256 + i for i, token in enumerate(extra)}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    added = [
        {"id": vocabulary[token], "content": token, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for token in (*SPECIALS, *extra)
    ]  # fmt: skip
    text, end = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}
    other = {"Sequence": {"id": "B", "type_id": 0}}
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [text, end],
            "pair": [text, end, other, end],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [vocabulary["</s>"]], "tokens": ["</s>"]}},
        },
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
