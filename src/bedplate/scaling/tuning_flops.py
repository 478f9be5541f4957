"""Operations of passes over a net of which only a part is trained.

The rule of `scaling.flops`, taken apart: 2 operations for each matrix number and place forward; 2 to carry the gradient
back through the matrix, where anything before it is trained; 2 for the matrix's own gradient, where it is trained
itself. Attention's two products: 4 * length * width of all heads a layer and place forward, twice that backward where
the gradient reaches the layer. With everything trained it is `training_flops_per_token`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn

from bedplate.nn.parameters import parameter_table
from bedplate.scaling.flops import attention_layers, runs, state_flops, uses

METHOD = (
    "2 a matrix number and place forward, 2 back where something before it is trained, 2 where it is trained; "
    "attention 4 * length * width, twice that back; padding included"
)


@dataclass(frozen=True)
class PassFlops:
    """Operations of a pass: for each place of a row, each pair of places of a row, and each row."""

    place: float
    pair: float
    row: float

    def of(self, rows: int, length: int) -> float:
        """Of a pass over `rows` rows of `length` places."""
        return rows * (length * (self.place + self.pair * length) + self.row)


@dataclass(frozen=True)
class NetFlops:
    """What a pass forward costs, and one forward and backward."""

    forward: PassFlops
    training: PassFlops


def net_flops(net: nn.Module, head: Literal["place", "row"]) -> NetFlops:
    """Count a net that has a `head_weight`, as its parameters now require gradients.

    head: whether the head is applied at each place (a language model) or once a row (a classifier). Parameters are
    taken to stand in the order in which they are used; maps side by side count as one after another.
    """
    head_weight = cast(Tensor, net.head_weight)
    table, times = parameter_table(net), uses(net)
    # Of a block that is run many times only the first run may have nothing that is trained before it.
    repeated = tuple(prefix for prefix, n in runs(net).items() if n > 1)
    again = any(p.requires_grad for name, p in net.named_parameters() if name.startswith(repeated))
    state = float(state_flops(net))
    forward = training = 0.0
    trained: list[int] = []
    place: dict[str, int] = {}
    for i, (name, p) in enumerate(net.named_parameters()):
        place[name] = i
        if table[name].role == "hidden" and times[name]:
            count = 2 * p.numel() * times[name]
            first = 1 / times[name] if name.startswith(repeated) else 1.0
            before = first * bool(trained) + (1 - first) * (bool(trained) or again)
            forward += count
            training += count * (1 + before + p.requires_grad)
        if p.requires_grad and table[name].role != "head" and times[name]:
            trained.append(i)
    forward, training = forward + state, training + state * (3 if trained else 1)
    begins = min(trained, default=len(place))
    on_head = 2.0 * head_weight.numel()
    training_head = on_head * (1 + bool(trained) + head_weight.requires_grad)
    pair = training_pair = 0.0
    for path, layer, wide, times_run in attention_layers(net):
        maps = [name for name, _ in layer.named_children() if name != "o"]
        inputs = [i for name, i in place.items() if name.startswith(tuple(f"{path}.{leaf}." for leaf in maps))]
        width = 4.0 * wide * times_run
        pair += width
        training_pair += width * (3 if begins <= max(inputs) else 1)
    if head == "place":
        return NetFlops(
            PassFlops(forward + on_head, pair, 0.0), PassFlops(training + training_head, training_pair, 0.0)
        )
    return NetFlops(PassFlops(forward, pair, on_head), PassFlops(training, training_pair, training_head))
