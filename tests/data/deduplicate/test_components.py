"""Components are those of a plain union-find, in whatever order links come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.data.deduplicate import components as module
from bedplate.data.deduplicate.components import Components, components, unique

LINKS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=120)


def plain(links):
    """Union-find as a textbook has it: {node: least node of its component}."""
    parent = {node: node for link in links for node in link}

    def root(node):
        while parent[node] != node:
            node = parent[node]
        return node

    for a, b in links:
        a, b = root(a), root(b)
        parent[max(a, b)] = min(a, b)
    return {node: root(node) for node in parent}


@given(LINKS, st.randoms(use_true_random=False), st.integers(1, 20), st.integers(1, 7))
@settings(deadline=None)
def test_are_those_of_plain_union_find(tmp_path_factory, links, random, per_file, block):
    folder = tmp_path_factory.mktemp("links")
    shuffled = [link[::-1] if random.random() < 0.5 else link for link in links]
    random.shuffle(shuffled)
    files = []
    for i in range(0, max(len(shuffled), 1), per_file):
        files.append(folder / f"{i:05d}.npy")
        np.save(files[-1], np.array(shuffled[i : i + per_file], dtype=np.int64).reshape(-1, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        nodes, labels = components(files)
    assert dict(zip(nodes.tolist(), nodes[labels].tolist(), strict=True)) == plain(links)


@pytest.mark.parametrize("shape", ["chain", "backwards", "star", "comb"])
def test_long_shapes_are_one_component(shape):
    n = 200_000
    nodes = np.arange(n)
    links = {
        "chain": (nodes[:-1], nodes[1:]),
        "backwards": (nodes[:0:-1], nodes[-2::-1]),
        "star": (np.full(n - 1, n - 1), nodes[:-1]),
        "comb": (nodes[:-2], nodes[2:]),
    }[shape]
    found = Components(nodes)
    found.link(*links)
    assert len(np.unique(found.labels())) == (2 if shape == "comb" else 1)


@given(LINKS)
def test_unique_links_are_a_sorted_set(links):
    made = unique(np.array(links, dtype=np.int64).reshape(-1, 2))
    assert [tuple(link) for link in made.tolist()] == sorted(set(links))
