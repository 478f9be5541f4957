"""`python -m bedplate`: the same as the command `bedplate`."""

from __future__ import annotations

from bedplate.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
