"""What hangs together: connected components of documents, from links that come a file at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]

BLOCK = 1 << 18
"""Links that are worked on at once."""
FILE = 1 << 19
"""Links that are held before they are written: 16 bytes each, and three times that while they are sorted."""


class Components:
    """Components over known nodes, fewer than 2**32: 12 bytes for each, whatever the number of links."""

    def __init__(self, nodes: I64) -> None:
        """nodes: every number that a link will have, sorted, each once."""
        self.nodes = nodes
        self._parent = np.arange(len(nodes), dtype=np.uint32)

    def link(self, ones: I64, others: I64) -> None:
        """Join ones[i] with others[i]. In whatever order links come, the components are the same."""
        a = np.searchsorted(self.nodes, ones).astype(np.uint32)
        b = np.searchsorted(self.nodes, others).astype(np.uint32)
        while len(a):
            a, b = self._roots(a), self._roots(b)
            apart = a != b
            a, b = a[apart], b[apart]
            # A root hangs itself below the least root that it is linked with. Parents are less than children, so no
            # circle arises; what is linked still ends up apart where a root had several, hence again.
            np.minimum.at(self._parent, np.maximum(a, b), np.minimum(a, b))

    def labels(self) -> U32:
        """For each node, the place of the least node that it hangs together with: uint32 [nodes]."""
        for first in range(0, len(self.nodes), BLOCK):
            here = slice(first, first + BLOCK)
            self._parent[here] = self._roots(self._parent[here])
        return self._parent

    def _roots(self, at: U32) -> U32:
        # Every node is hung below its grandparent until that changes nothing. A long chain can only have come of one
        # call of `link`, whose nodes are all here, so that its length halves each time.
        while True:
            up = self._parent[at]
            top = self._parent[up]
            if np.array_equal(up, top):
                return up
            self._parent[at] = top


class LinkWriter:
    """Writes links as `links-00000.npy` and so on, int64 [E, 2], each once within a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[I64] = []
        self._count = self._files = 0
        self.written = 0
        """Links so far."""

    def add(self, links: I64) -> None:
        """Some links [E, 2]."""
        self._held.append(links)
        self._count += len(links)
        if self._count >= FILE:
            self.flush()

    def flush(self) -> None:
        """Write what is held. Call it at the end."""
        if self._count:
            links = unique(np.concatenate(self._held))
            np.save(self._folder / f"links-{self._files:05d}.npy", links)
            self._files += 1
            self.written += len(links)
        self._held, self._count = [], 0


def link_files(folders: Sequence[Path]) -> list[Path]:
    """The files of links in folders, in order."""
    return [path for folder in folders for path in sorted(folder.glob("links-*.npy"))]


def components(files: Sequence[Path]) -> tuple[I64, U32]:
    """The nodes of links (sorted), and for each the place of the least one of its component.

    files: .npy of links, int64 [E, 2]. Memory: 12 bytes for each document that has a link, and up to 24 while they are
    collected.
    """
    held: list[I64] = []  # each at least twice as long as the next, so that few are merged often
    for links in _blocks(files):
        held.append(_distinct([links.reshape(-1)]))
        while len(held) > 1 and len(held[-2]) < 2 * len(held[-1]):
            held.append(_distinct([held.pop(), held.pop()]))
    found = Components(_distinct(held))
    for links in _blocks(files):
        found.link(links[:, 0], links[:, 1])
    return found.nodes, found.labels()


def _distinct(arrays: list[I64]) -> I64:
    """The numbers that are in any of some arrays, sorted; the list is emptied before they are, to need no more room."""
    if len(arrays) == 1 and (arrays[0][1:] > arrays[0][:-1]).all():
        return arrays.pop()
    numbers = np.concatenate([*arrays, np.empty(0, dtype=np.int64)])
    arrays.clear()
    numbers.sort()
    new = np.ones(len(numbers), dtype=bool)
    np.not_equal(numbers[1:], numbers[:-1], out=new[1:])
    return numbers[new]


def unique(links: I64) -> I64:
    """Links [E, 2], each once, in order."""
    links = links[np.lexsort((links[:, 1], links[:, 0]))]
    new = np.ones(len(links), dtype=bool)
    new[1:] = (links[1:] != links[:-1]).any(axis=1)
    return links[new]


def _blocks(files: Sequence[Path]) -> Iterable[I64]:
    for path in files:
        links = np.load(path, mmap_mode="r")
        for first in range(0, len(links), BLOCK):
            yield np.array(links[first : first + BLOCK])
