"""Adapters on disk: a LoRA as a PEFT folder, a subset of the base's parameters as a delta folder.

    save_adapter(folder, model, delta, base=base_folder)      # base: recorded by the digest of its weights
    delta = load_adapter(folder, model, base=base_folder)     # attached to model.net, in place; frozen
    delta = load_adapter(folder, model, trainable=True)       # ... in fp32 with gradients, to go on training
    other = adapted(model, folder, base=base_folder)          # a model of its own that shares the base's tensors

`model` is a `families.model.Model` or a `families.encoder_model.EncoderModel`. A delta has `kind`, `parameters()` and
`disabled()`. An adapter is refused on a base with other weights (WeightsError, naming both digests) or another
tokenizer (TokenizerError); one made elsewhere records neither, and is taken with a warning if names and shapes fit.
"""

from __future__ import annotations

import copy
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar

from torch import nn

from bedplate.deltas.digest import BaseRecord
from bedplate.deltas.lora import LoraDelta
from bedplate.deltas.names import Adaptable
from bedplate.deltas.peft_config import CONFIG
from bedplate.deltas.peft_folder import read_peft, write_peft
from bedplate.deltas.sharing import sharing_copy
from bedplate.deltas.subset import DELTA, SubsetDelta, read_subset, write_subset
from bedplate.errors import InputError

M = TypeVar("M", bound=Adaptable)


class AdapterWarning(UserWarning):
    """Something about an adapter that its user should know."""


class Delta(Protocol):
    """What is trained beside or instead of a base's weights."""

    @property
    def kind(self) -> str:
        """lora, bitfit or last-layer."""
        ...

    def parameters(self) -> dict[str, nn.Parameter]:
        """Name in the net -> parameter."""
        ...

    def disabled(self) -> AbstractContextManager[None]:
        """Inside, the net answers as its base."""
        ...


def is_adapter(folder: str | Path) -> bool:
    """Whether a folder holds an adapter."""
    return any((Path(folder) / name).is_file() for name in (CONFIG, DELTA))


def save_adapter(
    folder: str | Path, model: Adaptable, delta: LoraDelta | SubsetDelta, *, base: BaseRecord | str | Path | None
) -> None:
    """Write `delta`, which is attached to `model`, into a folder. base: the folder that the base was loaded from, or
    what is known of it; None writes no record, so that nothing can refuse another base."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record = base if base is None or isinstance(base, BaseRecord) else BaseRecord.of(base)
    if isinstance(delta, LoraDelta):
        write_peft(folder, model, delta, base_name=None if record is None else record.name)
    else:
        write_subset(folder, model, delta)
    if record is not None:
        record.save(folder, kind=delta.kind)


def load_adapter(
    folder: str | Path, model: Adaptable, *, base: str | Path | None = None, trainable: bool = False
) -> LoraDelta | SubsetDelta:
    """Attach the adapter in a folder to `model.net`, in place. base: the folder that `model` was loaded from, whose
    weights are compared with those that the adapter was trained on; not compared where None.

    Raises WeightsError (other weights, another architecture, something unsupported), TokenizerError (another
    tokenizer), InputError (no adapter, a damaged file); the model is then as it was.
    """
    folder = Path(folder)
    if not is_adapter(folder):
        raise InputError(f"{folder}: no {CONFIG} or {DELTA} in it, so not an adapter", "Give an adapter's folder.")
    record = BaseRecord.read(folder)
    if record is None:
        warn = f"{folder} doesn't record which weights it was trained on; only names and shapes could be checked"
        warnings.warn(warn, AdapterWarning, stacklevel=2)
    else:
        if base is not None:
            record.check(base, folder)
        record.check_tokenizer(model.tokenizer, folder)
    if (folder / DELTA).is_file():
        return read_subset(folder, model, trainable=trainable)
    delta, notes = read_peft(folder, model, trainable=trainable)
    for note in notes:
        warnings.warn(note, AdapterWarning, stacklevel=2)
    return delta


def adapted(model: M, folder: str | Path, *, base: str | Path | None = None) -> M:
    """A model with the adapter, for inference, beside `model`, which stays as it is. Both hold the same base tensors:
    the new one costs what the adapter does. Raises as `load_adapter`."""
    other = copy.copy(model)
    other.net = sharing_copy(model.net)
    load_adapter(folder, other, base=base)
    other.net.eval()
    return other
