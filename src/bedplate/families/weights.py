"""Two-way tables between our parameters' names and a checkpoint's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bedplate.errors import WeightsError

Convert = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""Tensors of one side -> those of the other, in the order of the line's names. Works on meta tensors too."""


@dataclass(frozen=True)
class Line:
    """Parameters of ours that together say what tensors of a checkpoint say. `{i}` stands for the block's number.

    theirs: the names that we write; older: other spellings of all of them that we read. to_ours, to_theirs: how the
    tensors are turned into each other, None where one is the other. optional: a checkpoint may lack them, and to_ours
    is then given none.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    older: tuple[tuple[str, ...], ...] = ()
    to_ours: Convert | None = None
    to_theirs: Convert | None = None
    optional: bool = False

    def numbered(self, i: int) -> Line:
        """The line of block i."""

        def named(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name.replace("{i}", str(i)) for name in names)

        older = tuple(map(named, self.older))
        return replace(self, ours=named(self.ours), theirs=named(self.theirs), older=older)

    @property
    def spellings(self) -> tuple[tuple[str, ...], ...]:
        """The names that we write, then the older ones."""
        return (self.theirs, *self.older)

    def read(self, stored: Sequence[Tensor]) -> Sequence[Tensor]:
        """Their tensors -> ours."""
        return stored if self.to_ours is None else [_alone(t) for t in self.to_ours(stored)]

    def written(self, parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        """Our tensors -> theirs."""
        return parameters if self.to_theirs is None else [t.contiguous() for t in self.to_theirs(parameters)]


def Map(ours: str, theirs: str, older: Sequence[str] = ()) -> Line:  # noqa: N802  # a record's name in every table
    """One of ours that is one of theirs, as it is; older: other spellings that we read."""
    return Line((ours,), (theirs,), tuple((name,) for name in older))


def transposed(ours: str, theirs: str, older: Sequence[str] = ()) -> Line:
    """[out, in] here, [in, out] there (GPT-2's Conv1D)."""
    line = Map(ours, theirs, older)
    return Line(line.ours, line.theirs, line.older, _transpose, _transpose)


def _transpose(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [t.t() for t in tensors]


def fused(
    ours: Sequence[str], theirs: str, sizes: Sequence[int], older: Sequence[str] = (), *, transpose: bool = False
) -> Line:
    """Several of ours, with `sizes` rows, that are one tensor there: ours one below the other, then transposed where
    it says so."""

    def to_ours(stored: Sequence[Tensor]) -> Sequence[Tensor]:
        return (stored[0].t() if transpose else stored[0]).split(list(sizes))

    def to_theirs(parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        joined = torch.cat(list(parameters))
        return [joined.t() if transpose else joined]

    return Line(tuple(ours), (theirs,), tuple((name,) for name in older), to_ours, to_theirs)


def interleaved(ours: Sequence[str], theirs: str, heads: int, older: Sequence[str] = ()) -> Line:
    """Several of ours with as many rows each that are one tensor there, joined head by head: the rows of the first
    head of each of ours, then those of the second (GPT-NeoX's queries, keys and values)."""

    def to_ours(stored: Sequence[Tensor]) -> Sequence[Tensor]:
        return [t.flatten(0, 1) for t in stored[0].unflatten(0, (heads, len(ours), -1)).unbind(1)]

    def to_theirs(parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        return [torch.stack([t.unflatten(0, (heads, -1)) for t in parameters], 1).flatten(0, 2)]

    return Line(tuple(ours), (theirs,), tuple((name,) for name in older), to_ours, to_theirs)


def stacked(ours: str, theirs: Sequence[str], older: Sequence[Sequence[str]] = ()) -> Line:
    """One of ours [E, ...] whose E parts are tensors of their own there (experts)."""
    return Line(
        (ours,), tuple(theirs), tuple(map(tuple, older)), lambda stored: [torch.stack(list(stored))],
        lambda parameters: list(parameters[0].unbind(0)),
    )  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A family's lines, and names in checkpoints that have no parameter of ours. Of two lines for one parameter the
    later counts, so that a family can say in what it differs from another.

    ignored: they say nothing (buffers that are computed). carried: not computed with, but kept and written back, so
    that a model loses nothing by passing through. left_out: beginnings of names that are dropped, which whoever reads
    the checkpoint has to say.
    """

    maps: Sequence[Line]
    ignored: Sequence[str] = field(default_factory=tuple)
    carried: Sequence[Line] = field(default_factory=tuple)
    left_out: tuple[str, ...] = ()

    def lines(self, ours: Iterable[str], layers: int) -> list[Line]:
        """The lines of these parameters. Raises WeightsError for a parameter that no line names, or a line of which
        only a part is there."""
        ours = list(ours)
        there = set(ours)
        expanded = [
            m.numbered(i) for m in self.maps for i in (range(layers) if any("{i}" in name for name in m.ours) else (0,))
        ]
        by_name = {name: line for line in expanded for name in line.ours}
        missing = [name for name in ours if name not in by_name]
        if missing:
            raise WeightsError(f"the weight table names no counterpart of {', '.join(missing)}")
        used = list({id(by_name[name]): by_name[name] for name in ours}.values())
        if partial := [name for line in used for name in line.ours if name not in there]:
            raise WeightsError(f"the weight table joins parameters of which {', '.join(partial)} is missing")
        return used

    def pairs(self, ours: Iterable[str], layers: int) -> dict[str, tuple[str, ...]]:
        """Our names that the model has -> their spellings, the one that we write first. Of a tensor that is several
        parameters here, or several there that are one here, what comes back is a name to show, not one to look up:
        see `plain`.

        Raises WeightsError for a parameter that no line names.
        """
        return {
            name: tuple(_shown(spelling, place, len(line.ours)) for spelling in line.spellings)
            for line in self.lines(ours, layers)
            for place, name in enumerate(line.ours)
        }

    def plain(self, ours: Iterable[str], layers: int) -> set[str]:
        """Those of these parameters that are one tensor of the checkpoint each, as they are."""
        return {line.ours[0] for line in self.lines(ours, layers) if line.to_ours is None}

    def match(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        found: Mapping[str, tuple[int, ...]],
        layers: int,
        where: str,
        tied: Mapping[str, str],
    ) -> Matching:
        """Our parameters -> the checkpoint's tensors, every tensor accounted for.

        shapes: ours; found: the checkpoint's; tied: our names that a tied model lacks -> the parameter that stands for
        them (a checkpoint may hold copies, see `copies`). Raises WeightsError naming all that is missing, extra or
        misshapen.
        """
        lines = self.lines(shapes, layers)
        chosen = [(line, _present(line, found)) for line in lines]
        copies = self.copies(found, layers, tied)
        ignored = {name.format(i=i) for name in self.ignored for i in range(layers)}
        used = {name for _, names in chosen for name in names} | set(self.kept(found).values())
        missing = [name for _, names in chosen for name in names if name not in found]
        extra = sorted(set(found) - used - copies.keys() - ignored - set(self.dropped(found)))
        misshapen = [
            f"{name} is {list(found[name])} where the configuration says {list(shape)}"
            for line, names in chosen
            if names
            for name, shape in zip(names, _their_shapes(line, shapes), strict=True)
            if name in found and tuple(found[name]) != tuple(shape)
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
        return Matching(chosen)

    def stored(self, parameters: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
        """Our parameters -> the checkpoint's tensors, by the names that we write."""
        return {
            name: tensor
            for line in self.lines(parameters, layers)
            for name, tensor in zip(line.theirs, line.written([parameters[o] for o in line.ours]), strict=True)
        }

    def copies(self, found: Iterable[str], layers: int, tied: Mapping[str, str]) -> dict[str, str]:
        """Tensors in the checkpoint that a tied model lacks -> our parameter that they must be equal to."""
        names = {t: kept for ours, kept in tied.items() for t in self.pairs([ours], layers)[ours]}
        return {t: names[t] for t in found if t in names}

    def kept(self, found: Iterable[str]) -> dict[str, str]:
        """The carried tensors that the checkpoint has: the name that we write -> the one it has there."""
        there = set(found)
        spelt = {m.theirs[0]: next((t for (t,) in m.spellings if t in there), None) for m in self.carried}
        return {name: t for name, t in spelt.items() if t is not None}

    def dropped(self, found: Iterable[str]) -> list[str]:
        """The tensors of the checkpoint that are left out."""
        return sorted(t for t in found if self.left_out and t.startswith(self.left_out))


@dataclass(frozen=True)
class Matching:
    """Which tensors of a checkpoint each line is."""

    chosen: Sequence[tuple[Line, tuple[str, ...]]]

    @property
    def names(self) -> dict[str, str]:
        """Our parameter -> the checkpoint's tensor, for those that are one, as it is."""
        return {line.ours[0]: names[0] for line, names in self.chosen if line.to_ours is None}

    def read(self, reader: Callable[[Mapping[str, str]], Iterable[tuple[str, Tensor]]]) -> Iterator[tuple[str, Tensor]]:
        """(our name, tensor) of everything. reader: (key -> name in the checkpoint) -> (key, tensor)."""
        dtype = None
        for name, tensor in reader(self.names):
            dtype = dtype or tensor.dtype
            yield name, tensor
        for line, names in self.chosen:
            if line.to_ours is not None:
                stored = dict(reader({name: name for name in names}))
                made = line.read([stored[name] for name in names])
                # What no tensor says is made in the format of the rest.
                yield from zip(line.ours, made if names else [t.to(dtype) for t in made], strict=True)


def _present(line: Line, found: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """The spelling that the checkpoint has most of; where it has none, the one that we write, or nothing."""
    if line.optional and not any(name in found for names in line.spellings for name in names):
        return ()
    return max(line.spellings, key=lambda names: sum(name in found for name in names))


def _alone(tensor: Tensor) -> Tensor:
    """In memory of its own: a part of a tensor would keep the whole."""
    whole = tensor.contiguous()
    return whole.clone() if whole.untyped_storage().nbytes() > whole.nbytes else whole


def _their_shapes(line: Line, shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[int, ...]]:
    if line.to_theirs is None:
        return [shapes[name] for name in line.ours]
    empty = [torch.empty(shapes[name], device="meta") for name in line.ours]
    return [tuple(t.shape) for t in line.to_theirs(empty)]


def _shown(names: tuple[str, ...], place: int, ours: int) -> str:
    if len(names) > 1:
        return f"{names[0]} and {len(names) - 1} more"
    return names[0] if ours == 1 else f"{names[0]} (part {place + 1} of {ours})"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
