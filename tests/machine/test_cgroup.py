"""Limits are read from real files laid out as the kernel does, in both versions of the interface."""

from pathlib import Path

import pytest

from bedplate.machine.cgroup import MemoryGroup, cpu_limit, memory_limit


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_no_cgroups_no_limits(tmp_path):
    assert cpu_limit(tmp_path) is None
    assert memory_limit(tmp_path) is None


def test_version_2_takes_the_tightest_along_the_path(tmp_path):
    root = lay(
        tmp_path,
        {
            "proc/self/cgroup": "0::/outer/inner\n",
            "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
            "sys/fs/cgroup/outer/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/outer/memory.max": "1000000\n",
            "sys/fs/cgroup/outer/memory.current": "400000\n",
            "sys/fs/cgroup/outer/memory.stat": "anon 1\ninactive_file 100000\n",
            "sys/fs/cgroup/outer/inner/cpu.max": "max 100000\n",
            "sys/fs/cgroup/outer/inner/memory.max": "max\n",
        },
    )
    assert cpu_limit(root) == 1.5
    assert memory_limit(root) == MemoryGroup(limit=1_000_000, used=300_000)


def test_version_1_with_joint_controllers(tmp_path):
    root = lay(
        tmp_path,
        {
            "proc/self/cgroup": "5:memory:/box\n4:cpu,cpuacct:/box\n",
            "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "300000\n",
            "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "2000\n",
            "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "500\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert cpu_limit(root) == 3.0
    assert memory_limit(root) == MemoryGroup(limit=2000, used=500)


def test_a_path_of_the_hosts_falls_back_to_the_containers_top(tmp_path):
    root = lay(
        tmp_path,
        {
            "proc/self/cgroup": "4:cpu:/docker/0123456789\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert cpu_limit(root) == 2.0


def test_both_versions_side_by_side(tmp_path):
    root = lay(
        tmp_path,
        {
            "proc/self/cgroup": "1:memory:/\n0::/here\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/unified/here/cpu.max": "50000 100000\n",
        },
    )
    assert cpu_limit(root) == 0.5
    assert memory_limit(root) is None


@pytest.mark.parametrize("text", ["", "nonsense", "0 100000", "100000 0", "max", "-5 100000"])
def test_unreadable_limits_are_no_limits(tmp_path, text):
    root = lay(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": text})
    assert cpu_limit(root) is None


def test_a_path_with_dots_stays_inside(tmp_path):
    root = lay(tmp_path, {"proc/self/cgroup": "0::/../../etc\n", "sys/fs/cgroup/cpu.max": "100000 100000"})
    assert cpu_limit(root) == 1.0
