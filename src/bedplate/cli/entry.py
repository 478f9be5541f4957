"""From arguments to an exit code: errors become one plain message, signals end in order.

0 done; 1 our fault; 2 the user's mistake; 130 Ctrl-C; 143 SIGTERM.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from types import FrameType

from bedplate.console import Console
from bedplate.errors import BedplateError

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
STOPPED = "stopped; what was finished is kept; run the same command to go on"

# What the user's machine refuses, where no part has said more about it.
CIRCUMSTANCES = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENAMETOOLONG)

GLOBAL_FLAGS = ("--json", "--quiet")
LEAVE_NOTHING = {"chat", "serve"}
"""Verbs that have no work to go on with."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. `arguments` are this process's own unless given."""
    given = flags_first(sys.argv[1:] if arguments is None else arguments)
    # Read by OpenMP when torch is loaded. Threads that spin while they wait for each other are no faster on a quiet
    # machine and far slower where another process wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _signal_again
    _open_streams()
    try:
        code = _run(given or ["--help"])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our answer (head, less) has seen enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return code


def _open_streams() -> None:
    """Give a process that was started with closed streams (`bedplate ... >&-`) ones that lead nowhere, and write what
    stdout's encoding doesn't know as escapes."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def flags_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with the global flags in front, so that they may stand anywhere before a "--"."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [word for word in arguments[:end] if word in GLOBAL_FLAGS]
    return [*flags, *(word for word in arguments[:end] if word not in GLOBAL_FLAGS), *arguments[end:]]


def _run(arguments: list[str]) -> int:
    speak = Console("json" if "--json" in arguments else "auto")
    try:
        from bedplate.cli.app import app  # takes a moment, in which Ctrl-C may come

        code = app(arguments, prog_name="bedplate", standalone_mode=False)
    except BedplateError as error:
        speak.fail(error.problem, error.fix)
        return error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer makes an exit code of its own out of it
            raise end.__context__ from None
        code = end.code
    except BrokenPipeError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in CIRCUMSTANCES:
            speak.fail(f"{error.filename or 'what was to be written'}: {error.strerror}", "Mend that and try again.")
            return 2
        if type(error).__name__ == "Abort":  # typer's word for Ctrl-C or Ctrl-D at a prompt
            code = INTERRUPTED
        elif type(error).__name__ == "NoArgsIsHelpError":  # a group of commands without one; its help has been shown
            return 2
        elif callable(message := getattr(error, "format_message", None)):  # typer's errors in the arguments
            speak.fail(message().replace("Value error, ", ""), _help_hint(error))
            return 2
        else:
            speak.fail(f"this is our fault, not yours: {type(error).__name__}: {error}", None)
            traceback.print_exc()
            return 1
    if code in (INTERRUPTED, TERMINATED) and not LEAVE_NOTHING.intersection(arguments[:3]):
        speak.warn(STOPPED)
    return code if isinstance(code, int) else 0


def _terminate(signum: int, frame: FrameType | None) -> None:
    """On SIGTERM unwind as at an exit, so that `finally` blocks run. Not KeyboardInterrupt: a prompt may catch that."""
    raise SystemExit(TERMINATED)


def _signal_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Python drops an exception that comes up in a destructor or a weak reference's callback, such as those of its
    import locks. Where that is what a signal has raised, the signal comes again a moment later."""
    number = {KeyboardInterrupt: signal.SIGINT, SystemExit: signal.SIGTERM}.get(unraisable.exc_type)
    if number is None:
        sys.__unraisablehook__(unraisable)
        return
    again = threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, number))
    again.daemon = True
    again.start()


def _help_hint(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return f"See: {getattr(context, 'command_path', 'bedplate')} --help"
