"""Where and how a run computes: device, threads, dtype, compiled or not; chosen once and recorded."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import torch

from bedplate.machine.choose import choose_compute_dtype, choose_device, choose_threads
from bedplate.machine.measure import measured_matrix_rate
from bedplate.machine.probe import compiler, python_headers
from bedplate.train.config import TrainConfig

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Compiling a block forward and backward takes about this long on a CPU and makes steps about a fifth shorter.
_COMPILE_SECONDS, _COMPILE_GAIN = 20.0, 0.2
# Operations a second that a CPU thread does in a training step, roughly. Nominal and not measured: two attempts at one
# run, or two of its ranks, must come to the same choice, for compiled and eager steps differ in the last bits.
_NOMINAL_RATE = {"bfloat16": 2e11, "float32": 4e10}


@dataclass(frozen=True)
class Placement:
    """device: as torch names it. dtype: of activations and matrix products. flops_per_second: the measured matrix rate
    of one process's device in that dtype, 0 where it wasn't. record: all of it with reasons, for the manifest."""

    device: str
    dtype: torch.dtype
    threads: int
    compiled: bool
    flops_per_second: float
    record: dict[str, Any]

    def measured_again(self) -> float:
        """The matrix rate now, in operations a second. What else runs here can only lower a measurement, so the highest
        of several is the machine's."""
        return measured_matrix_rate(self.dtype, self.device, seconds=0.2).highest * 1e9


def place(config: TrainConfig, flops: float, *, measure: bool = True) -> Placement:
    """Choose for a run of `flops` operations on this process. Sets torch's thread count.

    measure: the matrix rate, which takes most of a second; a run of seconds had better do without.
    """
    device = choose_device(config.device)
    threads = choose_threads(config.threads)
    if torch.get_num_threads() != threads.count:
        torch.set_num_threads(threads.count)
    dtype = choose_compute_dtype(device, config.dtype)
    seconds = flops / (_NOMINAL_RATE[dtype.name] * threads.count)
    compiled, why = _choose_compile(config.compile, device.kind, seconds)
    record = {
        "device": device.name, "device_why": device.why,
        "threads": threads.count, "threads_why": threads.why,
        "dtype": dtype.name, "dtype_why": dtype.why,
        "compiled": compiled, "compiled_why": why,
    }  # fmt: skip
    highest = 0.0
    if measure:
        rate = measured_matrix_rate(_DTYPES[dtype.name], device.name)
        record |= {"matrix_rate_gflops": round(rate.highest, 1), "matrix_rate_shape": list(rate.shape)}
        highest = rate.highest * 1e9
    return Placement(device.name, _DTYPES[dtype.name], threads.count, compiled, highest, record)


def _choose_compile(wish: bool | str, device: str, seconds: float) -> tuple[bool, str]:
    if wish is False:
        return False, "compile=no was asked for"
    if device == "mps" and wish == "auto":
        return False, "compiling for Apple GPUs is young; compile=yes tries it"
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        return False, "nothing to compile with: Triton isn't installed; running eagerly"
    if device != "cpu":
        return True, "compile=yes was asked for" if wish is True else "a GPU repays it"
    if wish == "auto" and seconds * _COMPILE_GAIN < _COMPILE_SECONDS:
        return False, f"a run of about {seconds:.0f} s doesn't repay compiling on a CPU"
    found = compiler()
    if not found.works or not python_headers():
        reason = found.problem or "no Python headers"
        return False, f"nothing to compile with: {reason}; running eagerly"
    return True, "compile=yes was asked for" if wish is True else f"a run of about {seconds:.0f} s repays it"
