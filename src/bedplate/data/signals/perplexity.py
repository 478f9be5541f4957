"""How well a language model predicts the beginning of a text: bits a byte, so that models of any tokenizer compare.

Documents go through the model one at a time and in float32: in a batch, its shape would decide the last digits, and a
document's column would depend on its neighbours.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from bedplate.data.signals.config import PerplexityConfig
from bedplate.errors import TokenizerError
from bedplate.generate.model import load_text
from bedplate.nn.cross_entropy import token_cross_entropy

_CHARACTERS_A_TOKEN = 16
"""No more of a text is tokenised than so many for each token that is wanted."""


class Perplexity:
    """A model, ready to score. Raises TokenizerError for one without a tokenizer, else as `bedplate.load`."""

    def __init__(self, config: PerplexityConfig) -> None:
        self._model = load_text(config.model, dtype="float32", device="cpu")
        if self._model.tokenizer is None:
            raise TokenizerError(
                f"{config.model} has no tokenizer, so texts can't be scored", "Add its tokenizer.json."
            )
        self._tokenizer = self._model.tokenizer
        longest = self._model.net.longest
        self._tokens = config.tokens if longest is None else min(config.tokens, longest)

    def __call__(self, text: str) -> float | None:
        """Bits a byte of the text's first tokens; None where there is none to predict.

        BOS is context and never scored; for a model without it the first token is. Bytes are those of the UTF-8 that
        the scored tokens stand for.
        """
        given = text[: self._tokens * _CHARACTERS_A_TOKEN].encode("utf-8", "replace").decode()
        ids = self._tokenizer.encode(given)[: self._tokens]
        bos = self._tokenizer.bos_id
        inputs, targets = (ids[:-1], ids[1:]) if bos is None else ([bos, *ids[:-1]], ids)
        size = sum(len(self._tokenizer.token_bytes(token)) for token in targets)
        if not targets or not size:
            return None
        with torch.inference_mode():
            hidden = self._model.hidden(torch.tensor([inputs], device=self._model.device))
            following = torch.tensor([targets], device=self._model.device)
            nats = token_cross_entropy(hidden, self._model.net.readout, following).double().sum().item()
        return float(np.float32(nats / math.log(2) / size))
