"""`Seq2SeqModel`: an encoder-decoder, its configuration and tokenizer together; a text in, another text out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from bedplate.codecs.foreign import read_foreign
from bedplate.codecs.text import TextTokenizer
from bedplate.families.checkpoint import stored_dtype, write_checkpoint
from bedplate.families.model import (
    check_length,
    check_tokenizer,
    generation_of,
    load_net,
    model_folder,
    read_generation,
    read_json,
    write_json,
)
from bedplate.families.registry import Family, seq2seq_family_of
from bedplate.families.seq2seq_config import Seq2SeqConfig
from bedplate.nn.cache import KVCache
from bedplate.nn.encoder_decoder import EncoderDecoder


class Seq2SeqModel:
    """An encoder-decoder that can be asked: config, net (the modules), tokenizer (None where the folder has none) and
    generation (the content of generation_config.json)."""

    def __init__(
        self,
        config: Seq2SeqConfig,
        net: EncoderDecoder,
        tokenizer: TextTokenizer | None = None,
        generation: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.net, self.tokenizer = config, net, tokenizer
        self.generation = dict(generation or {})

    @property
    def family(self) -> Family[Any, EncoderDecoder]:
        return seq2seq_family_of(self.config.model_type, "config")

    @property
    def device(self) -> torch.device:
        return self.net.embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What activations are computed in."""
        return self.net.compute_dtype or self.net.embed.weight.dtype

    @property
    def start_tokens(self) -> tuple[int, ...]:
        """What the decoder is given before anything is written: decoder_start_token_id, and where every text begins
        with a certain token (forced_bos_token_id) that one too. generation_config.json goes before config.json."""
        start = self.generation.get("decoder_start_token_id")
        forced = self.generation.get("forced_bos_token_id", getattr(self.config, "forced_bos_token_id", None))
        return (self.config.start_token if start is None else start, *(() if forced is None else (forced,)))

    def hidden(self, tokens: Tensor, decoder_tokens: Tensor, *, valid: Tensor | None = None) -> Tensor:
        """tokens [B, M], decoder_tokens [B, U] int64; valid [B, M] bool, False for padding -> the decoder's hidden
        states [B, U, width], normed and ready for the readout.

        Raises InputError for more tokens than the model has learned positions.
        """
        check_length(max(tokens.shape[1], decoder_tokens.shape[1]), self.config.longest)
        states: Tensor = self.net(tokens, decoder_tokens, valid=valid)
        return states

    def __call__(self, tokens: Tensor, decoder_tokens: Tensor, *, valid: Tensor | None = None) -> Tensor:
        """tokens [B, M] and decoder_tokens [B, U] int64 -> logits [B, U, vocabulary] fp32 of what comes after each
        decoder token."""
        return self.logits(self.hidden(tokens, decoder_tokens, valid=valid))

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [..., width] -> [..., vocabulary] fp32."""
        return self.net.readout.logits(self.net.head_states(hidden))

    def new_cache(self, capacity: int = 0) -> KVCache:
        """An empty cache with room for `capacity` written positions; it grows when it must."""
        return self.net.new_cache(capacity)

    def parameter_count(self) -> int:
        """Every number that is stored, a shared embedding counted once."""
        return sum(p.numel() for p in self.net.parameters())

    def save(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write a folder that `load` and transformers read: config, safetensors, tokenizer, generation config.

        dtype: what the weights are stored in, as they are where None.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        own = {n: p.detach() if dtype is None else p.detach().to(dtype) for n, p in self.net.named_parameters()}
        tensors = self.family.table(self.config).stored(own, self.config.num_hidden_layers)
        write_checkpoint(folder, tensors)
        stored = str(stored_dtype(tensors)).removeprefix("torch.")
        # transformers 5 reads dtype, 4 torch_dtype.
        write_json(folder / "config.json", self.config.to_hf() | {"dtype": stored, "torch_dtype": stored})
        start = {"decoder_start_token_id": self.config.start_token}
        write_json(folder / "generation_config.json", self.generation or generation_of(self.config) | start)
        if self.tokenizer is not None:
            self.tokenizer.save(folder)

    @classmethod
    def load(cls, folder: str | Path, *, dtype: str | torch.dtype | None = None, device: str = "auto") -> Self:
        """Read a model folder. dtype: "float32", "bfloat16" or "float16"; as stored where None. device: auto, cpu,
        cuda, mps. Raises InputError (no such folder, broken file), WeightsError (weights or config that don't fit) and
        TokenizerError (more tokens than the embedding has rows)."""
        folder = model_folder(folder)
        config = read_config(folder)
        family = seq2seq_family_of(config.model_type, str(folder))
        net, _ = load_net(folder, family, config, dtype=dtype, device=device)
        tokenizer = _read_tokenizer(folder)
        if tokenizer is not None:
            check_tokenizer(tokenizer, config, str(folder))
        return cls(config, net, tokenizer, read_generation(folder / "generation_config.json", config))


def _read_tokenizer(folder: Path) -> TextTokenizer | None:
    """From `tokenizer.json`; where there is none, what an older file says."""
    return TextTokenizer.load(folder) if (folder / "tokenizer.json").is_file() else read_foreign(folder)


def read_config(folder: Path) -> Seq2SeqConfig:
    """The configuration of an encoder-decoder's folder."""
    found = read_json(folder / "config.json")
    where = str(folder / "config.json")
    config: Seq2SeqConfig = seq2seq_family_of(found.get("model_type"), where).read_config(found, where)
    return config
