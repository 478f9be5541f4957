"""An n-gram model over tokens: the baseline that says what plain counting gets from the same training text.

Interpolated modified Kneser-Ney as in Chen & Goodman, "An Empirical Study of Smoothing Techniques for Language
Modeling" (1998), with three discounts an order, down to the uniform distribution over the whole vocabulary, so that
no token ever has probability zero. A document is BOS t1 .. tn END; BOS is context only, every other token is a target,
and no context reaches across a document's start: exactly what the model is trained and scored on.

n-grams are nodes of a trie held as one sorted array of integer keys per order: the key of an n-gram is
(node of its first n-1 tokens) * vocabulary + (its last token). That is exact (no hashing) and every step is one
numpy sort or search over all positions; memory is about 130 bytes a training token of order 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedplate.errors import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Discounts where an order has too few n-grams to estimate them from (n1 .. n4 not all seen): those that KenLM falls
# back to for the same case.
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class Order:
    """One order n of the trie.

    keys [nodes] sorted; discounted [nodes]: count less its discount; total [contexts] and spare [contexts]: the sum of
    counts after each context and the probability mass that discounting freed there, both indexed by the context's node.
    """

    keys: Ints
    discounted: Floats
    total: Floats
    spare: Floats


@dataclass(frozen=True)
class Stream:
    """Documents laid end to end, BOS and END included. age [positions]: tokens of its document before each."""

    tokens: Ints
    age: Ints

    @classmethod
    def of(cls, documents: Iterable[NDArray[np.integer]]) -> Stream:
        """documents: each BOS t1 .. tn END (a last one that training cut short may lack END)."""
        parts = [np.asarray(document, dtype=np.int64) for document in documents]
        if not parts:
            return cls(np.empty(0, np.int64), np.empty(0, np.int64))
        lengths = np.array([len(part) for part in parts])
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        return cls(np.concatenate(parts), np.arange(lengths.sum()) - starts)


class NgramModel:
    """`NgramModel.train(documents, vocabulary)` counts; `bits(documents)` scores."""

    def __init__(self, vocabulary: int, orders: Sequence[Order], trained_on: int) -> None:
        self.vocabulary = vocabulary
        self.orders = orders
        self.trained_on = trained_on

    @classmethod
    def train(cls, documents: Iterable[NDArray[np.integer]], vocabulary: int, order: int = 5) -> NgramModel:
        """Counts n-grams up to `order` in documents of BOS t1 .. tn END. Raises InputError where there is no target."""
        stream = Stream.of(documents)
        targets = int((stream.age > 0).sum())
        if targets == 0:
            raise InputError("the n-gram baseline got no training tokens", "Give it at least one document.")
        keys, nodes = _build_trie(stream, vocabulary, order)
        contexts = [1, vocabulary, *(len(k) for k in keys[1:-1])]
        orders = [
            _smooth(keys[n - 1], counts, contexts[n - 1], vocabulary)
            for n, counts in enumerate(_adjusted_counts(stream, keys, nodes), start=1)
        ]
        return cls(vocabulary, orders, targets)

    def probabilities(self, stream: Stream) -> Floats:
        """[positions] probability of each token given up to order - 1 tokens before it; 1 at each document's BOS."""
        result = np.full(len(stream.tokens), 1.0 / self.vocabulary)
        context = np.zeros(len(stream.tokens), dtype=np.int64)  # node of the n - 1 tokens before; at first the root's
        for n, order in enumerate(self.orders, start=1):
            known = context >= 0
            at = context[known]
            node = np.full(len(stream.tokens), -1, dtype=np.int64)
            node[known] = _find(order.keys, at * self.vocabulary + stream.tokens[known])
            own = np.zeros(len(at))
            found = node[known] >= 0
            own[found] = order.discounted[node[known][found]]
            total, lower = order.total[at], result[known]
            seen = total > 0  # a context that only ever ended a cut document says nothing: keep the lower order
            result[known] = np.where(seen, own / np.where(seen, total, 1.0) + order.spare[at] * lower, lower)
            context = np.where(stream.age >= n, np.concatenate([[-1], node[:-1]]), -1)
        result[stream.age == 0] = 1.0
        return result

    def bits(self, documents: Sequence[NDArray[np.integer]]) -> Floats:
        """[documents] -log2 probability of every token after BOS, END included, of documents of BOS t1 .. tn END."""
        stream = Stream.of(documents)
        return -np.add.reduceat(np.log2(self.probabilities(stream)), np.flatnonzero(stream.age == 0))


def _build_trie(stream: Stream, vocabulary: int, order: int) -> tuple[list[Ints], list[Ints]]:
    """keys of each order, and the node [positions] of the n-gram of that order that ends at each position, or -1."""
    keys, nodes = [np.arange(vocabulary, dtype=np.int64)], [stream.tokens]
    for n in range(2, order + 1):
        long_enough = stream.age >= n - 1
        prefix = np.concatenate([[-1], nodes[-1][:-1]])[long_enough]
        unique, inverse = np.unique(prefix * vocabulary + stream.tokens[long_enough], return_inverse=True)
        node = np.full(len(stream.tokens), -1, dtype=np.int64)
        node[long_enough] = inverse
        keys.append(unique)
        nodes.append(node)
    return keys, nodes


def _adjusted_counts(stream: Stream, keys: list[Ints], nodes: list[Ints]) -> list[Ints]:
    """For each order the counts that Kneser-Ney smooths.

    The highest order has plain counts; below, an n-gram counts the distinct tokens seen before it. One that starts with
    BOS has nothing before it and keeps its plain count.
    """
    result = []
    for n in range(1, len(keys) + 1):
        target = stream.age >= max(n - 1, 1)  # BOS is nobody's target
        plain = np.bincount(nodes[n - 1][target], minlength=len(keys[n - 1]))
        if n == len(keys):
            result.append(plain)
            continue
        longer = stream.age >= n
        suffix = np.full(len(keys[n]), -1, dtype=np.int64)
        suffix[nodes[n][longer]] = nodes[n - 1][longer]
        distinct = np.bincount(suffix, minlength=len(keys[n - 1]))
        result.append(np.where(distinct > 0, distinct, plain))
    return result


def _smooth(keys: Ints, counts: Ints, contexts: int, vocabulary: int) -> Order:
    discounts = _discounts(counts)
    discount = discounts[np.minimum(counts, 3)]
    context = keys // vocabulary
    total = np.bincount(context, weights=counts, minlength=contexts).astype(np.float64)
    freed = np.bincount(context, weights=discount, minlength=contexts)
    spare = np.divide(freed, total, out=np.zeros(contexts), where=total > 0)
    return Order(keys, counts - discount, total, spare)


def _discounts(counts: Ints) -> Floats:
    """[4] what to take off counts 0, 1, 2 and 3 or more; equations 26 of Chen & Goodman."""
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(np.float64)
    if (n[1:5] == 0).any():
        return np.array([0.0, *FALLBACK_DISCOUNTS])
    y = n[1] / (n[1] + 2 * n[2])
    estimated = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
    usable = [
        d if 0 <= d <= k else fallback
        for k, (d, fallback) in enumerate(zip(estimated, FALLBACK_DISCOUNTS, strict=True), 1)
    ]
    return np.array([0.0, *usable])


def _find(keys: Ints, wanted: Ints) -> Ints:
    """Index in sorted `keys` of each wanted key, -1 where it isn't there."""
    if len(keys) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[index] == wanted, index, -1)
