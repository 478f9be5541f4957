"""What is read of this machine agrees with what others read of it, and limits laid out as files are obeyed."""

import os
import stat

import psutil
import pytest

from bedplate.machine.packages import installed, packages, supported_torch
from bedplate.machine.probe import compiler, memory, processor, python_headers


def test_this_processor():
    cpu = processor()
    assert cpu.name
    assert 1 <= cpu.usable_cores <= cpu.physical_cores <= cpu.allowed_cores <= cpu.machine_cores
    assert cpu.machine_cores == psutil.cpu_count()


def test_this_memory():
    ram = memory()
    machine = psutil.virtual_memory()
    assert ram.total is not None
    assert 0 < ram.total <= machine.total
    if ram.available is not None:
        assert 0 <= ram.available <= ram.total


def test_a_control_group_limits_memory(tmp_path):
    for name, text in {
        "proc/meminfo": "MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:    800 kB\n",
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": "512000\n",
        "sys/fs/cgroup/memory.current": "112000\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    ram = memory(tmp_path)
    assert (ram.total, ram.available, ram.limited_by) == (512_000, 400_000, "control group")
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("9000000000\n")
    assert memory(tmp_path).limited_by == "machine"
    assert memory(tmp_path).total == 1_024_000


def fake_compiler(tmp_path, body):
    path = tmp_path / "c++"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_the_real_compiler():
    found = compiler()
    assert found.works == (found.problem is None)
    if found.works:
        assert found.version


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
@pytest.mark.skipif(not python_headers(), reason="Python's headers are absent")
def test_a_compiler_that_cannot_build(tmp_path, monkeypatch):
    body = 'case "$1" in --version) echo broken 1.0;; *) echo "x.cpp:1: fatal error: omp.h: none" >&2; exit 1;; esac'
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, body))
    found = compiler()
    assert (found.works, found.version) == (False, "broken 1.0")
    assert "omp.h" in found.problem


def test_no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(tmp_path / "absent"))
    found = compiler()
    assert not found.works
    assert "no command" in found.problem


@pytest.mark.parametrize(
    ("version", "supported"),
    [
        ("2.13.0+cpu", True),
        ("2.11.0", True),
        ("2.10.1", False),
        ("3.0.0a0+git1", True),
        ("1.13", False),
        ("odd", False),
    ],
)
def test_supported_torch(version, supported):
    assert supported_torch(version) == supported


def test_packages_come_from_the_declared_requirements(tmp_path, monkeypatch):
    info = tmp_path / "bedplate-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: bedplate\nVersion: 9.9\nProvides-Extra: test\n"
        "Requires-Dist: torch>=2.11\nRequires-Dist: surely-not-there[x]>=1,<2\n"
        "Requires-Dist: pytest>=8.4; extra == \"test\"\nRequires-Dist: typer (>=0.2) ; python_version >= '3'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = [(p.name, p.version is not None, p.extra) for p in packages()]
    assert found == [
        ("torch", True, None), ("surely-not-there", False, None), ("pytest", True, "test"), ("typer", True, None),
    ]  # fmt: skip
    assert installed("surely-not-there") is None
