"""How deeply a page's elements nest, where that may matter: extraction takes time by the square of it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree

_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]*)")
_VOID_TAGS = "area base br col embed hr img input link meta source track wbr"
_VOID = frozenset(_VOID_TAGS.split())


def deeper_than(limit: int, page: str, tree: HTMLTree) -> bool:
    """Whether an element of the page has more than `limit` others around it. Costs next to nothing on pages with fewer
    tags than that, which are nearly all where the limit is in the thousands."""
    if _few_tags(limit, page):
        return False
    stack: list[tuple[Any, int]] = [(tree.document, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > limit:
            return True
        child = node.first_element_child
        while child is not None:
            stack.append((child, depth + 1))
            child = child.next_element_sibling
    return False


def seems_deeper_than(limit: int, page: str) -> bool:
    """A cheap look at the tags alone, that may err either way."""
    if _few_tags(limit, page):
        return False
    open_elements: Counter[str] = Counter()
    depth = 0
    for end, name in _TAG.findall(page):
        if name in _VOID:
            continue
        if not end:
            open_elements[name] += 1
            depth += 1
            if depth > limit:
                return True
        elif open_elements[name]:
            open_elements[name] -= 1
            depth -= 1
    return False


def _few_tags(limit: int, page: str) -> bool:
    tags = page.count("<")  # several times as fast as to count what has two characters
    return tags <= limit or tags - page.count("</") <= limit
