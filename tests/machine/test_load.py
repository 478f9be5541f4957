"""Foreign load is what others use and not what we and our children use. Real processes that spin."""

import subprocess
import sys
import time

import pytest

from bedplate.machine.load import LoadWatch, foreign_cpu_share

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the load of others")

SPIN = "import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"


def lay(root, *, busy, idle, steal, own, child=0):
    """A machine whose process (this one's id) and its child have used these ticks; `busy` counts them too."""
    import os

    (root / f"proc/{os.getpid()}").mkdir(parents=True, exist_ok=True)
    (root / "proc/999999999").mkdir(parents=True, exist_ok=True)
    (root / "proc/stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 {steal} 0 0\ncpu0 1 1\n")
    line = "{pid} (a ) name) S {parent} 0 0 0 0 0 0 0 0 0 {ticks} 0 0 0 0\n"
    (root / f"proc/{os.getpid()}/stat").write_text(line.format(pid=os.getpid(), parent=1, ticks=own))
    (root / "proc/999999999/stat").write_text(line.format(pid=999999999, parent=os.getpid(), ticks=child))


def test_shares_add_up(tmp_path):
    lay(tmp_path, busy=1000, idle=5000, steal=0, own=100)
    watch = LoadWatch(tmp_path)
    lay(tmp_path, busy=1060, idle=5030, steal=10, own=110, child=20)
    load = watch.load()
    assert load is not None
    assert (load.own, load.foreign, load.stolen) == (0.3, 0.3, 0.1)


def test_no_proc_no_figure(tmp_path):
    assert LoadWatch(tmp_path).load() is None


def test_no_tick_no_figure(tmp_path):
    lay(tmp_path, busy=1, idle=1, steal=0, own=1)
    assert LoadWatch(tmp_path).load() is None


def test_our_children_are_our_own():
    watch = LoadWatch()
    subprocess.run([sys.executable, "-c", SPIN.format(seconds=0.6)], check=True)  # ended and waited for
    load = watch.load()
    assert load is not None
    assert load.own > 0
    child = subprocess.Popen([sys.executable, "-c", SPIN.format(seconds=5)])
    try:
        watch = LoadWatch()
        time.sleep(0.6)
        load = watch.load()  # still alive
    finally:
        child.kill()
        child.wait()
    assert load is not None
    assert load.own > 0


def test_a_share_is_a_share():
    share = foreign_cpu_share(0.1)
    assert share is None or 0 <= share <= 1
