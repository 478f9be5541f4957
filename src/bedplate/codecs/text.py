"""Text tokenizers: a `tokenizer.json` with the names of its special tokens and its chat template.

A thin, immutable layer over Hugging Face `tokenizers`: what is on disk decides how text is cut; nothing is guessed from
a model's name. Special tokens written inside ordinary text are plain text unless the caller asks otherwise, so a
document or a user's message can't smuggle in an end-of-text token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bedplate.codecs.byte_alphabet import byte_alphabet
from bedplate.errors import TokenizerError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from tokenizers import Tokenizer

    from bedplate.codecs.guarded import GuardedEncoder
    from bedplate.codecs.word_starts import WordStarts

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""The roles that `tokenizer_config.json` may give to special tokens."""

_RUN_TIME_FIELDS = ("truncation", "padding")
"""Parts of `tokenizer.json` that say how some caller batched, not how text is cut; never kept."""


class Encoded(NamedTuple):
    """Tokens and where they come from: ids, and offsets int64 [T, 2], the first character and the one after the last.
    Tokens of one character's bytes all have that character."""

    ids: list[int]
    offsets: npt.NDArray[np.int64]


class TextTokenizer:
    """Text <-> token ids, with lossless byte-level BPE as the usual case and any `tokenizer.json` accepted.

    definition: the text of `tokenizer.json`. settings: the content of `tokenizer_config.json`, whose `bos_token` and
    the like may be texts or `{"content": ...}` objects. fallback_ids: ids by role (`bos_token_id`, ...) from a model's
    own config, used where the settings name no token. Raises TokenizerError for a broken definition, or for a role
    given to a token that the vocabulary lacks.
    """

    def __init__(
        self,
        definition: str,
        settings: Mapping[str, Any] | None = None,
        *,
        chat_template: str | None = None,
        fallback_ids: Mapping[str, Any] | None = None,
        origin: str = "tokenizer.json",
    ) -> None:
        content = _parse_definition(definition, origin)
        self._definition = json.dumps(content, ensure_ascii=False, indent=2)
        self._settings = dict(settings or {})
        self._decoder_types = _decoder_types(content.get("decoder"))
        self.backend: Tokenizer = _backend(self._definition, origin)
        """The `tokenizers` object, which parses special tokens in text. Treat as read-only."""

        self.chat_template = chat_template if chat_template is not None else _template_in(self._settings)
        self.fingerprint: str = hashlib.sha256(
            json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()
        """sha256 of the canonical `tokenizer.json`: two tokenizers with one fingerprint cut text alike."""

        added = self.backend.get_added_tokens_decoder()
        self.special_tokens: dict[str, int] = {t.content: i for i, t in sorted(added.items()) if t.special}
        self.markers: tuple[str, ...] = tuple(t.content for _, t in sorted(added.items()) if t.content.strip())
        """Added tokens, special or not, that aren't just whitespace: what chat templates mark turns with."""
        self.vocab_size: int = max(self.backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        """One more than the largest id, added tokens included."""

        self.named_tokens: dict[str, str] = self._read_named(fallback_ids or {}, origin)
        """Role -> token, e.g. `{"bos_token": "<s>"}`: what chat templates are given."""

    @classmethod
    def load(cls, folder: str | Path) -> TextTokenizer:
        """Read a tokenizer or model folder: `tokenizer.json`, and where they exist `tokenizer_config.json`,
        `chat_template.jinja` (else the template inside the config), `generation_config.json` and `config.json`.
        Where there is no `tokenizer.json`, the older files that `bedplate.codecs.foreign` reads."""
        from bedplate.codecs.foreign import foreign_definition

        folder = Path(folder)
        path = folder / "tokenizer.json"
        if path.is_file():
            definition, settings = _read_text(path), _read_object(folder / "tokenizer_config.json")
        elif (found := foreign_definition(folder)) is not None:
            definition, settings = found
        else:
            raise TokenizerError(
                f"{folder}: no tokenizer.json",
                "Name a folder with a tokenizer; transformers writes one by tokenizer.save_pretrained(folder).",
            )
        template = folder / "chat_template.jinja"
        ids: dict[str, Any] = {}
        for name in ("config.json", "generation_config.json"):
            ids.update({k: v for k, v in _read_object(folder / name).items() if k.endswith("_token_id")})
        return cls(
            definition,
            settings,
            chat_template=_read_text(template) if template.is_file() else None,
            fallback_ids=ids,
            origin=str(path),
        )

    def save(self, folder: str | Path) -> None:
        """Write the folder that `load`, and `transformers.AutoTokenizer`, read back to the same ids."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        settings |= {k: v for k, v in self._settings.items() if k != "chat_template"} | self.named_tokens
        (folder / "tokenizer.json").write_text(self._definition, encoding="utf-8", newline="\n")
        (folder / "tokenizer_config.json").write_text(
            json.dumps(settings, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8", newline="\n"
        )
        if self.chat_template is not None:
            (folder / "chat_template.jinja").write_text(self.chat_template, encoding="utf-8", newline="\n")

    def encode(self, text: str, *, specials: bool = False, post_process: bool = False) -> list[int]:
        """Token ids of a text.

        specials: parse special tokens such as "<|im_start|>" in the text, as a rendered chat prompt needs; otherwise
        they are plain text. post_process: apply the post-processor of `tokenizer.json`, which may add BOS or EOS.
        """
        backend = self.backend if specials else self._plain
        ids: list[int] = backend.encode(text, add_special_tokens=post_process).ids
        return ids

    def encode_batch(
        self, texts: Sequence[str], *, specials: bool = False, post_process: bool = False
    ) -> list[list[int]]:
        """`encode` for many texts at once, on all cores."""
        backend = self.backend if specials else self._plain
        return [e.ids for e in backend.encode_batch_fast(list(texts), add_special_tokens=post_process)]

    def encode_with_offsets(
        self, texts: Sequence[str], plain: Sequence[Sequence[tuple[int, int]]] | None = None
    ) -> list[Encoded]:
        """`encode` with special tokens parsed, for many texts on all cores, and the characters that each token is of.

        plain: for each text the places (start, end) of special tokens in it that are plain text after all; see
        `bedplate.codecs.guarded`, which also says what it raises.
        """
        import numpy as np

        encoded = [
            Encoded(e.ids, np.array(e.offsets, dtype=np.int64).reshape(-1, 2))
            for e in self._exact.encode_batch(list(texts), add_special_tokens=False)
        ]
        for index, places in enumerate(plain or ()):
            if places:
                encoded[index] = Encoded(*self._guarded.encode(texts[index], places))
        return encoded

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of token ids; incomplete UTF-8 gives U+FFFD. Ids beyond the vocabulary (a model may pad its table
        of embeddings) give nothing."""
        text: str = self.backend.decode(list(ids), skip_special_tokens=skip_special)
        return text

    def token_bytes(self, token: int) -> bytes:
        """The bytes that one token stands for in the middle of a text; empty beyond the vocabulary."""
        text = self.backend.id_to_token(token)
        if text is None:
            return b""
        if self.byte_level:
            alphabet = byte_alphabet()
            try:
                return bytes(alphabet[c] for c in text)
            except KeyError:  # an added token: it stands for itself
                return str(text).encode()
        if "ByteFallback" in self._decoder_types and len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            return bytes([int(text[3:5], 16)])
        return str(text).replace("▁", " ").encode()

    @property
    def settings(self) -> dict[str, Any]:
        """A copy of the content of `tokenizer_config.json`."""
        return dict(self._settings)

    def is_special(self, token: int) -> bool:
        return token in self._special_ids

    @property
    def byte_level(self) -> bool:
        """Whether every token is a piece of UTF-8 bytes, so that the bytes of a text are those of its tokens."""
        return self._decoder_types == {"ByteLevel"}

    @property
    def bos_id(self) -> int | None:
        return self._id_of("bos_token")

    @property
    def eos_id(self) -> int | None:
        return self._id_of("eos_token")

    @property
    def pad_id(self) -> int | None:
        return self._id_of("pad_token")

    @property
    def unk_id(self) -> int | None:
        """What stands for text that the vocabulary lacks."""
        return self._id_of("unk_token")

    @property
    def cls_id(self) -> int | None:
        return self._id_of("cls_token")

    @property
    def sep_id(self) -> int | None:
        return self._id_of("sep_token")

    @property
    def mask_id(self) -> int | None:
        return self._id_of("mask_token")

    @cached_property
    def around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids that post-processing puts before a text and after it, such as those of [CLS] and of [SEP]."""
        encoded = self.backend.encode("aA0C", add_special_tokens=True)
        own = [i for i, put in enumerate(encoded.special_tokens_mask) if not put]
        first, last = (own[0], own[-1]) if own else (len(encoded.ids), len(encoded.ids))
        return tuple(encoded.ids[:first]), tuple(encoded.ids[last + 1 :])

    @cached_property
    def sentinel_ids(self) -> tuple[int, ...]:
        """The ids of `<extra_id_0>`, `<extra_id_1>`, ... as far as there are any: T5's marks of what was left out."""
        found: list[int] = []
        while (id := self.backend.token_to_id(f"<extra_id_{len(found)}>")) is not None:
            found.append(id)
        return tuple(found)

    @cached_property
    def word_starts(self) -> WordStarts:
        """ids [..., T] -> bool [..., T]: where words begin (`tokenizer.word_starts(ids)`)."""
        from bedplate.codecs.word_starts import WordStarts

        return WordStarts(self)

    @cached_property
    def _plain(self) -> Tokenizer:
        # A second backend rather than a switch on the first: a switch would be a race between threads.
        plain = _backend(self._definition, "tokenizer.json")
        plain.encode_special_tokens = True
        return plain

    @cached_property
    def _exact(self) -> Tokenizer:
        # Post-processors may take the whitespace off offsets; nothing else of theirs is wanted here.
        if self.backend.post_processor is None:
            return self.backend
        return _backend(json.dumps({**json.loads(self._definition), "post_processor": None}), "tokenizer.json")

    @cached_property
    def _guarded(self) -> GuardedEncoder:
        from bedplate.codecs.guarded import GuardedEncoder

        return GuardedEncoder(self._definition, self.special_tokens)

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        return frozenset(self.special_tokens.values())

    def _id_of(self, role: str) -> int | None:
        token = self.named_tokens.get(role)
        found: int | None = None if token is None else self.backend.token_to_id(token)
        return found

    def _read_named(self, fallback_ids: Mapping[str, Any], origin: str) -> dict[str, str]:
        named: dict[str, str] = {}
        for role in NAMED:
            value = self._settings.get(role)
            token = value.get("content") if isinstance(value, dict) else value
            if token is None:
                number = fallback_ids.get(f"{role}_id")
                number = number[0] if isinstance(number, list) and number else number
                token = self.backend.id_to_token(number) if isinstance(number, int) and number >= 0 else None
            elif self.backend.token_to_id(token) is None:
                if role not in ("bos_token", "eos_token", "pad_token"):
                    continue  # older configs name roles that the vocabulary never had; nothing reads those
                raise TokenizerError(
                    f"{origin}: {role} is {token!r}, which isn't in the vocabulary",
                    "Correct tokenizer_config.json, or take it from where the tokenizer.json came from.",
                )
            if token is not None:
                named[role] = token
        return named


def _backend(definition: str, origin: str) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(definition)
    except Exception as error:  # the library raises bare Exception
        raise TokenizerError(f"{origin}: not a tokenizer: {error}", "Take an undamaged copy of the file.") from error


def _parse_definition(definition: str, origin: str) -> dict[str, Any]:
    try:
        content = json.loads(definition)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{origin}: not JSON: {error}", "Take an undamaged copy of the file.") from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise TokenizerError(f"{origin}: not a tokenizer: no `model` in it", "Take an undamaged copy of the file.")
    return {**content, **dict.fromkeys(_RUN_TIME_FIELDS)}


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path}: not UTF-8: {error}", "Take an undamaged copy of the file.") from error


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(_read_text(path))
    except ValueError as error:
        raise TokenizerError(f"{path}: not JSON: {error}", "Take an undamaged copy of the file.") from error
    if not isinstance(content, dict):
        raise TokenizerError(f"{path}: not a JSON object", "Take an undamaged copy of the file.")
    return content


def _template_in(settings: Mapping[str, Any]) -> str | None:
    """The chat template inside `tokenizer_config.json`: a text, or a list of named ones of which `default` counts."""
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _decoder_types(decoder: Any) -> set[str]:
    if not isinstance(decoder, dict):
        return set()
    if decoder.get("type") == "Sequence":
        return {d.get("type", "") for d in decoder.get("decoders", [])}
    return {decoder.get("type", "")}
