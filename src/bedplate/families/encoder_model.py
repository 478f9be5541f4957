"""`EncoderModel`: an encoder, its tokenizer and how it pools; texts in, vectors out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
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
from bedplate.families.bert_config import BertConfig
from bedplate.families.checkpoint import stored_dtype, write_checkpoint
from bedplate.families.model import check_tokenizer, load_net, read_json, write_json
from bedplate.families.registry import Family, encoder_family_of
from bedplate.families.sentence_folder import Pooling, SentenceSettings, read_settings, write_settings
from bedplate.nn.encoder import Encoder

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
    """A sentence encoder: config, net (the modules), tokenizer, settings (how it pools), and carried: tensors of its
    checkpoint that no vector is computed with (BERT's pooler), kept so that saving loses nothing."""

    def __init__(
        self,
        config: BertConfig,
        net: Encoder,
        tokenizer: TextTokenizer,
        settings: SentenceSettings | None = None,
        carried: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.config, self.net, self.tokenizer = config, net, tokenizer
        self.settings = settings or SentenceSettings(max_length=config.max_position_embeddings)
        self.carried = dict(carried or {})

    @property
    def family(self) -> Family[BertConfig, Encoder]:
        return encoder_family_of(self.config.model_type, "config")

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

    def encode_batch(self, texts: Sequence[str]) -> Encoded:
        """Token ids of each text with the special tokens around it, cut to `max_length` before the closing ones.

        A special token's name inside a text ("[SEP]") is text like any other.
        """
        if self.settings.lower_case:
            texts = [text.lower() for text in texts]
        ids = self.tokenizer.encode_batch(texts, post_process=True)
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
        pad = self.tokenizer.pad_id
        fill = self.config.pad_token_id or 0 if pad is None else pad
        tokens = torch.tensor([[*row, *[fill] * (longest - len(row))] for row in ids], device=self.device)
        if int(lengths.min()) == longest:
            return tokens, None
        return tokens, (torch.arange(longest)[None] < lengths[:, None]).to(self.device)

    def hidden(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """tokens [B, T] int64, valid [B, T] bool (all where None) -> hidden states [B, T, D].

        Raises InputError for more positions than the model has.
        """
        if tokens.shape[1] > self.config.max_position_embeddings:
            raise InputError(
                f"{tokens.shape[1]} tokens in a row, where the encoder has {self.config.max_position_embeddings}",
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
        self.tokenizer.save(folder)
        write_settings(folder, self.settings, self.width)

    @classmethod
    def load(cls, folder: str | Path, dtype: str | torch.dtype | None = None, device: str = "auto") -> Self:
        """Read a model folder: an artefact of kind model, a sentence-transformers folder or a BERT folder.

        dtype: "float32", "bfloat16" or "float16"; as stored where None. device: auto, cpu, cuda, mps. Raises InputError
        (no such folder, broken file), WeightsError (weights, config or modules that aren't supported or don't fit) and
        TokenizerError (none, or not the model's).
        """
        from bedplate.families.model import model_folder

        folder = model_folder(folder)
        config = read_config(folder)
        settings = read_settings(folder, config.max_position_embeddings)
        family = encoder_family_of(config.model_type, str(folder))
        tokenizer = TextTokenizer.load(folder)
        check_tokenizer(tokenizer, config, str(folder))
        if not tokenizer.encode("", post_process=True):
            raise TokenizerError(
                f"{folder / 'tokenizer.json'}: it puts no special tokens around a text, as the encoder is used to",
                "Take the tokenizer.json that belongs to the model, with its post-processor.",
            )
        net, carried = load_net(folder, family, config, dtype=dtype, device=device)
        return cls(config, net, tokenizer, settings, carried)


def read_config(folder: Path) -> BertConfig:
    """The configuration of an encoder's folder."""
    found: dict[str, Any] = read_json(folder / "config.json")
    where = str(folder / "config.json")
    return encoder_family_of(found.get("model_type"), where).read_config(found, where)


def pool(hidden: Tensor, valid: Tensor | None, pooling: Pooling) -> Tensor:
    """hidden [B, T, D], valid [B, T] bool -> [B, D] fp32: the mean over valid positions, or the first position."""
    if pooling == "cls":
        return hidden[:, 0].float()
    if valid is None:
        return hidden.mean(1, dtype=torch.float32)
    weights = valid.float() / valid.sum(1, keepdim=True).clamp(min=1)
    return (hidden.float() * weights.unsqueeze(-1)).sum(1)


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
