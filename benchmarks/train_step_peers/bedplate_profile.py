"""Where the time of our training step goes, beside what the machine allows: matrix rate and memory bandwidth.

    python benchmarks/train_step.py profile [--variant eager|compiled] [--steps 5]

Times are torch.profiler's self times on the thread that trains, whose sum is the step; the products run on all threads
inside them. The floor of a product is its FLOPs at this machine's measured bf16 rate, the floor of the optimiser and of
clipping their least traffic at its measured copy bandwidth.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from bedplate_worker import VARIANTS, prepare_step, prepare_trainer
from step_timing import SHAPE, batches
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile

from bedplate.machine.load import LoadWatch
from bedplate.machine.measure import measured_matrix_rate, memory_bandwidth

HEAD = "head and loss: products"
LOSS = "head and loss: softmax and the rest"
ATTENTION = "attention: products"
SOFTMAX = "attention: softmax"
LINEAR = "linear maps: products"
CLIP = "gradient clipping"
ADAMW = "AdamW"
FUSED = "compiled, fused elementwise"
COPIES = "casts and copies"
ELEMENTWISE = "other elementwise and reductions"
REST = "dispatch, autograd and the rest"

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "mkldnn::_linear_pointwise")


@dataclass
class Group:
    """Self time in seconds and operations of one step."""

    seconds: float = 0.0
    flops: float = 0.0
    names: set[str] = field(default_factory=set)


def group_of(event: FunctionEventAvg) -> str:
    """Which row of the table an operation belongs to, by its name and the sizes of its inputs."""
    name, sizes = event.key, {size for shape in event.input_shapes or () if isinstance(shape, list) for size in shape}
    over_vocabulary = SHAPE.vocabulary in sizes and not name.startswith(("aten::_fused", "aten::_foreach"))
    if name in PRODUCTS:
        return HEAD if over_vocabulary else ATTENTION if "bmm" in name else LINEAR
    if "_fused_adamw" in name or name.startswith("Optimizer."):
        return ADAMW
    if "_foreach" in name or "linalg_vector_norm" in name:
        return CLIP
    if "cpp_fused" in name:
        return FUSED
    if not name.startswith("aten::"):
        return REST
    if over_vocabulary and "embedding" not in name:
        return LOSS
    if "softmax" in name:
        return SOFTMAX
    if re.search(r"copy|clone|contiguous|::cat$|fill_|zero_", name):
        return COPIES
    return ELEMENTWISE


def product_flops(event: FunctionEventAvg) -> float:
    """Two operations for each multiply-add of a product's recorded shapes, over all of its calls."""
    if event.key not in PRODUCTS:
        return 0.0
    shapes = [shape for shape in event.input_shapes if isinstance(shape, list) and len(shape) > 1]
    left, right = shapes[-2:] if "add" in event.key else shapes[:2]
    columns = right[0] if "linear" in event.key else right[-1]
    size = 2.0 * columns
    for extent in left:
        size *= extent
    return size * event.count


def grouped(events: Iterable[FunctionEventAvg], steps: int) -> dict[str, Group]:
    groups: dict[str, Group] = {}
    for event in events:
        group = groups.setdefault(group_of(event), Group())
        group.seconds += event.self_cpu_time_total / 1e6 / steps
        group.flops += product_flops(event) / steps
        group.names.add(event.key)
    return groups


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=VARIANTS, default="eager")
    parser.add_argument("--steps", type=int, default=5, help="profiled steps")
    parser.add_argument("--names", action="store_true", help="list each row's operations")
    options = parser.parse_args()

    if options.variant == "compiled":
        from torch._inductor import config as inductor

        inductor.cpp.enable_kernel_profile = True
    trainer = prepare_trainer(options.variant, seed=0)
    net, step = trainer.net, prepare_step(trainer)
    data = batches(seed=0)
    for _ in range(6):
        step(*next(data))
    start = time.perf_counter()
    for _ in range(options.steps):
        step(*next(data))
    plain = (time.perf_counter() - start) / options.steps
    watch = LoadWatch()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
        for _ in range(options.steps):
            step(*next(data))
    load = watch.load()
    groups = grouped(recorded.key_averages(group_by_input_shape=True), options.steps)

    rate = measured_matrix_rate(torch.bfloat16).highest * 1e9
    copies = [b.highest for b in memory_bandwidth() if b.what == "copy"]
    bandwidth = max(copies) * 1e9
    numbers = sum(p.numel() for p in net.parameters())
    # AdamW reads parameter, gradient and two moments, writes all but the gradient; clipping reads and scales gradients.
    traffic = {ADAMW: 7 * 4 * numbers, CLIP: 3 * 4 * numbers}
    tokens = SHAPE.rows * SHAPE.length
    flops = trainer.flops_per_token * tokens

    print(f"{options.variant}: {plain * 1e3:.0f} ms a step, {tokens / plain:,.0f} tok/s without the profiler")
    share = flops / plain / rate
    print(f"model FLOPs {flops / 1e9:.1f} G a step = {share:.0%} of {rate / 1e9:,.0f} GFLOP/s (bf16, measured)")
    print(f"copy bandwidth {bandwidth / 1e9:.1f} GB/s; threads {torch.get_num_threads()}; torch {torch.__version__}")
    others = "unknown" if load is None else f"{load.foreign + load.stolen:.0%}"
    print(f"share of the machine that others took meanwhile: {others}\n")
    total = sum(group.seconds for group in groups.values())
    print(f"{'where':<38} {'ms':>7} {'share':>6} {'GFLOP/s':>8} {'floor ms':>9}")
    for name, group in sorted(groups.items(), key=lambda item: -item[1].seconds):
        achieved = f"{group.flops / group.seconds / 1e9:,.0f}" if group.flops else ""
        floor = group.flops / rate if group.flops else traffic.get(name, 0) / bandwidth
        print(
            f"{name:<38} {group.seconds * 1e3:7.1f} {group.seconds / total:6.1%} {achieved:>8} "
            f"{f'{floor * 1e3:.1f}' if floor else '':>9}"
        )
        if options.names:
            print(f"    {', '.join(sorted(group.names))}")
    print(f"{'sum, under the profiler':<38} {total * 1e3:7.1f}")


if __name__ == "__main__":
    main()
