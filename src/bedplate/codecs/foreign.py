"""Tokenizer folders without `tokenizer.json`: SentencePiece, tiktoken, GPT-2's two files, BERT's list, ByT5's none.

A vocabulary file doesn't say everything: the rest is in the folder's configuration and, by the class that it names, in
`bedplate.codecs.published`. A class that isn't there is refused: another's rules would give other ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.codecs import published, sentencepiece
from bedplate.codecs.byt5 import byt5_definition, names_byt5
from bedplate.codecs.published import CLASSES, FAMILIES, Published
from bedplate.codecs.sentencepiece import CONTROL, UNKNOWN, Piece, SentencePiece
from bedplate.codecs.tiktoken import LLAMA3_PATTERN, is_tiktoken, read_tiktoken
from bedplate.errors import TokenizerError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Normalizer

    from bedplate.codecs.text import TextTokenizer

SENTENCEPIECE_FILES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
FOREIGN_FILES = (
    *SENTENCEPIECE_FILES, "vocab.json", "merges.txt", "vocab.txt", "added_tokens.json", "special_tokens_map.json",
)  # fmt: skip
"""What is read of a folder without `tokenizer.json`, beside its configuration."""
QWEN2_PATTERN = LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")
_UNDAMAGED = "Take an undamaged copy of the file, or a tokenizer.json in its place."


def read_foreign(folder: str | Path) -> TextTokenizer | None:
    """The tokenizer of a folder whose vocabulary is in one of the older files, or is ByT5's, which needs none; None
    where there is none of them.

    Raises TokenizerError for broken files, and for a class of tokenizer whose rules aren't known here.
    """
    from bedplate.codecs.text import TextTokenizer

    folder = Path(folder)
    found = any((folder / name).is_file() for name in (*SENTENCEPIECE_FILES, "vocab.json", "vocab.txt"))
    found = found or names_byt5(_object(folder / "tokenizer_config.json"))
    return TextTokenizer.load(folder) if found else None


def foreign_definition(folder: Path) -> tuple[str, dict[str, Any]] | None:
    """The content of the `tokenizer.json` that a folder lacks, and of its `tokenizer_config.json` with every role;
    None where it has no vocabulary that we know."""
    settings = _object(folder / "tokenizer_config.json")
    if names_byt5(settings):
        return byt5_definition()
    mapped = {k: v for k, v in _object(folder / "special_tokens_map.json").items() if k.endswith("_token")}
    kind = _class(folder, settings)
    facts = CLASSES.get(kind or "")
    if (path := next((folder / n for n in SENTENCEPIECE_FILES if (folder / n).is_file()), None)) is not None:
        content = path.read_bytes()
        if is_tiktoken(content):
            made, facts = _tiktoken(content, path, settings, kind)
        else:
            made, facts = _sentencepiece(content, path, settings, kind)
    elif (folder / "vocab.json").is_file():
        made, facts = _byte_level(folder, settings, kind), facts or published.GPT2
    elif (folder / "vocab.txt").is_file():
        made, facts = _word_list(folder / "vocab.txt", settings, kind), facts or published.BERT
    else:
        return None
    _add(made, settings, _object(folder / "added_tokens.json"), folder)
    settings = _roles(made, facts, mapped | settings)
    if facts is CLASSES["EsmTokenizer"]:
        _out_of_reach(made)
    _put_around(made, facts, settings)
    return made.to_str(), settings


def _class(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The class whose rules hold. Raises TokenizerError for a named one that isn't known."""
    named = settings.get("tokenizer_class")
    family = _object(folder / "config.json").get("model_type")
    if isinstance(named, str) and named not in ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend"):
        kind = named.removesuffix("Fast")
    elif isinstance(family, str):
        kind = FAMILIES.get(family, family)
    else:
        return None
    if kind not in CLASSES:
        raise TokenizerError(
            f"{folder}: no tokenizer.json, and the rules of {kind} aren't known here (known: {', '.join(CLASSES)})",
            "Write one: transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder).",
        )
    return kind


def _sentencepiece(
    content: bytes, path: Path, settings: Mapping[str, Any], kind: str | None
) -> tuple[Tokenizer, Published]:
    from tokenizers import normalizers

    model = sentencepiece.read_sentencepiece(content, str(path))
    facts = CLASSES.get(kind or "", Published(model.names, optional=True))
    before: list[Normalizer] = []
    if kind == "AlbertTokenizer":
        before = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
        if not settings.get("keep_accents", False):
            before += [normalizers.NFKD(), normalizers.StripAccents()]
        if settings.get("do_lower_case", True):
            before.append(normalizers.Lowercase())
    elif kind == "XLMRobertaTokenizer":
        model = _fairseq(model)
    made = sentencepiece.backend(model, before)
    if kind == "XLMRobertaTokenizer":
        made.add_special_tokens(["<mask>"])
    count = settings.get("extra_ids", facts.sentinels)
    if facts.sentinels and isinstance(count, int) and 0 <= count <= 1 << 16:
        made.add_special_tokens([f"<extra_id_{i}>" for i in reversed(range(count))])
    return made, facts


def _fairseq(model: SentencePiece) -> SentencePiece:
    """XLM-R's ids: four special tokens, then the pieces without their own three."""
    special = [Piece("<s>", 0.0, CONTROL), Piece("<pad>", 0.0, CONTROL), Piece("</s>", 0.0, CONTROL)]
    pieces = [*special, Piece("<unk>", 0.0, UNKNOWN), *model.pieces[3:]]
    return SentencePiece(pieces, model.algorithm, model.charsmap, model.add_prefix, model.remove_extra_spaces)


def _tiktoken(content: bytes, path: Path, settings: Mapping[str, Any], kind: str | None) -> tuple[Tokenizer, Published]:
    if kind != "LlamaTokenizer":
        raise TokenizerError(
            f"{path}: a tiktoken file, which doesn't say how text is split",
            "Read it with bedplate.codecs.tiktoken.read_tiktoken(content, pattern), or give a tokenizer.json.",
        )
    added = {token["content"]: number for number, token in _added(settings, path.parent).items()}
    made = read_tiktoken(content, LLAMA3_PATTERN, added, origin=str(path))
    return made, Published(optional=True)


def _byte_level(folder: Path, settings: Mapping[str, Any], kind: str | None) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    path = folder / "vocab.json"
    vocabulary = _vocabulary(_object(path), path)
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=_merges(folder / "merges.txt", vocabulary)))
    if kind == "Qwen2Tokenizer":
        made.normalizer = normalizers.NFC()
        split = pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated")
        spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        made.pre_tokenizer = pre_tokenizers.Sequence([split, spell])
    else:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(settings.get("add_prefix_space", False)))
    made.decoder = decoders.ByteLevel()
    return made


def _vocabulary(found: Mapping[str, Any], path: Path) -> dict[str, int]:
    numbers = [n for n in found.values() if isinstance(n, int) and not isinstance(n, bool)]
    if len(numbers) != len(found) or sorted(numbers) != list(range(len(found))):
        raise TokenizerError(f"{path}: its ids aren't 0, 1, 2, ... each once", _UNDAMAGED)
    return dict(found)


def _merges(path: Path, vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    if not path.is_file():
        raise TokenizerError(f"{path}: missing, beside a vocab.json", _UNDAMAGED)
    merges: list[tuple[str, str]] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        left, _, right = line.partition(" ")
        if any(piece not in vocabulary for piece in (left, right, left + right)):
            raise TokenizerError(f"{path} line {number}: {line!r} doesn't join two tokens into a third", _UNDAMAGED)
        merges.append((left, right))
    return merges


def _word_list(path: Path, settings: Mapping[str, Any], kind: str | None) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    lines = _lines(path)
    vocabulary: dict[str, int] = {}
    for number, token in enumerate(lines):
        if vocabulary.setdefault(token, number) != number:
            raise TokenizerError(
                f"{path}: lines {vocabulary[token] + 1} and {number + 1} are both {token!r}", _UNDAMAGED
            )
    facts = CLASSES.get(kind or "", published.BERT)
    unknown = settings.get("unk_token", facts.roles["unk_token"])
    unknown = unknown["content"] if isinstance(unknown, Mapping) else unknown
    if unknown not in vocabulary:
        raise TokenizerError(f"{path}: no token {unknown!r} for unknown words", _UNDAMAGED)
    if kind == "EsmTokenizer":
        # A run of other characters is one unknown token.
        letters = [t for t in vocabulary if t not in facts.roles.values()]
        known = "|".join(re.escape(t) for t in sorted(letters, key=len, reverse=True))
        made = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
        steps = [pre_tokenizers.Split(Regex(r"\s+"), "removed"), pre_tokenizers.Split(Regex(known), "isolated")]
        made.pre_tokenizer = pre_tokenizers.Sequence(steps)
        made.decoder = decoders.Fuse()
        return made
    if any(token not in vocabulary for token in ("[CLS]", "[SEP]")):
        raise TokenizerError(f"{path}: no [CLS] and [SEP], so not BERT's, and no class is named", _UNDAMAGED)
    made = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    made.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=settings.get("strip_accents"),
        lowercase=bool(settings.get("do_lower_case", True)),
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix="##")
    return made


def _add(made: Tokenizer, settings: Mapping[str, Any], more: Mapping[str, Any], folder: Path) -> None:
    """Add the folder's added tokens, whose ids have to be the next ones."""
    from tokenizers import AddedToken

    added = _added(settings, folder)
    added |= {n: {"content": t} for t, n in more.items() if isinstance(n, int) and n not in added}
    flags = ("special", "lstrip", "rstrip", "single_word", "normalized")
    for number, token in sorted(added.items()):
        given = {name: bool(token[name]) for name in flags if name in token}
        made.add_tokens([AddedToken(token["content"], **{"normalized": False, "special": False, **given})])
        if made.token_to_id(token["content"]) != number:
            raise TokenizerError(
                f"{folder}: the added token {token['content']!r} has the id {number}, and would get "
                f"{made.token_to_id(token['content'])}",
                "Take the vocabulary and the configuration that belong together.",
            )


def _added(settings: Mapping[str, Any], folder: Path) -> dict[int, dict[str, Any]]:
    found = settings.get("added_tokens_decoder") or {}
    try:
        added = {int(number): dict(token) for number, token in found.items()}
        if all(isinstance(token["content"], str) and token["content"] for token in added.values()):
            return added
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    raise TokenizerError(f"{folder}: added_tokens_decoder isn't a table of id to token", _UNDAMAGED)


def _roles(made: Tokenizer, facts: Published, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with every role that the class gives and the vocabulary has; its tokens are special from now on."""
    from tokenizers import AddedToken

    from bedplate.codecs.text import NAMED

    known = {role: token for role, token in facts.roles.items() if made.token_to_id(token) is not None}
    said = {k: v for k, v in settings.items() if k not in NAMED or v is not None}
    roles: dict[str, Any] = {**known, **said}
    for role in NAMED:
        value = roles.get(role)
        token = value.get("content") if isinstance(value, Mapping) else value
        if isinstance(token, str) and token and made.token_to_id(token) is not None:
            # A mask takes the space before it, as in the published ones.
            lstrip = role == "mask_token" and token == "<mask>" and facts is published.ROBERTA
            made.add_special_tokens([AddedToken(token, normalized=False, special=True, lstrip=lstrip)])
    return roles


def _out_of_reach(made: Tokenizer) -> None:
    """Letters are found in the vocabulary whole, and special tokens are in it: where a text spells one that isn't to be
    parsed, it becomes a character that no vocabulary has, and so an unknown token."""
    from tokenizers import Regex, normalizers

    special = [token.content for token in made.get_added_tokens_decoder().values() if token.special]
    spelt = "|".join(re.escape(token) for token in sorted(special, key=len, reverse=True))
    if spelt:
        made.normalizer = normalizers.Replace(Regex(spelt), "\ufffd")


def _put_around(made: Tokenizer, facts: Published, settings: Mapping[str, Any]) -> None:
    from tokenizers import processors

    def named(role: str) -> tuple[str, ...]:
        value = settings.get(role)
        token = value.get("content") if isinstance(value, Mapping) else value
        return (token,) if isinstance(token, str) else ()

    before, after = facts.before, facts.after
    if facts.optional:
        before = named("bos_token") if settings.get("add_bos_token", bool(before)) else ()
        after = named("eos_token") if settings.get("add_eos_token", bool(after)) else ()
    ids = {token: made.token_to_id(token) for token in (*before, *after)}
    if missing := [token for token, number in ids.items() if number is None]:
        raise TokenizerError(f"no token {missing[0]!r}, which stands around a text", _UNDAMAGED)
    if not ids:
        return
    # Where nothing closes a text, what opens the first opens the second.
    again = before if facts.optional else facts.between
    second = [f"{t}:{facts.pair_type}" for t in (*again, "$B", *after)]
    made.post_processor = processors.TemplateProcessing(
        single=" ".join((*before, "$A", *after)),
        pair=" ".join((*before, "$A", *after, *second)),
        special_tokens=list(ids.items()),
    )


def _lines(path: Path) -> Sequence[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path}: not UTF-8: {error}", _UNDAMAGED) from error
    return text.removesuffix("\n").split("\n")


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{path}: not JSON: {error}", _UNDAMAGED) from error
    if not isinstance(found, dict):
        raise TokenizerError(f"{path}: not a JSON object", _UNDAMAGED)
    return found
