"""Lets tests, and the processes that they start, import the toy stages by name; and the labelling page as a process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

TOYS = str(Path(__file__).resolve().parents[1] / "ledger")

if TOYS not in sys.path:
    sys.path.insert(0, TOYS)


@pytest.fixture(autouse=True)
def _toys_for_processes(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [TOYS, os.environ.get("PYTHONPATH")])))


class LabelPage:
    """The process of `bedplate label`, and a client that has its token."""

    def __init__(self, process: subprocess.Popen) -> None:
        said = ""
        while (found := re.search(r"(http://\S+?)/#(\S+)", said)) is None:
            line = process.stderr.readline()
            assert line, said
            said += line
        headers = {"Authorization": f"Bearer {found[2]}"}
        self.http = httpx.Client(base_url=found[1], headers=headers, timeout=30)

    def get(self, path: str, **query):
        return self._answer(self.http.get(f"/api/{path}", params=query))

    def post(self, path: str, **body):
        return self._answer(self.http.post(f"/api/{path}", json=body))

    def _answer(self, response: httpx.Response):
        assert response.status_code == 200, response.text
        return response.json()


@pytest.fixture(scope="session")
def label_page():
    """`with label_page(folder, corpus, "--choices", ...) as page:` the command, run in the folder."""

    @contextmanager
    def start(folder: Path, *arguments: str) -> Iterator[LabelPage]:
        command = [sys.executable, "-m", "bedplate", "label", *arguments]
        process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        try:
            page = LabelPage(process)
            with page.http:
                yield page
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        finally:
            process.kill()
            process.wait()
            process.stderr.close()

    return start
