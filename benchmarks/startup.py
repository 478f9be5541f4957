"""How long `import bedplate` and `bedplate --help` take, each in fresh processes.

    python benchmarks/startup.py [--repeats 9]

The interpreter's own start is timed beside them and is part of both figures' wall time; the import's own time, which is
what Bedplate answers for, is measured inside the process. The first, cold, process of each is reported apart.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

INSIDE = "import time; t = time.perf_counter(); import bedplate; print(time.perf_counter() - t)"
COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "python -c 'import bedplate'": (sys.executable, "-c", "import bedplate"),
    "bedplate --help": (sys.executable, "-m", "bedplate", "--help"),
}


def wall(command: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def import_seconds() -> float:
    """Seconds inside a fresh process from before to after `import bedplate`."""
    return float(subprocess.run([sys.executable, "-c", INSIDE], check=True, capture_output=True, text=True).stdout)


def show(what: str, seconds: Sequence[float]) -> None:
    first, *later = (1000 * s for s in seconds)
    print(
        f"{what:<32} median {statistics.median(later):6.0f} ms ({min(later):.0f} - {max(later):.0f}), first {first:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9, help="fresh processes of each kind")
    repeats = max(2, parser.parse_args().repeats)
    show("import bedplate (inside)", [import_seconds() for _ in range(repeats)])
    for what, command in COMMANDS.items():
        show(what, [wall(command) for _ in range(repeats)])


if __name__ == "__main__":
    main()
