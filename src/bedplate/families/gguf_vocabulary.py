"""A tokenizer as GGUF metadata: the inverse of `gguf_tokenizer`.

A GGUF can only name one of llama.cpp's pre-tokenizers and say whether a token is special. A tokenizer that means more
than that is refused: llama.cpp would cut text otherwise than the model was taught.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from bedplate.errors import TokenizerError
from bedplate.families.gguf_tokenizer import (
    BYTE,
    CONTROL,
    NORMAL,
    PRE_TOKENIZERS,
    SPACE,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    cut,
    merges_from_scores,
)

if TYPE_CHECKING:
    from bedplate.codecs.text import TextTokenizer

Written: TypeAlias = "str | int | float | bool | list[str] | list[int] | list[float]"


def tokenizer_metadata(tokenizer: TextTokenizer, rows: int, stop_ids: Sequence[int]) -> dict[str, Written]:
    """`tokenizer.*` keys for a model with `rows` embeddings (rows without a token are marked unused).

    stop_ids: the ids that end a turn: end of text, of turn, of message. Raises TokenizerError if GGUF can't say what
    this tokenizer does, naming the part.
    """
    content = json.loads(tokenizer.backend.to_str())
    model = content["model"]
    if model.get("type") != "BPE" or model.get("dropout") or model.get("end_of_word_suffix"):
        raise _refuse(f"its model is {model.get('type')}, with suffixes or dropout or none, not plain BPE")
    tokens = _tokens(tokenizer, rows)
    types = _types(content, tokens, tokenizer.vocab_size)
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ", 1)) for m in model["merges"]]
    if model.get("byte_fallback"):
        found = _sentencepiece(content, tokens, merges)
    else:
        found = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": _pre_tokenizer_name(content)}
        found |= {"tokenizer.ggml.merges": [" ".join(m) for m in merges]}
    around = tokenizer.encode("a", post_process=True)
    ids: dict[str, int | None] = dict(zip(("eos", "eot", "eom"), stop_ids, strict=False))
    ids |= {"bos": tokenizer.bos_id, "padding": tokenizer.pad_id}
    ids["unknown"] = tokenizer.backend.token_to_id(tokenizer.named_tokens.get("unk_token", ""))
    found |= {
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.add_bos_token": tokenizer.bos_id is not None and around[0] == tokenizer.bos_id,
        "tokenizer.ggml.add_eos_token": tokenizer.eos_id is not None and around[-1] == tokenizer.eos_id,
    }
    found |= {f"tokenizer.ggml.{role}_token_id": id for role, id in ids.items() if id is not None}
    if tokenizer.chat_template is not None:
        found["tokenizer.chat_template"] = tokenizer.chat_template
    return found


def _tokens(tokenizer: TextTokenizer, rows: int) -> list[str]:
    spelled = [tokenizer.backend.id_to_token(id) for id in range(rows)]
    return [f"[PAD{id}]" if token is None else token for id, token in enumerate(spelled)]


def _types(content: Mapping[str, Any], tokens: Sequence[str], used: int) -> list[int]:
    ids = set(content["model"]["vocab"].values())
    types = [NORMAL if id in ids and id < used else UNUSED for id in range(len(tokens))]
    if content["model"].get("byte_fallback"):
        types = [BYTE if _is_byte(token) else kind for token, kind in zip(tokens, types, strict=True)]
    for added in content["added_tokens"]:
        if added["lstrip"] or added["rstrip"] or added["single_word"]:
            raise _refuse(f"the added token {added['content']!r} swallows spaces or matches whole words only")
        types[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    unknown = content["model"].get("unk_token")
    if unknown in content["model"]["vocab"]:
        types[content["model"]["vocab"][unknown]] = UNKNOWN
    return types


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _pre_tokenizer_name(content: Mapping[str, Any]) -> str:
    """The first of llama.cpp's names under which text is cut as here."""
    from tokenizers import Tokenizer, models

    wanted = _how_it_cuts(content)
    for name, pre in PRE_TOKENIZERS.items():
        backend = Tokenizer(models.BPE(ignore_merges=pre.whole_words))
        cut(backend, pre)
        if _how_it_cuts(json.loads(backend.to_str())) == wanted:
            return name
    raise _refuse("its normaliser and pre-tokenizer are none of those that llama.cpp has a name for")


def _how_it_cuts(content: Mapping[str, Any]) -> object:
    """Normaliser, pre-tokenizers and whether whole words win, without what only concerns offsets or is a default."""
    steps = content["pre_tokenizer"] or {}
    steps = steps.get("pretokenizers", [steps])
    normalizer = content["normalizer"]
    if normalizer is not None and normalizer.get("normalizers") == []:
        normalizer = None
    defaults = {"use_regex": True, "invert": False}
    plain = [{**defaults, **{k: v for k, v in step.items() if k != "trim_offsets"}} for step in steps]
    return normalizer, plain, bool(content["model"].get("ignore_merges"))


def _sentencepiece(
    content: Mapping[str, Any], tokens: Sequence[str], merges: Sequence[tuple[str, ...]]
) -> dict[str, Written]:
    """Scores under which SentencePiece makes the same merges in the same order."""
    prefix = _adds_prefix(content)
    first: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        first.setdefault(left + right, rank)
    scores = [-float(first[token]) if token in first else -float(len(merges)) for token in tokens]
    derived = merges_from_scores({token: id for id, token in enumerate(tokens)}, scores)
    if set(derived) != set(merges):
        raise _refuse("its merges aren't those that follow from scores, one a token, as SentencePiece has them")
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.add_space_prefix": prefix,
    }


def _adds_prefix(content: Mapping[str, Any]) -> bool:
    """Whether a space goes before every stretch of text. Raises TokenizerError for any other way with spaces."""
    normalizer, pre = content["normalizer"] or {}, content["pre_tokenizer"]
    steps = normalizer.get("normalizers", [normalizer])
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    if pre is None and steps == [{"type": "Prepend", "prepend": SPACE}, replace]:
        return True
    if pre is None and steps == [replace]:
        return False
    if not normalizer and pre is not None and pre.get("type") == "Metaspace" and pre.get("prepend_scheme") == "never":
        return False
    raise _refuse("its way with spaces isn't SentencePiece's (one before every stretch of text, or none)")


def _refuse(problem: str) -> TokenizerError:
    return TokenizerError(
        f"GGUF can't say what this tokenizer does: {problem}", "Export a Hugging Face folder instead."
    )
