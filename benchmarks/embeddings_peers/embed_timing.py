"""What every contestant of the embeddings benchmark shares: the clock and the report.

A worker builds an `embed(texts) -> float32 [N, D]` and hands it to `report`. This needs torch, numpy and the standard
library alone, so it runs unchanged in each peer's own environment: the load watch comes from Bedplate's source folder,
where that one file imports nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
from bedplate.machine.load import LoadWatch

Embed = Callable[[Sequence[str]], np.ndarray]


def arguments(variants: tuple[str, ...]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", choices=variants, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="a JSON list")
    parser.add_argument("--passes", type=int, required=True, help="timed passes over all texts; the median counts")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves PyTorch's own choice")
    parser.add_argument("--vectors", type=Path, required=True, help="where the vectors go, to be compared")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    return options


def report(contestant: str, embed: Embed, options: argparse.Namespace, **versions: str) -> None:
    """Time `embed` and print one line of JSON on standard output."""
    chosen = json.loads(options.texts.read_text(encoding="utf-8"))
    embed(chosen[: max(32, len(chosen) // 8)])  # warms allocators and kernels
    watch, seconds = LoadWatch(), []
    for _ in range(options.passes):
        start = time.perf_counter()
        vectors = embed(chosen)
        seconds.append(time.perf_counter() - start)
    load = watch.load()
    np.save(options.vectors, vectors)
    print(
        json.dumps(
            {
                "contestant": contestant,
                "variant": options.variant,
                "texts_per_s": len(chosen) / sorted(seconds)[len(seconds) // 2],
                "seconds": seconds,
                "foreign_share": None if load is None else load.foreign + load.stolen,
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "threads": torch.get_num_threads(),
                "versions": {"python": platform.python_version(), "torch": torch.__version__, **versions},
                "wait_policy": os.environ.get("OMP_WAIT_POLICY"),
            }
        )
    )
