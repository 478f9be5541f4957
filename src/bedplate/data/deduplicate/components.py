"""What hangs together: connected components of documents, from links that come a file at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

BLOCK = 1 << 18
"""Links that are worked on at once."""


class Components:
    """Components over known nodes: 16 bytes for each, whatever the number of links."""

    def __init__(self, nodes: I64) -> None:
        """nodes: every number that a link will have, sorted, each once."""
        self.nodes = nodes
        self._parent = np.arange(len(nodes), dtype=np.int64)

    def link(self, ones: I64, others: I64) -> None:
        """Join ones[i] with others[i]. In whatever order links come, the components are the same."""
        a, b = np.searchsorted(self.nodes, ones), np.searchsorted(self.nodes, others)
        while len(a):
            a, b = self._roots(a), self._roots(b)
            apart = a != b
            a, b = a[apart], b[apart]
            # A root hangs itself below the least root that it is linked with. Parents are less than children, so no
            # circle arises; what is linked still ends up apart where a root had several, hence again.
            np.minimum.at(self._parent, np.maximum(a, b), np.minimum(a, b))

    def labels(self) -> I64:
        """For each node, the place of the least node that it hangs together with: int64 [nodes]."""
        for first in range(0, len(self.nodes), BLOCK):
            here = slice(first, first + BLOCK)
            self._parent[here] = self._roots(self._parent[here])
        return self._parent

    def _roots(self, at: I64) -> I64:
        # Every node is hung below its grandparent until that changes nothing. A long chain can only have come of one
        # call of `link`, whose nodes are all here, so that its length halves each time.
        while True:
            up = self._parent[at]
            top = self._parent[up]
            if np.array_equal(up, top):
                return up
            self._parent[at] = top


def components(files: Sequence[Path]) -> tuple[I64, I64]:
    """The nodes of links (sorted), and for each the place of the least one of its component.

    files: .npy of links, int64 [E, 2]. Memory: 16 bytes for each document that has a link, and about as much again
    while they are collected.
    """
    nodes = np.empty(0, dtype=np.int64)
    for links in _blocks(files):
        nodes = np.union1d(nodes, links)
    found = Components(nodes)
    for links in _blocks(files):
        found.link(links[:, 0], links[:, 1])
    return nodes, found.labels()


def unique(links: I64) -> I64:
    """Links [E, 2], each once, in order."""
    links = links[np.lexsort((links[:, 1], links[:, 0]))]
    new = np.ones(len(links), dtype=bool)
    new[1:] = (links[1:] != links[:-1]).any(axis=1)
    return links[new]


def _blocks(files: Sequence[Path]) -> Iterable[I64]:
    for path in files:
        links = np.load(path)
        for first in range(0, len(links), BLOCK):
            yield links[first : first + BLOCK]
