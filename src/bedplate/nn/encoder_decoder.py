"""An encoder that reads one text and a decoder that writes another (Sutskever et al. 2014; arXiv 1706.03762)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from bedplate.nn.cache import Cache, KVCache
from bedplate.nn.decoder import Decoder
from bedplate.nn.encoder import Encoder
from bedplate.nn.head import Readout
from bedplate.nn.linear import Embedding
from bedplate.nn.mask import Mask
from bedplate.nn.parameters import ParameterInfo


class EncoderDecoder(nn.Module):
    """The decoder's blocks read the encoder's hidden states by `CrossAttention`; both have one token embedding.

    logit_bias: a constant [vocabulary] on the logits that isn't trained (BART's final_logits_bias, which its tied head
    has beside it).
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, *, logit_bias: bool = False) -> None:
        super().__init__()
        if encoder.embed.weight.shape != decoder.embed.weight.shape:
            raise ValueError("encoder and decoder share their token embedding, and say two sizes of it")
        decoder.embed = encoder.embed
        self.encoder, self.decoder = encoder, decoder
        vocabulary = encoder.embed.weight.shape[0]
        self.logit_bias = nn.Parameter(torch.zeros(vocabulary), requires_grad=False) if logit_bias else None

    def parameter_info(self) -> dict[str, ParameterInfo]:
        return {} if self.logit_bias is None else {"logit_bias": ParameterInfo("state", 1, self.logit_bias.shape[0])}

    @property
    def embed(self) -> Embedding:
        return self.encoder.embed

    @property
    def blocks(self) -> list[nn.Module]:
        """All of them, the encoder's first."""
        return [*self.encoder.blocks, *self.decoder.blocks]

    @property
    def compute_dtype(self) -> torch.dtype | None:
        """What activations are in; None means the embedding's own dtype."""
        return self.encoder.compute_dtype

    @compute_dtype.setter
    def compute_dtype(self, dtype: torch.dtype | None) -> None:
        self.encoder.compute_dtype = self.decoder.compute_dtype = dtype

    @property
    def head_weight(self) -> Tensor:
        """[vocabulary, width]: the head's matrix, the embedding's where they are tied."""
        return self.decoder.head_weight

    @property
    def readout(self) -> Readout:
        """How the decoder's hidden states become logits."""
        readout = self.decoder.readout
        return readout if self.logit_bias is None else replace(readout, bias=self.logit_bias.detach())

    def head_states(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., width] as the readout takes them: a decoder's are ready."""
        return self.decoder.head_states(hidden)

    def number_layers(self) -> None:
        """As `Stack.number_layers`, each stack by itself."""
        self.encoder.number_layers()
        self.decoder.number_layers()

    @property
    def cache_width(self) -> int:
        """Numbers that the cache keeps of one written position, over all layers; the memory's don't grow."""
        return self.decoder.cache_width

    def new_cache(self, capacity: int) -> KVCache:
        """For the decoder; it also keeps what the decoder reads of the memory."""
        return self.decoder.new_cache(capacity)

    def encode(self, tokens: Tensor, *, valid: Tensor | None = None) -> Tensor:
        """tokens [B, M] int64, valid [B, M] bool (False for padding) -> memory [B, M, width]."""
        memory: Tensor = self.encoder(tokens, valid=valid)
        return memory

    def decode(
        self,
        tokens: Tensor,
        *,
        memory: Tensor | None = None,
        memory_valid: Tensor | None = None,
        positions: Tensor | None = None,
        mask: Mask | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """tokens [B, U] int64 -> hidden states [B, U, width], ready for the readout.

        memory [B, M, width]: what `encode` gave; not needed where the cache has seen it. memory_valid [B, M] bool:
        which of it exists, said with every call. positions, mask, cache: as `Stack.forward`.
        """
        hidden: Tensor = self.decoder(
            tokens, positions=positions, mask=mask, cache=cache, memory=memory, memory_valid=memory_valid
        )
        return hidden

    def forward(self, tokens: Tensor, decoder_tokens: Tensor, *, valid: Tensor | None = None) -> Tensor:
        """tokens [B, M], decoder_tokens [B, U] int64; valid [B, M] bool -> hidden states [B, U, width], ready for the
        readout: of what comes after each decoder token."""
        return self.decode(decoder_tokens, memory=self.encode(tokens, valid=valid), memory_valid=valid)
