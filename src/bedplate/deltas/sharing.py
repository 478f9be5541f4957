"""Nets that share their tensors: several adapters on one base cost only themselves."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

Net = TypeVar("Net", bound=nn.Module)


def sharing_copy(net: Net) -> Net:
    """Modules of their own around the very same parameters and buffers: what is attached to one isn't to the other."""
    tensors = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
    return copy.deepcopy(net, tensors)
