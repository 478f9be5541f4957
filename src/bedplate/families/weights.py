"""Two-way tables between our parameters' names and a checkpoint's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bedplate.errors import WeightsError


@dataclass(frozen=True)
class Map:
    """One line of a table: our name, theirs (the spelling that we write), and older spellings that we read.

    `{i}` stands for the block's number.
    """

    ours: str
    theirs: str
    older: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A family's lines, and names in checkpoints that have no parameter of ours.

    ignored: they say nothing (buffers that are computed). carried: not computed with, but kept and written back, so
    that a model loses nothing by passing through. left_out: beginnings of names that are dropped, which whoever reads
    the checkpoint has to say.
    """

    maps: Sequence[Map]
    ignored: Sequence[str] = field(default_factory=tuple)
    carried: Sequence[Map] = field(default_factory=tuple)
    left_out: tuple[str, ...] = ()

    def pairs(self, ours: Iterable[str], layers: int) -> dict[str, tuple[str, ...]]:
        """Our names that the model has -> their spellings, the one that we write first.

        Raises WeightsError for a parameter that no line names.
        """
        expanded = {
            m.ours.format(i=i): tuple(t.format(i=i) for t in (m.theirs, *m.older))
            for m in self.maps
            for i in (range(layers) if "{i}" in m.ours else (0,))
        }
        ours = list(ours)
        missing = [name for name in ours if name not in expanded]
        if missing:
            raise WeightsError(f"the weight table names no counterpart of {', '.join(missing)}")
        return {name: expanded[name] for name in ours}

    def match(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        found: Mapping[str, tuple[int, ...]],
        layers: int,
        where: str,
        tied: Mapping[str, str],
    ) -> dict[str, str]:
        """Our parameter -> the checkpoint's tensor, every tensor accounted for.

        shapes: ours; found: the checkpoint's; tied: our names that a tied model lacks -> the parameter that stands for
        them (a checkpoint may hold copies, see `copies`). Raises WeightsError naming all that is missing, extra or
        misshapen.
        """
        pairs = self.pairs(shapes, layers)
        chosen = {ours: next((t for t in theirs if t in found), None) for ours, theirs in pairs.items()}
        copies = self.copies(found, layers, tied)
        ignored = {name.format(i=i) for name in self.ignored for i in range(layers)}
        used = {t for t in chosen.values() if t is not None} | set(self.kept(found).values())
        missing = [pairs[ours][0] for ours, t in chosen.items() if t is None]
        extra = sorted(set(found) - used - copies.keys() - ignored - set(self.dropped(found)))
        misshapen = [
            f"{t} is {list(found[t])} where the configuration says {list(shapes[ours])}"
            for ours, t in chosen.items()
            if t is not None and tuple(found[t]) != tuple(shapes[ours])
        ]
        problems = [
            f"{what}: {_some(names)}"
            for what, names in (("missing", missing), ("unknown", extra), ("misshapen", misshapen))
            if names
        ]
        if problems:
            raise WeightsError(
                f"{where}: the weights don't fit the configuration; " + "; ".join(problems),
                "Check that config.json and the weights come from the same model.",
            )
        return {ours: t for ours, t in chosen.items() if t is not None}

    def copies(self, found: Iterable[str], layers: int, tied: Mapping[str, str]) -> dict[str, str]:
        """Tensors in the checkpoint that a tied model lacks -> our parameter that they must be equal to."""
        names = {t: kept for ours, kept in tied.items() for t in self.pairs([ours], layers)[ours]}
        return {t: names[t] for t in found if t in names}

    def kept(self, found: Iterable[str]) -> dict[str, str]:
        """The carried tensors that the checkpoint has: the name that we write -> the one it has there."""
        there = set(found)
        spelt = {m.theirs: next((t for t in (m.theirs, *m.older) if t in there), None) for m in self.carried}
        return {name: t for name, t in spelt.items() if t is not None}

    def dropped(self, found: Iterable[str]) -> list[str]:
        """The tensors of the checkpoint that are left out."""
        return sorted(t for t in found if self.left_out and t.startswith(self.left_out))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
