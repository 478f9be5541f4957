"""From the tokenizer inside a GGUF file to a Hugging Face tokenizer folder.

A GGUF holds tokens, their types, merges or scores, and for byte-level BPE the *name* of a pre-tokenizer
(`tokenizer.ggml.pre`) whose meaning is fixed by llama.cpp and by the published `tokenizer.json` it was named after. A
name that isn't in `PRE_TOKENIZERS` is refused: a near miss would cut text where the model never saw it cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bedplate.codecs.text import TextTokenizer
from bedplate.errors import TokenizerError
from bedplate.families.gguf_reader import Value

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""`tokenizer.ggml.token_type`."""

SPACE = "▁"


@dataclass(frozen=True)
class PreTokenizer:
    """How text is cut before the merges apply. `split` None is the cut of GPT-2."""

    split: str | None = None
    single_digits: bool = False
    nfc: bool = False
    whole_words: bool = False
    """A piece that is itself a token is taken whole, whatever the merges say (`ignore_merges`)."""
    add_bos: bool = False


GPT2 = PreTokenizer()
DIGITS = PreTokenizer(single_digits=True)
LLAMA3 = PreTokenizer(
    split=r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    whole_words=True,
    add_bos=True,
)
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = PreTokenizer(
    split=r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    whole_words=True,
    add_bos=True,
)

PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    "gpt-2": GPT2,
    "default": GPT2,
    "olmo": GPT2,
    "smollm": DIGITS,
    "starcoder": DIGITS,
    "refact": DIGITS,
    "codeshell": DIGITS,
    "exaone": DIGITS,
    "minerva-7b": DIGITS,
    "llama-bpe": LLAMA3,
    "llama3": LLAMA3,
    "llama-v3": LLAMA3,
    "falcon3": LLAMA3,
    "qwen2": PreTokenizer(split=QWEN2_SPLIT, nfc=True),
    "deepseek-r1-qwen": PreTokenizer(split=QWEN2_SPLIT),
    "tekken": TEKKEN,
}


@dataclass(frozen=True)
class GGUFTokenizer:
    """What a GGUF's tokenizer amounts to."""

    text: TextTokenizer
    stop_ids: tuple[int, ...]
    """Every id that ends a turn: eos first, then end-of-turn and end-of-message where the file names them."""
    notes: tuple[str, ...]


def read_tokenizer(metadata: Mapping[str, Value], source: str) -> GGUFTokenizer:
    """The tokenizer in a GGUF's metadata. `source` names the file in messages.

    Raises TokenizerError for a model or pre-tokenizer that we don't know, and for tokens, merges or ids that contradict
    each other.
    """
    fields = _Fields(metadata, source)
    model = fields.text("model")
    tokens = fields.tokens()
    notes: list[str] = []
    if model == "gpt2":
        if fields.get("pre") is None:
            notes.append("the file names no pre-tokenizer (tokenizer.ggml.pre): GPT-2's is assumed")
        name = "default" if fields.get("pre") is None else fields.text("pre")
        if name not in PRE_TOKENIZERS:
            raise fields.fail(f"pre-tokenizer {name!r} isn't known (known: {', '.join(PRE_TOKENIZERS)})")
        backend = _byte_level(fields, tokens, PRE_TOKENIZERS[name])
        add_bos = PRE_TOKENIZERS[name].add_bos
    elif model == "llama":
        backend = _sentencepiece(fields, tokens)
        add_bos = True
    else:
        raise fields.fail(f"tokenizer model {model!r} isn't supported (supported: gpt2, llama)")
    _add_special(backend, fields, tokens)

    roles = ("bos", "eos", "unknown", "padding", "eot", "eom")
    ids = {role: fields.id(role, len(tokens)) for role in roles}
    add_bos = fields.flag("add_bos_token", add_bos) and ids["bos"] is not None
    add_eos = fields.flag("add_eos_token", False) and ids["eos"] is not None
    _post_process(backend, ids["bos"] if add_bos else None, ids["eos"] if add_eos else None)
    settings: dict[str, object] = {"add_bos_token": add_bos, "add_eos_token": add_eos}
    for role, ours in (("bos", "bos"), ("eos", "eos"), ("unknown", "unk"), ("padding", "pad")):
        if (id := ids[role]) is not None:
            settings[f"{ours}_token"] = backend.id_to_token(id)
    context = metadata.get(f"{metadata.get('general.architecture')}.context_length")
    if isinstance(context, int):
        settings["model_max_length"] = context
    template = metadata.get("tokenizer.chat_template")
    text = TextTokenizer(
        backend.to_str(), settings, chat_template=template if isinstance(template, str) else None, origin=source
    )
    stops = dict.fromkeys(id for role in ("eos", "eot", "eom") if (id := ids[role]) is not None)
    return GGUFTokenizer(text, tuple(stops), tuple(notes))


class _Fields:
    """`tokenizer.ggml.*`, each looked up with its type checked."""

    def __init__(self, metadata: Mapping[str, Value], source: str) -> None:
        self.metadata = metadata
        self.source = source

    def fail(self, problem: str) -> TokenizerError:
        return TokenizerError(
            f"{self.source}: {problem}", "Import the Hugging Face folder of this model, or a GGUF made from it."
        )

    def get(self, name: str) -> Value | None:
        return self.metadata.get(f"tokenizer.ggml.{name}")

    def text(self, name: str) -> str:
        value = self.get(name)
        if not isinstance(value, str):
            raise self.fail(f"tokenizer.ggml.{name} is {'missing' if value is None else 'not a string'}")
        return value

    def strings(self, name: str) -> list[str] | None:
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fail(f"tokenizer.ggml.{name} isn't a list of strings")
        return [str(item) for item in value]

    def numbers(self, name: str, count: int) -> list[float] | None:
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, np.ndarray) or len(value) != count:
            raise self.fail(f"tokenizer.ggml.{name} isn't a list of {count:,} numbers, one a token")
        return [float(item) for item in value]

    def tokens(self) -> dict[str, int]:
        tokens = self.strings("tokens")
        if not tokens:
            raise self.fail("tokenizer.ggml.tokens is missing or empty")
        vocabulary: dict[str, int] = {}
        for index, token in enumerate(tokens):
            if vocabulary.setdefault(token, index) != index:
                raise self.fail(f"tokens {vocabulary[token]} and {index} are both {token!r}")
        return vocabulary

    def id(self, role: str, count: int) -> int | None:
        value = self.get(f"{role}_token_id")
        if value is None:
            return None
        if not isinstance(value, int) or not 0 <= value < count:
            raise self.fail(f"tokenizer.ggml.{role}_token_id is {value}, outside the {count:,} tokens")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.fail(f"tokenizer.ggml.{name} isn't true or false")
        return value


def _byte_level(fields: _Fields, tokens: dict[str, int], pre: PreTokenizer) -> Tokenizer:
    from tokenizers import Tokenizer, models

    lines = fields.strings("merges")
    if lines is None:
        raise fields.fail("tokenizer.ggml.merges is missing")
    merges = [_merge(fields, line, index, tokens) for index, line in enumerate(lines)]
    backend = Tokenizer(models.BPE(vocab=tokens, merges=merges, ignore_merges=pre.whole_words))
    cut(backend, pre)
    return backend


def cut(backend: Tokenizer, pre: PreTokenizer) -> None:
    """Give a byte-level backend the normaliser, pre-tokenizer and decoder that `pre` stands for."""
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers

    if pre.nfc:
        backend.normalizer = normalizers.NFC()
    if pre.split is not None:
        split = pre_tokenizers.Split(Regex(pre.split), behavior="isolated")
        spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([split, spell])
    else:
        spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, spell]) if pre.single_digits else spell
    backend.decoder = decoders.ByteLevel()


def _merge(fields: _Fields, line: str, index: int, tokens: dict[str, int]) -> tuple[str, str]:
    left, space, right = line.partition(" ")
    if not space or any(piece not in tokens for piece in (left, right, left + right)):
        raise fields.fail(f"merge {index} ({line!r}) doesn't join two tokens into a third")
    return left, right


def _sentencepiece(fields: _Fields, tokens: dict[str, int]) -> Tokenizer:
    """SentencePiece BPE: merges follow from the scores, unknown characters fall back to the byte tokens.

    SentencePiece joins whichever neighbours make the piece of the highest score, so every cut of a token into two
    tokens is a merge, ranked by the token's score. Ties follow `transformers`: the longer left half first, then the
    longer right half, then the order of the vocabulary. Every stretch of text between special tokens begins with a
    space of its own, as in SentencePiece, llama.cpp and the tokenizers published with such models (`transformers`' own
    reading of a GGUF leaves it out after a special token and before a leading space).
    """
    from tokenizers import Tokenizer, decoders, models, normalizers

    if fields.get("precompiled_charsmap") is not None or fields.flag("remove_extra_whitespaces", False):
        raise fields.fail("a SentencePiece normaliser (character map, whitespace removal) isn't supported")
    lines = fields.strings("merges")
    if lines is not None:
        merges = [_merge(fields, line, index, tokens) for index, line in enumerate(lines)]
    else:
        scores = fields.numbers("scores", len(tokens))
        if scores is None:
            raise fields.fail("tokenizer.ggml.scores is missing")
        merges = merges_from_scores(tokens, scores)
    unknown = fields.id("unknown", len(tokens))
    spelling = list(tokens)
    backend = Tokenizer(
        models.BPE(
            vocab=tokens,
            merges=merges,
            unk_token=None if unknown is None else spelling[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prefix = fields.flag("add_space_prefix", True)
    spaces = normalizers.Replace(" ", SPACE)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if prefix else spaces
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, decoders.Strip(content=" ", left=1)] if prefix else steps)
    return backend


def merges_from_scores(tokens: dict[str, int], scores: list[float]) -> list[tuple[str, str]]:
    merges: list[tuple[tuple[float, int, int], tuple[str, str]]] = []
    for token, index in tokens.items():
        cuts = [(token[:at], token[at:]) for at in range(1, len(token))]
        pairs = [pair for pair in cuts if pair[0] in tokens and pair[1] in tokens]
        pairs.sort(key=lambda pair: (tokens[pair[0]], tokens[pair[1]]))
        merges.extend(((scores[index], len(left), len(right)), (left, right)) for left, right in pairs)
    merges.sort(key=lambda merge: merge[0], reverse=True)
    return [pair for _, pair in merges]


def _add_special(backend: Tokenizer, fields: _Fields, tokens: dict[str, int]) -> None:
    """Control tokens are special; user-defined ones are matched whole in any text, but are text."""
    from tokenizers import AddedToken

    types = fields.numbers("token_type", len(tokens))
    if types is None:
        return
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == CONTROL]
    whole = [token for token, kind in zip(tokens, types, strict=True) if kind == USER_DEFINED]
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in control])
    backend.add_tokens([AddedToken(token, normalized=False, special=False) for token in whole])
    if backend.get_vocab_size() != len(tokens):
        raise fields.fail("special tokens have grown the vocabulary")


def _post_process(backend: Tokenizer, bos_id: int | None, eos_id: int | None) -> None:
    from tokenizers import processors

    bos = None if bos_id is None else backend.id_to_token(bos_id)
    eos = None if eos_id is None else backend.id_to_token(eos_id)
    if bos is None and eos is None:
        return
    single = [*([f"{bos}:0"] if bos else []), "$A:0", *([f"{eos}:0"] if eos else [])]
    pair = [*single, *([f"{bos}:1"] if bos else []), "$B:1", *([f"{eos}:1"] if eos else [])]
    special = {token: id for token, id in ((bos, bos_id), (eos, eos_id)) if token is not None and id is not None}
    backend.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=list(special.items())
    )
