"""What a forward pass hands to every layer beside its input."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from bedplate.nn.cache import Cache
from bedplate.nn.mask import Lowered
from bedplate.nn.rope import Rope
from bedplate.nn.router import RoutingNotes


@dataclass
class Context:
    """rotary: the tables of each distinct Rope in the stack. masks: the mask as lowered for each distinct window.
    bias [1, heads, T, S]: learned relative positions, added to the scores of the layers that want it. valid, segments
    [B, T]: of the positions now computed, which exist and whose document each is, None where all exist and are one's.
    memory [B, M, width]: an encoder's hidden states, which cross-attention reads (None while its cache has them);
    memory_mask: which of them exist. routing: where layers of experts note what their routers did, if that is wanted.
    """

    rotary: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    masks: dict[int | None, Lowered] = field(default_factory=dict)
    cache: Cache | None = None
    bias: Tensor | None = None
    valid: Tensor | None = None
    segments: Tensor | None = None
    memory: Tensor | None = None
    memory_mask: Lowered | None = None
    routing: RoutingNotes | None = None


class ContextLayer(nn.Module):
    """A layer that reads the context; the stack gives it its places there.

    layer: its number in the cache. position: the rotation that it wants; rope: that rotation's number in
    `Context.rotary`. window: the mask that it wants of `Context.masks`, where it `attends` to its own stack.
    """

    layer: int = 0
    position: Rope | None = None
    rope: int | None = None
    window: int | None = None
    attends: bool = True

    @property
    def cache_width(self) -> int:
        """Numbers that the cache keeps of one position for this layer; 0 where what it keeps doesn't grow."""
        return 0
