"""ByT5's tokenizer (Xue et al. 2021, arXiv 2105.13626): the bytes of UTF-8, which no file of its models lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bedplate.codecs.byte_alphabet import byte_alphabet
from bedplate.codecs.text import TextTokenizer
from bedplate.errors import TokenizerError

CLASS = "ByT5Tokenizer"
SPECIALS = ("<pad>", "</s>", "<unk>")
"""Tokens 0 to 2; byte b is token b + 3."""
SENTINELS = 125
"""`<extra_id_0>` and on, after the bytes: all its models have 384 rows."""


def read_byt5(folder: Path) -> TextTokenizer | None:
    """The tokenizer of a folder whose `tokenizer_config.json` names ByT5's class; None where it doesn't.

    A text gets `</s>` at its end. Raises TokenizerError for a configuration that is damaged.
    """
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return None
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict) or settings.get("tokenizer_class") != CLASS:
            return None
    except (OSError, ValueError) as error:
        raise TokenizerError(f"{path}: not readable: {error}", "Take an undamaged copy.") from error
    roles = dict(zip(("pad_token", "eos_token", "unk_token"), SPECIALS, strict=True))
    return TextTokenizer(json.dumps(_definition()), roles, origin=str(path))


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
