"""The command `bedplate`: one thin function a verb. What they do is in the parts below; here is how it is asked."""

from __future__ import annotations


def main() -> int:
    """Run the command line with this process's arguments and return its exit code."""
    try:
        from bedplate.cli.entry import main as entry

        return entry()
    except KeyboardInterrupt:  # before anything was begun, or after all was done
        return 130
