"""The doctor on this very machine, and its advice for machines that it isn't on."""

import io
import json
from dataclasses import replace

import pytest

from bedplate.console import Console
from bedplate.machine.choose import ComputeDtype, Device, Threads
from bedplate.machine.doctor import Examination, advise, doctor, rows
from bedplate.machine.measure import Bandwidth, Rate
from bedplate.machine.packages import Package
from bedplate.machine.probe import Accelerator, Compiler, Memory, Processor


def rate(dtype, median):
    return ("square", Rate(dtype, "cpu", 8, (1, 1, 1), median, median, median, 3))


HEALTHY = Examination(
    system="TestOS",
    python="3.12.0",
    torch="2.13.0",
    processor=Processor("Test CPU", "x86_64", ("avx512_bf16",), 8, 8, 8, None),
    memory=Memory(64_000_000_000, 32_000_000_000, "machine"),
    free_disk=100_000_000_000,
    accelerators=(),
    compiler=Compiler("g++", "g++ 12", True, None),
    packages=(Package("torch", "2.13.0", None), Package("transformers", None, "test")),
    device=Device("cpu", "cpu", "no accelerator is there"),
    threads=Threads(8, "8 physical cores"),
    dtype=ComputeDtype("bfloat16", "the CPU has avx512_bf16"),
    rates=(rate("float32", 200.0), rate("bfloat16", 880.0)),
    bandwidths=(Bandwidth("read", "cpu", 8, 30.0, 29.0, 31.0, 3),),
    foreign_cpu_share=0.01,
)


def test_this_machine():
    said = io.StringIO()
    found = doctor(Console.plain(said))
    text = said.getvalue()
    for expected in ("processor", "memory", "compiler", "torch", "bfloat16", "float32", "copy", "bf16 products are"):
        assert expected in text
    assert json.loads(json.dumps(found))["threads"]["count"] >= 1
    assert {r["dtype"] for r in found["rates"]} == {"float32", "bfloat16"}
    assert all(r["median"] > 0 for r in found["rates"])


def test_without_measuring():
    said = io.StringIO()
    found = doctor(Console.plain(said), measure=False)
    assert list(found["rates"]) == list(found["bandwidths"]) == []
    assert "GFLOP/s" not in said.getvalue()


def test_a_healthy_machine_needs_nothing():
    assert advise(HEALTHY) == []


def test_what_things_allow():
    text = "\n".join(" | ".join(row) for row in rows(HEALTHY))
    for expected in (
        "bf16 products are 4.4x fp32 here",
        "torch.compile works",
        "trains about 1 G parameters",
        "at most 15 tokens/s",
        "pip install 'bedplate[test]' brings transformers",
        "8 threads: 8 physical cores",
    ):
        assert expected in text, expected
    slow = replace(HEALTHY, rates=(rate("float32", 200.0), rate("bfloat16", 20.0)))
    assert "slower than fp32 here (0.10x)" in "\n".join(" ".join(row) for row in rows(slow))
    gpu = replace(HEALTHY, accelerators=(Accelerator("cuda", 0, "Test GPU", 80_000_000_000, "9.0"),))
    assert ["cuda:0", "Test GPU", "80.0 GB, trains about 2.5 G parameters (AdamW, half kept for activations)"] in rows(
        gpu
    )


@pytest.mark.parametrize(
    ("change", "finding", "fix"),
    [
        ({"torch": "2.9.1"}, "older than 2.11", "pip install 'torch>=2.11'"),
        ({"compiler": Compiler("g++", None, False, "no command 'g++'")}, "no command 'g++'", ""),
        ({"packages": (Package("gguf", None, None),)}, "Not installed: gguf", "pip install"),
        ({"free_disk": 1_000_000_000}, "1.0 GB is free", "Make room"),
        ({"memory": Memory(4_000_000_000, 1_000_000_000, "machine")}, "1.0 GB of memory", "Close something"),
        ({"foreign_cpu_share": 0.4}, "Others use 40%", "quiet machine"),
        ({"threads": Threads(2, "OMP_NUM_THREADS=2")}, "6 usable cores idle", "Unset it"),
        ({"processor": Processor("c", "x86_64", (), 8, 8, 8, 0.5)}, "0.5 of one core", "at least one core"),
    ],
)
def test_each_ailment_has_its_advice(change, finding, fix):
    (advice,) = advise(replace(HEALTHY, **change))
    assert finding in advice.finding
    assert fix in advice.fix
    assert advice.fix
