"""The linear maps of a checkpoint, which are all that PEFT knows, and ours that each of them is.

A map there may be several of ours (Phi-3's `qkv_proj`), its rows in another order (GPT-NeoX's, head by head), and it
may be turned round (GPT-2's Conv1D, whose delta PEFT keeps as any other map's). A delta of one is then deltas of ours
that share A, and deltas of ours are one whose A is theirs one below the other and whose B is block diagonal:

    y = x W^T + s (x A^T) B^T    with    A = [A_q; A_k; A_v]    and    B = diag(B_q, B_k, B_v), rows as they lie there
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bedplate.deltas.lora import LoraLinear, linear_paths
from bedplate.deltas.names import Adaptable, owner, parameter_lines
from bedplate.errors import WeightsError
from bedplate.families.weights import Convert, Line


@dataclass(frozen=True)
class Place:
    """A linear map of the checkpoint.

    theirs: its path, as we write it and then in older spellings; ours: our maps in it; sizes: how many rows each has;
    rows: which row of ours, one below the other, each of its rows is; turned: it lies there as [in, out].
    """

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    sizes: tuple[int, ...]
    rows: Tensor
    turned: bool

    @property
    def path(self) -> str:
        """As we write it."""
        return self.theirs[0]

    def joined(self, layers: Mapping[str, LoraLinear]) -> Joined:
        """The deltas of ours, of which some may be missing, as one. Equal As (as those of a delta that came from
        there) stay one, so that what was read is written as it was."""
        there = {path: layers[path] for path in self.ours if path in layers}
        first, *others = there.values()
        scale = max((layer.scale for layer in there.values()), key=abs)
        shared = all(torch.equal(layer.lora_a, first.lora_a) for layer in others)
        a = first.lora_a if shared else torch.cat([layer.lora_a for layer in there.values()])
        b = a.new_zeros(sum(self.sizes), len(a))
        row = column = 0
        for path, size in zip(self.ours, self.sizes, strict=True):
            if (layer := there.get(path)) is not None:
                scaled = layer.lora_b if layer.scale == scale else layer.lora_b * (layer.scale / scale)
                b[row : row + size, column : column + scaled.shape[1]] = scaled
                column += 0 if shared else scaled.shape[1]
            row += size
        return Joined(a.detach().cpu().contiguous(), b.detach()[self.rows.to(b.device)].cpu().contiguous(), scale)

    def parted(self, b: Tensor) -> dict[str, Tensor]:
        """Its B [rows, rank] -> the B of each of ours."""
        stacked = torch.empty_like(b)
        stacked[self.rows] = b
        return dict(zip(self.ours, stacked.split(list(self.sizes)), strict=True))


@dataclass(frozen=True)
class Joined:
    """A delta of a checkpoint's map: a [rank, in], b [out, rank] and s."""

    a: Tensor
    b: Tensor
    scale: float


def places(model: Adaptable) -> list[Place]:
    """The checkpoint's linear maps that may have a delta."""
    return [place for place in _sorted_lines(model) if isinstance(place, Place)]


def module_paths(model: Adaptable) -> dict[str, str]:
    """Our paths of those linear maps -> the path that we write: what `add_lora` takes as `paths`. Maps that are one
    there have one path."""
    spelt = {ours: place.path for place in places(model) for ours in place.ours}
    spelt |= {owner(name): owner(line.theirs[0]) for line in unsayable(model) for name in line.ours}
    return {path: spelt[path] for path in linear_paths(model.net)}


def unsayable(model: Adaptable) -> list[Line]:
    """Lines of linear maps whose rows aren't rows of one map there: no PEFT folder can say a delta of those."""
    return [line for line in _sorted_lines(model) if isinstance(line, Line)]


def check_adaptable(model: Adaptable, paths: Iterable[str]) -> None:
    """Raises WeightsError for maps (our paths) of which no PEFT folder can say a delta, naming those that can have
    one: to be asked before a LoRA on them is trained."""
    otherwise = {owner(name): owner(line.theirs[0]) for line in unsayable(model) for name in line.ours}
    refused = list(dict.fromkeys(otherwise[path] for path in paths if path in otherwise))
    if refused:
        free = dict.fromkeys(place.path.rpartition(".")[2] for place in places(model))
        raise WeightsError(
            f"{', '.join(refused[:3])}: {model.config.model_type} stores these maps otherwise than as rows of one, and "
            "an adapter's folder can't say a delta of them",
            f"Adapt others: targets {', '.join(free)}."
            if free
            else "Fold the delta into its base (bedplate.deltas.merge.fold) and save the model.",
        )


def _sorted_lines(model: Adaptable) -> list[Place | Line]:
    """What each line of linear maps is: a place, or the line itself where it is none."""
    linear = set(linear_paths(model.net))
    # Blocks are alike: what a conversion does to rows is asked once.
    known: dict[tuple[Convert | None, tuple[int, ...]], tuple[Tensor, bool] | None] = {}
    found: list[Place | Line] = []
    for line in parameter_lines(model):
        paths = [owner(name) for name in line.ours if name.endswith(".weight") and owner(name) in linear]
        if not paths:
            continue
        sizes = tuple(model.net.get_submodule(path).out_features for path in paths)
        if (kind := (line.to_theirs, sizes)) not in known:
            known[kind] = _rows(line, sizes) if len(paths) == len(line.ours) else None
        if (layout := known[kind]) is None:
            found.append(line)
        else:
            theirs = tuple(dict.fromkeys(owner(name) for (name,) in line.spellings))
            found.append(Place(theirs, tuple(paths), sizes, *layout))
    return found


def _rows(line: Line, sizes: Sequence[int]) -> tuple[Tensor, bool] | None:
    """Which row of ours, one below the other, each row there is, and whether it is turned round; None where the line
    does anything else. Found by writing matrices of which every number is another."""
    total, columns = sum(sizes), 2 if sum(sizes) != 2 else 3
    numbers = torch.arange(total * columns).view(total, columns)
    try:
        written = line.written(numbers.split(list(sizes)))
    except RuntimeError:  # it does something with columns, of which there are too few
        return None
    if len(written) != 1 or sorted(written[0].shape) != sorted(numbers.shape):
        return None
    turned = written[0].shape[0] == columns
    there = written[0].t() if turned else written[0]
    rows = there[:, 0] // columns
    return (rows, turned) if torch.equal(there, numbers[rows]) else None
