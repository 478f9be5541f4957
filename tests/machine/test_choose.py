"""Device, threads and number format, on this real machine and on ones laid out as files."""

import os
import subprocess
import sys

import pytest

from bedplate.errors import UserError
from bedplate.machine.choose import Device, choose_compute_dtype, choose_device, choose_threads
from bedplate.machine.probe import processor

CPU = Device("cpu", "cpu", "for the test")


def machine(root, *, siblings=None, cpu_max="max 100000", flags="avx2"):
    """A machine with the given core topology ({cpu: siblings}), quota and flags; the affinity stays the real one."""
    for cpu in os.sched_getaffinity(0):
        path = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        path.parent.mkdir(parents=True)
        path.write_text((siblings or {}).get(cpu, str(cpu)) + "\n")
    for name, text in {
        "proc/self/cgroup": "0::/\n",
        "proc/cpuinfo": f"model name\t: Test CPU\nflags\t\t: fpu {flags}\n",
        "sys/fs/cgroup/cpu.max": cpu_max,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")


@needs_affinity
def test_threads_follow_the_affinity():
    """A real process bound to one core chooses one thread."""
    core = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, {{{core}}})\n"
        "from bedplate.machine.choose import choose_threads\n"
        "t = choose_threads(environment={}); print(t.count, t.why)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert out.startswith("1 ")
    if (os.cpu_count() or 1) > 1:
        assert "affinity" in out


@needs_affinity
def test_threads_follow_the_quota(tmp_path):
    root = machine(tmp_path, cpu_max="100000 100000")
    threads = choose_threads(environment={}, root=root)
    assert threads.count == 1
    if len(os.sched_getaffinity(0)) > 1:
        assert "control group" in threads.why


@needs_affinity
def test_half_a_core_still_makes_one_thread(tmp_path):
    assert choose_threads(environment={}, root=machine(tmp_path, cpu_max="50000 100000")).count == 1


@needs_affinity
def test_hyper_threads_count_once(tmp_path):
    cpus = sorted(os.sched_getaffinity(0))
    root = machine(tmp_path, siblings=dict.fromkeys(cpus, "0-63"))
    assert choose_threads(environment={}, root=root).count == 1


def test_torchrun_divides_the_cores():
    whole = processor().usable_cores
    threads = choose_threads(environment={"LOCAL_WORLD_SIZE": "2"})
    assert threads.count == max(1, whole // 2)
    assert "2 processes" in threads.why
    assert choose_threads(environment={"LOCAL_WORLD_SIZE": "4096"}).count == 1


def test_omp_num_threads_is_a_wish():
    assert choose_threads(environment={"OMP_NUM_THREADS": "3"}).count == 3
    assert choose_threads(environment={"OMP_NUM_THREADS": "5,2"}).count == 5
    assert choose_threads(2, environment={"OMP_NUM_THREADS": "3"}).count == 2


def test_torchruns_own_one_is_not_a_wish():
    launched = {"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "none"}
    assert choose_threads(environment=launched).count == max(1, processor().usable_cores // 2)
    assert choose_threads(environment={"OMP_NUM_THREADS": "1"}).count == 1


@pytest.mark.parametrize(
    "environment", [{"OMP_NUM_THREADS": "many"}, {"OMP_NUM_THREADS": "0"}, {"LOCAL_WORLD_SIZE": "-1"}]
)
def test_bad_environment_is_named(environment):
    with pytest.raises(UserError, match=next(iter(environment))):
        choose_threads(environment=environment)


def test_zero_threads_is_refused():
    with pytest.raises(UserError, match="threads=0"):
        choose_threads(0)


def test_auto_device_is_there_and_says_why():
    device = choose_device(environment={})
    assert device.name.split(":")[0] == device.kind
    assert device.why
    assert choose_device("cpu").name == "cpu"


def test_absent_devices_are_errors_with_a_fix():
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no CUDA device") as caught:
            choose_device("cuda")
        assert caught.value.fix
    else:
        with pytest.raises(UserError, match="local rank 4096"):
            choose_device("cuda", environment={"LOCAL_RANK": "4096"})
    if not torch.backends.mps.is_available():
        with pytest.raises(UserError, match="no Apple GPU"):
            choose_device("mps")
    with pytest.raises(UserError, match="no such device"):
        choose_device("tpu")  # type: ignore[arg-type]


@needs_affinity
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx2", "float32"),
        ("avx2 avx512f", "float32"),
        ("avx512f avx512_bf16", "bfloat16"),
        ("amx_tile amx_bf16", "bfloat16"),
    ],
)
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS tells its flags in another way")
def test_bfloat16_where_the_cpu_has_it(tmp_path, flags, expected):
    dtype = choose_compute_dtype(CPU, root=machine(tmp_path, flags=flags))
    assert dtype.name == expected
    assert dtype.why
    assert choose_compute_dtype(CPU, "float32", root=tmp_path).name == "float32"
    assert choose_compute_dtype(CPU, "bfloat16", root=tmp_path).name == "bfloat16"


def test_other_formats_are_refused():
    with pytest.raises(UserError, match="float16"):
        choose_compute_dtype(CPU, "float16")  # type: ignore[arg-type]
