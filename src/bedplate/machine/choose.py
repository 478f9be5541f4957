"""Which device, how many threads and which number format a run uses here, and why: chosen once, then recorded.

Each choice is a small record with its reason, so that a manifest (`dataclasses.asdict`) and a reader can tell a default
from somebody's wish. Nothing is set here: the caller applies what it gets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bedplate.errors import UserError
from bedplate.machine.cgroup import ROOT
from bedplate.machine.probe import Processor, processor

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
DtypeName = Literal["auto", "float32", "bfloat16"]

BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
"""CPUs with one of these multiply bfloat16 matrices in hardware; others emulate it and lose time."""


@dataclass(frozen=True)
class Device:
    """Where tensors live: `name` is what torch.device takes ("cuda:1")."""

    kind: Literal["cpu", "cuda", "mps"]
    name: str
    why: str


@dataclass(frozen=True)
class Threads:
    """CPU threads for one process of this run (`torch.set_num_threads`)."""

    count: int
    why: str


@dataclass(frozen=True)
class ComputeDtype:
    """The format that matrix products are computed in; parameters stay float32. `name` is an attribute of torch."""

    name: Literal["float32", "bfloat16"]
    why: str


def choose_device(requested: DeviceName = "auto", environment: Mapping[str, str] = os.environ) -> Device:
    """The device for this process; under `torchrun`, the GPU of its LOCAL_RANK.

    Raises UserError where a device is asked for that isn't there, or there are more processes than GPUs.
    """
    import torch

    wanted = requested if requested != "auto" else "cuda" if torch.cuda.is_available() else "mps" if _mps() else "cpu"
    why = (
        f"device={requested} was asked for"
        if requested != "auto"
        else {
            "cuda": "a CUDA device is there",
            "mps": "an Apple GPU is there",
            "cpu": "no accelerator is there",
        }[wanted]
    )
    if wanted == "cpu":
        return Device("cpu", "cpu", why)
    if wanted == "mps":
        if not _mps():
            raise UserError("device=mps: torch sees no Apple GPU here", "Use device=auto.")
        return Device("mps", "mps", why)
    if wanted != "cuda":
        raise UserError(f"device={requested}: no such device", "Use auto, cpu, cuda or mps.")
    if not torch.cuda.is_available():
        if torch.version.cuda is None and torch.version.hip is None:
            fix = f"This torch ({torch.__version__}) is built for CPUs: install a CUDA build from PyTorch's own index."
        else:
            fix = "Check that nvidia-smi lists it and that CUDA_VISIBLE_DEVICES doesn't hide it, or use device=auto."
        raise UserError("device=cuda: torch sees no CUDA device here", fix)
    rank, count = _number(environment, "LOCAL_RANK", 0, least=0), torch.cuda.device_count()
    if rank >= count:
        raise UserError(
            f"local rank {rank} has no GPU of its own: {count} to be seen",
            f"Start torchrun with --nproc-per-node={count}, or use device=cpu.",
        )
    return Device("cuda", f"cuda:{rank}", why if count == 1 else f"{why}; number {rank} of {count} by LOCAL_RANK")


def choose_threads(
    requested: int | None = None, environment: Mapping[str, str] = os.environ, root: Path = ROOT
) -> Threads:
    """Threads for this process: what was asked for, else OMP_NUM_THREADS, else its share of the cores it may use.

    Cores count once however many hyper-threads they have, only as far as affinity and control groups allow, and are
    divided by torchrun's LOCAL_WORLD_SIZE. torchrun itself sets OMP_NUM_THREADS=1 for several processes when nobody
    else did; that 1 is a precaution, not a wish, and is passed over.
    """
    if requested is not None:
        if requested < 1:
            raise UserError(f"threads={requested}: at least one thread is needed", "Leave it out to have it chosen.")
        return Threads(requested, f"threads={requested} was asked for")
    processes = _number(environment, "LOCAL_WORLD_SIZE", 1, least=1)
    wish = (
        environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    )  # "4,2" gives nested levels; the first is ours
    if wish and not (wish == "1" and processes > 1 and "TORCHELASTIC_RUN_ID" in environment):
        if not wish.isdigit() or int(wish) < 1:
            raise UserError(
                f"OMP_NUM_THREADS={wish!r} is not a positive number", "Unset it, or set a number of threads."
            )
        return Threads(int(wish), f"OMP_NUM_THREADS={wish}")
    cpu = processor(root)
    count = max(1, cpu.usable_cores // processes)
    return Threads(count, _explain(cpu) + (f", shared by {processes} processes" if processes > 1 else ""))


def choose_compute_dtype(device: Device, requested: DtypeName = "auto", root: Path = ROOT) -> ComputeDtype:
    """bfloat16 where the hardware really has it, else float32.

    That is CUDA from compute capability 8.0, and CPUs with AVX512-BF16, AMX or Arm's BF16. Raises UserError for
    bfloat16 on a GPU that can't. On a CPU without it a wish is granted: it is slow, not wrong.
    """
    if requested not in ("auto", "float32", "bfloat16"):
        raise UserError(
            f"dtype={requested}: training computes in float32 or bfloat16", "Use auto, float32 or bfloat16."
        )
    if requested == "float32":
        return ComputeDtype("float32", "dtype=float32 was asked for")
    if device.kind == "cuda":
        import torch

        major, minor = torch.cuda.get_device_capability(device.name)
        name = torch.cuda.get_device_name(device.name)
        able = major >= 8 or torch.version.hip is not None
        why = f"{name} has compute capability {major}.{minor}" + ("" if able else "; bfloat16 begins with 8.0")
        if requested == "bfloat16" and not able:
            raise UserError(f"dtype=bfloat16: {why}", "Use dtype=float32.")
    elif device.kind == "mps":
        able, why = False, "bfloat16 isn't everywhere on Apple GPUs"
    else:
        flags = [flag for flag in processor(root).flags if flag in BFLOAT16_FLAGS]
        able = bool(flags)
        why = f"the CPU has {', '.join(flags)}" if able else "the CPU has no bfloat16 instructions"
    if requested == "bfloat16":
        return ComputeDtype("bfloat16", f"dtype=bfloat16 was asked for; {why}")
    return ComputeDtype("bfloat16" if able else "float32", why)


def _explain(cpu: Processor) -> str:
    if cpu.quota is not None and int(cpu.quota) < cpu.physical_cores:
        return f"the control group allows {cpu.quota:g} of {cpu.machine_cores} cores"
    what = f"{cpu.physical_cores} physical core{'s' if cpu.physical_cores > 1 else ''}"
    if cpu.allowed_cores < cpu.machine_cores:
        return f"{what} in this process's affinity ({cpu.allowed_cores} of {cpu.machine_cores} logical cores)"
    return what


def _number(environment: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not text.isdigit() or int(text) < least:
        raise UserError(
            f"{name}={text!r} is not a number from {least} on", "It is set by torchrun; unset it outside torchrun."
        )
    return int(text)


def _mps() -> bool:
    import torch

    return torch.backends.mps.is_available()
