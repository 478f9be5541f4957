"""Embeddings while a way is fitted: counted in operations and tokens, and bound to the encoder that made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bedplate.adapt.fitting import Fitting
from bedplate.deltas.digest import weights_digest
from bedplate.errors import ArtefactError

METHOD = "2 * matrix parameters, per token embedded"


class Embedder:
    """The encoder of a fitting; what it costs goes into the work's account."""

    def __init__(self, fitting: Fitting) -> None:
        self._fitting = fitting
        self._folder = fitting.folder("encoder")

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors [N, D] of the texts. Says so where texts were longer than the encoder reads."""
        encoder, work = self._fitting.encoder, self._fitting.work
        if not texts:
            return np.zeros((0, encoder.width), dtype=np.float32)
        made = encoder.embed_counted(texts)
        work.add_flops(2.0 * matrix_numbers(encoder.net) * sum(made.tokens), METHOD)
        if made.truncated:
            work.measures["texts_cut"] = work.measures.get("texts_cut", 0) + made.truncated
            work.console.warn(
                f"{made.truncated} of {len(texts)} texts are longer than the {encoder.max_length} tokens that the "
                "encoder reads: their ends don't count"
            )
        return made.vectors

    def facts(self) -> dict[str, str]:
        """What proves later that the encoder is the same: its weights' digest and its tokenizer's fingerprint."""
        return {"weights": weights_digest(self._folder), "tokenizer": self._fitting.encoder.tokenizer.fingerprint}


def matrix_numbers(net: Any) -> int:
    """Numbers in the matrices that every token is multiplied by: the embedding tables aren't among them."""
    from bedplate.nn.parameters import parameter_table

    table = parameter_table(net)
    return sum(p.numel() for name, p in net.named_parameters() if table[name].role == "hidden")


def check_encoder(recorded: Mapping[str, str], folder: Path, artefact: Path) -> None:
    """Raise ArtefactError unless the encoder in `folder` has the weights and the tokenizer that were recorded."""
    from bedplate.codecs.text import TextTokenizer
    from bedplate.families.model import model_folder

    found = {
        "weights": weights_digest(folder),
        "tokenizer": TextTokenizer.load(model_folder(folder)).fingerprint,
    }
    for what in ("weights", "tokenizer"):
        if recorded.get(what) != found[what]:
            raise ArtefactError(
                f"{artefact}: was fitted on an encoder whose {what} had the digest {str(recorded.get(what))[:12]}, and "
                f"{folder} has {found[what][:12]}: its vectors mean something else",
                "Give the encoder that it was made with, or make it again.",
            )
