"""`EncoderModel`: an encoder, its tokenizer and how it pools; texts in, vectors out, and what its head predicts."""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bedplate.codecs.text import TextTokenizer
from bedplate.errors import InputError, TokenizerError
from bedplate.families import encoder_predictions
from bedplate.families.building import check_parts
from bedplate.families.checkpoint import Checkpoint, stored_dtype, write_checkpoint
from bedplate.families.encoder_config import EncoderConfig
from bedplate.families.encoder_predictions import Guess, TokenClass, check_head
from bedplate.families.model import check_tokenizer, load_net, read_json, read_tokenizer, write_json
from bedplate.families.registry import Family, encoder_family_of
from bedplate.families.sentence_folder import SentenceSettings, read_settings, write_settings
from bedplate.nn.encoder import Encoder
from bedplate.nn.encoder_heads import Pooling, pool

BATCH_TOKENS = 2048
"""Positions of a batch when nothing else is said, padding included."""

BATCH_COST = 64
"""What starting a batch costs, in positions computed: about a millisecond and a half."""

WINDOW = 1 << 14
"""Texts that are cut into tokens and sorted at once, which bounds the memory that a long list takes."""


class TruncationWarning(UserWarning):
    """Texts were longer than the encoder reads."""


class Encoded(list[list[int]]):
    """Token ids of each text; `truncated`: how many texts lost their end."""

    def __init__(self, ids: Sequence[list[int]], truncated: int) -> None:
        super().__init__(ids)
        self.truncated = truncated


@dataclass(frozen=True)
class Embeddings:
    """vectors [N, D] float32 in the order of the texts; tokens: how many were read of each, special ones included;
    truncated: how many texts lost their end."""

    vectors: npt.NDArray[np.float32]
    tokens: tuple[int, ...]
    truncated: int


class EncoderModel:
    """An encoder: config, net (the modules), tokenizer (None where the folder has none: then it takes tokens only),
    settings (how it pools), and carried: tensors of its checkpoint that nothing is computed with (BERT's pooler), kept
    so that saving loses nothing."""

    def __init__(
        self,
        config: EncoderConfig,
        net: Encoder,
        tokenizer: TextTokenizer | None,
        settings: SentenceSettings | None = None,
        carried: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.config, self.net, self._tokenizer = config, net, tokenizer
        self.settings = settings or SentenceSettings(max_length=config.positions)
        self.carried = dict(carried or {})

    @property
    def family(self) -> Family[EncoderConfig, Encoder]:
        return encoder_family_of(self.config.model_type, "config")

    @property
    def tokenizer(self) -> TextTokenizer:
        """Raises TokenizerError where it has none."""
        if self._tokenizer is None:
            raise TokenizerError(
                "this encoder has no tokenizer: it takes tokens, not texts",
                "Put the tokenizer.json that belongs to it into its folder.",
            )
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: TextTokenizer | None) -> None:
        self._tokenizer = tokenizer
        self.__dict__.pop("_closing", None)  # the former one's

    @property
    def has_tokenizer(self) -> bool:
        """Whether it takes texts."""
        return self._tokenizer is not None

    @property
    def device(self) -> torch.device:
        return self.net.embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What activations are computed in."""
        return self.net.compute_dtype or self.net.embed.weight.dtype

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self.config.hidden_size

    @property
    def max_length(self) -> int:
        """Tokens that are read of a text, special ones included."""
        return self.settings.max_length

    @property
    def pooling(self) -> Pooling:
        return self.settings.pooling

    @property
    def normalise(self) -> bool:
        """Whether vectors have length 1."""
        return self.settings.normalise

    def parameter_count(self) -> int:
        """Every number that is stored, carried tensors included."""
        return sum(t.numel() for t in (*self.net.parameters(), *self.carried.values()))

    def encode_batch(self, texts: Sequence[str], *, specials: bool = False) -> Encoded:
        """Token ids of each text with the special tokens around it, cut to `max_length` before the closing ones.

        A special token's name inside a text ("[SEP]") is text like any other, unless `specials` says otherwise.
        """
        if self.settings.lower_case:
            texts = [text.lower() for text in texts]
        ids = self.tokenizer.encode_batch(texts, specials=specials, post_process=True)
        closing = self._closing
        inner = self.max_length - closing
        cut = [row[:inner] + row[len(row) - closing :] if len(row) > self.max_length else row for row in ids]
        return Encoded(cut, sum(len(row) > self.max_length for row in ids))

    def embed(self, texts: Sequence[str], *, batch_tokens: int = BATCH_TOKENS) -> npt.NDArray[np.float32]:
        """Vectors [N, D] float32 of the texts, in their order, pooled and normalised as `settings` says.

        batch_tokens: positions that are computed at once: memory and speed, and of the vectors nothing but rounding.
        Warns (`TruncationWarning`) where texts are longer than `max_length`; `embed_counted` counts them instead.
        """
        made = self.embed_counted(texts, batch_tokens=batch_tokens)
        if made.truncated:
            warnings.warn(
                f"{made.truncated} of {len(made.tokens)} texts are longer than the {self.max_length} tokens that the "
                "encoder reads: their ends are not in their vectors",
                TruncationWarning,
                stacklevel=2,
            )
        return made.vectors

    @torch.inference_mode()
    def embed_counted(self, texts: Sequence[str], *, batch_tokens: int = BATCH_TOKENS) -> Embeddings:
        """`embed`, with the tokens that were read and the number of texts that were cut."""
        if isinstance(texts, str):
            raise TypeError("embed takes a list of texts, and was given one text")
        vectors = np.empty((len(texts), self.width), dtype=np.float32)
        counts: list[int] = []
        truncated = 0
        for start in range(0, len(texts), WINDOW):
            ids = self.encode_batch(texts[start : start + WINDOW])
            for rows in _batches([len(row) for row in ids], batch_tokens):
                tokens, valid = self.padded([ids[i] for i in rows])
                vectors[[start + i for i in rows]] = self.embed_tokens(tokens, valid).cpu().numpy()
            counts += [len(row) for row in ids]
            truncated += ids.truncated
        return Embeddings(vectors, tuple(counts), truncated)

    def padded(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor | None]:
        """tokens [B, T] int64 and valid [B, T] bool, None where nothing is padding; on the model's device."""
        lengths = torch.tensor([len(row) for row in ids])
        longest = int(lengths.max())
        pad = None if self._tokenizer is None else self._tokenizer.pad_id
        fill = self.config.pad_token_id or 0 if pad is None else pad
        tokens = torch.tensor([[*row, *[fill] * (longest - len(row))] for row in ids], device=self.device)
        if int(lengths.min()) == longest:
            return tokens, None
        return tokens, (torch.arange(longest)[None] < lengths[:, None]).to(self.device)

    def hidden(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """tokens [B, T] int64, valid [B, T] bool (all where None) -> hidden states [B, T, D].

        Raises InputError for more positions than the model has.
        """
        if tokens.shape[1] > self.config.positions:
            raise InputError(
                f"{tokens.shape[1]} tokens in a row, where the encoder has {self.config.positions}",
                "Cut the texts: encode_batch does.",
            )
        states: Tensor = self.net(tokens, valid=valid)
        return states

    def embed_tokens(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """tokens [B, T] int64, valid [B, T] bool -> vectors [B, D] fp32, with gradients where they are on."""
        return self.pooled(self.hidden(tokens, valid), valid)

    def pooled(self, hidden: Tensor, valid: Tensor | None = None) -> Tensor:
        """hidden [B, T, D], valid [B, T] bool -> vectors [B, D] fp32, as `settings` says."""
        vectors = pool(hidden, valid, self.pooling)
        return F.normalize(vectors, dim=-1) if self.normalise else vectors

    def predict_masked(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """tokens [B, T] int64, valid [B, T] bool -> logits [B, T, vocabulary] fp32 of what stands at each place.

        Raises InputError for an encoder without a head for masked tokens.
        """
        check_head(self, "masked")
        return self.net.readout.logits(self.net.head_states(self.hidden(tokens, valid)))

    def class_logits(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """tokens [B, T] int64, valid [B, T] bool -> logits [B, K] fp32, or [B, T, K] of an encoder that classifies
        tokens. Raises InputError for an encoder without a head for classes."""
        check_head(self, "token-classes" if self.config.head == "token-classes" else "classes")
        return self.net.class_logits(self.hidden(tokens, valid), valid)

    def fill_mask(self, texts: Sequence[str], top: int = 5) -> list[list[tuple[Guess, ...]]]:
        """For each text and each mask in it the `top` most probable tokens, as `encoder_predictions.fill_mask`."""
        return encoder_predictions.fill_mask(self, texts, top)

    def classify(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """For each text what the model says of each class, as `encoder_predictions.classify`."""
        return encoder_predictions.classify(self, texts)

    def classify_tokens(self, texts: Sequence[str]) -> list[list[TokenClass]]:
        """For each text its tokens and their classes, as `encoder_predictions.classify_tokens`."""
        return encoder_predictions.classify_tokens(self, texts)

    @cached_property
    def _closing(self) -> int:
        """How many special tokens the tokenizer puts after a text."""
        inner, whole = self.tokenizer.encode("a"), self.tokenizer.encode("a", post_process=True)
        for closing in range(len(whole) - len(inner) + 1):
            end = len(whole) - closing
            if whole[end - len(inner) : end] == inner:
                return closing
        raise TokenizerError("the tokenizer's post-processor changes the tokens of a text", "Take the model's own.")

    def save(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write a folder that `load`, sentence-transformers and transformers read: config, safetensors, tokenizer,
        pooling. dtype: what the weights are stored in, as they are where None."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        named = dict(self.net.named_parameters())
        detached = {name: p.detach() for name, p in named.items()}
        tensors = self.family.table(self.config).stored(detached, self.config.num_hidden_layers) | self.carried
        if dtype is not None:
            tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
        write_checkpoint(folder, tensors)
        stored = str(stored_dtype(tensors)).removeprefix("torch.")
        # transformers 5 reads dtype, 4 torch_dtype.
        write_json(folder / "config.json", self.config.to_hf() | {"dtype": stored, "torch_dtype": stored})
        if self._tokenizer is not None:
            self._tokenizer.save(folder)
        write_settings(folder, self.settings, self.width)

    @classmethod
    def load(cls, folder: str | Path, dtype: str | torch.dtype | None = None, device: str = "auto") -> Self:
        """Read a model folder: an artefact of kind model, a sentence-transformers folder or an encoder's folder. Its
        head is the one that `architectures` in config.json names, if the weights hold it.

        dtype: "float32", "bfloat16" or "float16"; as stored where None. device: auto, cpu, cuda, mps. Raises InputError
        (no such folder, broken file), WeightsError (weights, config or modules that aren't supported or don't fit) and
        TokenizerError (of a kind that isn't read, or not the model's).
        """
        from bedplate.families.model import model_folder

        folder = model_folder(folder)
        config, found = read_config(folder), Checkpoint(folder).shapes
        check_parts(config, found, str(folder))
        config = _with_head_in(config, found)
        settings = read_settings(folder, config.positions)
        family = encoder_family_of(config.model_type, str(folder))
        tokenizer = _read_tokenizer(folder, config)
        net, carried = load_net(folder, family, config, dtype=dtype, device=device)
        return cls(config, net, tokenizer, settings, carried)


def read_config(folder: Path) -> EncoderConfig:
    """The configuration of an encoder's folder."""
    found: dict[str, Any] = read_json(folder / "config.json")
    where = str(folder / "config.json")
    config: EncoderConfig = encoder_family_of(found.get("model_type"), where).read_config(found, where)
    return config


def _with_head_in(config: EncoderConfig, found: Container[str]) -> EncoderConfig:
    """The configuration without a head that `found` has no tensor of: sentence encoders made from such a model keep
    its class's name."""
    lines = encoder_family_of(config.model_type, "config").table(config).maps
    there = any(name in found for line in lines if line.ours[0].startswith("head.") for (name,) in line.spellings)
    return config if there else config.headless()


def _read_tokenizer(folder: Path, config: EncoderConfig) -> TextTokenizer | None:
    """None where the folder has no tokenizer of any kind."""
    tokenizer = read_tokenizer(folder)
    if tokenizer is None:
        return None
    check_tokenizer(tokenizer, config, str(folder))
    if not tokenizer.encode("", post_process=True):
        raise TokenizerError(
            f"{folder}: its tokenizer puts no special tokens around a text, as the encoder is used to",
            "Take the tokenizer.json that belongs to the model, with its post-processor.",
        )
    return tokenizer


def _batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Rows of like length together, the longest first: each batch's count times its longest is within the budget (or
    it is one row), and its padding costs no more than another batch would."""
    batch: list[int] = []
    longest = padding = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and ((len(batch) + 1) * longest > budget or padding + longest - lengths[i] > BATCH_COST):
            yield batch
            batch = []
        if not batch:
            longest, padding = lengths[i], 0
        padding += longest - lengths[i]
        batch.append(i)
    if batch:
        yield batch
