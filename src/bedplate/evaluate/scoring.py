"""Log-likelihoods of given tokens: the one forward pass that perplexity and multiple choice are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bedplate.families.model import DTYPES, Model, load
from bedplate.machine.choose import DtypeName, choose_compute_dtype, choose_device
from bedplate.nn.cross_entropy import token_cross_entropy

Ints = NDArray[np.int64]

BATCH_TOKENS = 4096


def load_for_evaluation(path: Path, compute_dtype: DtypeName = "auto") -> Model:
    """The model, computing in what was asked for (auto: bfloat16 where the hardware has it)."""
    device = choose_device("auto")
    model = load(path, device=device.kind)
    model.net.compute_dtype = DTYPES[choose_compute_dtype(device, compute_dtype).name]
    return model


@dataclass(frozen=True)
class Window:
    """One row for the model. inputs [n] tokens; targets [m], m <= n: what should follow each of the last m inputs."""

    inputs: Ints
    targets: Ints


def score(
    model: Model,
    windows: Sequence[Window],
    *,
    batch_tokens: int = BATCH_TOKENS,
    done: Callable[[int], None] = lambda scored: None,
) -> list[NDArray[np.float64]]:
    """For each window, -log p in nats of each of its targets [m].

    Windows with equal inputs share one forward pass; rows of like length share a batch of at most `batch_tokens`,
    padded on the right, where causal attention never looks. `done` is told how many windows have been scored.
    """
    shared: dict[bytes, list[int]] = {}
    for index, window in enumerate(windows):
        shared.setdefault(window.inputs.tobytes(), []).append(index)
    groups = sorted(shared.values(), key=lambda group: -len(windows[group[0]].inputs))
    results: list[NDArray[np.float64]] = [np.empty(0)] * len(windows)
    scored = 0
    for batch in _batches(groups, [len(windows[group[0]].inputs) for group in groups], batch_tokens):
        for index, nats in _score_batch(model, windows, batch):
            results[index] = nats
            scored += 1
        done(scored)
    return results


def _batches(groups: list[list[int]], lengths: list[int], batch_tokens: int) -> Iterator[list[list[int]]]:
    start = 0
    while start < len(groups):
        rows = max(1, batch_tokens // max(1, lengths[start]))  # the first is the longest
        yield groups[start : start + rows]
        start += rows


def _score_batch(
    model: Model, windows: Sequence[Window], batch: list[list[int]]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    longest = len(windows[batch[0][0]].inputs)
    tokens = np.zeros((len(batch), longest), dtype=np.int64)
    rows, columns, wanted, order = [], [], [], []
    for row, group in enumerate(batch):
        inputs = windows[group[0]].inputs
        tokens[row, : len(inputs)] = inputs
        for index in group:
            targets = windows[index].targets
            rows.append(np.full(len(targets), row))
            columns.append(np.arange(len(inputs) - len(targets), len(inputs)))
            wanted.append(targets)
            order.append(index)
    with torch.inference_mode():
        hidden = model.hidden(torch.from_numpy(tokens).to(model.device))
        at = (torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(columns)))
        following = torch.from_numpy(np.concatenate(wanted)).to(model.device)
        nats = token_cross_entropy(hidden[at], model.net.readout, following).cpu().numpy().astype(np.float64)
    ends = np.cumsum([len(part) for part in wanted])
    yield from zip(order, np.split(nats, ends[:-1]), strict=True)
