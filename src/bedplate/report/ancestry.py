"""An artefact's lineage as a tree on its page: from itself at the top back to the raw sources."""

from __future__ import annotations

from bedplate.ledger import Artefact
from bedplate.ledger.lineage import Ancestor, lineage
from bedplate.report.page import Branch

MOST_PARENTS = 40
"""Branches shown below one thing: a corpus may come from thousands of files."""


def ancestry(artefact: Artefact) -> Branch:
    """The lineage as branches. What is reached a second time by another way is named there and not unfolded again."""
    return _branch(lineage(artefact), set())


def _branch(ancestor: Ancestor, seen: set[str]) -> Branch:
    role = f"{ancestor.role}: " if ancestor.role else ""
    what = "raw source" if ancestor.kind == "raw" else ancestor.kind
    state = "" if ancestor.state in ("present", "raw") else ancestor.state.removeprefix("raw, ")
    again = ancestor.digest in seen and bool(ancestor.parents)
    remarks = [
        ancestor.remark,
        state,
        "as above" if again else "",
        f"digest {ancestor.digest[:12]}",
        str(ancestor.path),
    ]
    branch = Branch(f"{role}{ancestor.name} ({what})", ", ".join(remark for remark in remarks if remark))
    seen.add(ancestor.digest)
    if again:
        return branch
    branch.below = [_branch(parent, seen) for parent in ancestor.parents[:MOST_PARENTS]]
    if len(ancestor.parents) > MOST_PARENTS:
        branch.below.append(Branch(f"and {len(ancestor.parents) - MOST_PARENTS:,} more"))
    return branch
