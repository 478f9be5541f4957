"""Texts that every machine has: docstrings of the standard library's public functions, classes and methods."""

from __future__ import annotations

import importlib
import inspect
import random

_MODULES = (
    "argparse", "ast", "asyncio", "base64", "calendar", "codecs", "collections", "concurrent.futures", "configparser",
    "contextlib", "csv", "ctypes", "datetime", "decimal", "difflib", "dis", "email", "fractions", "functools", "gzip",
    "http.client", "http.server", "imaplib", "inspect", "ipaddress", "itertools", "json", "logging", "mailbox", "math",
    "multiprocessing", "operator", "os", "pathlib", "pickle", "platform", "random", "re", "shutil", "smtplib", "socket",
    "socketserver", "sqlite3", "ssl", "statistics", "string", "struct", "subprocess", "tarfile", "tempfile", "textwrap",
    "threading", "timeit", "tokenize", "traceback", "typing", "unittest", "urllib.parse", "urllib.request", "uuid",
    "weakref", "xml.etree.ElementTree", "zipfile",
)  # fmt: skip


def texts(kind: str, count: int) -> list[str]:
    """`count` different ones, shuffled alike on every machine with this Python. `documents`: whole docstrings; `lines`:
    their first lines, about as long as a question."""
    found: set[str] = set()
    for name in _MODULES:
        for key, member in vars(importlib.import_module(name)).items():
            if key.startswith("_") or not callable(member):
                continue
            methods = [v for k, v in vars(member).items() if k[0] != "_"] if inspect.isclass(member) else []
            for documented in (member, *methods):
                if text := inspect.getdoc(documented):
                    found.add(text if kind == "documents" else text.split("\n")[0])
    if len(found) < count:
        raise SystemExit(f"{len(found)} {kind} in this Python's standard library, fewer than {count}")
    shuffled = sorted(found)
    random.Random(0).shuffle(shuffled)
    return shuffled[:count]
