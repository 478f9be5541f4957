"""x W^T + b by the fastest exact kernel that the machine has.

In fp32 on a CPU torch takes MKL, which on processors that aren't Intel's leaves the widest vector units idle; oneDNN,
which torch carries too and takes for bf16, is then about twice as fast. Both sum in fp32.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

# Below so many rows setting oneDNN up costs as much as it saves, unless the matrix is as large as a head.
ROWS = 16
LARGE = 1 << 22


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [..., in], weight [out, in], bias [out], all of one dtype -> [..., out].

    With gradients on it is torch's own product, which knows its derivative.
    """
    if (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and (x.numel() >= ROWS * x.shape[-1] or weight.numel() >= LARGE)
        and _has_onednn()
    ):
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return out
    return F.linear(x, weight, bias)


@cache
def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
