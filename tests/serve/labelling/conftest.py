"""A corpus with dropped documents, and real labelling servers of it: processes on a free port of the loopback."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from bedplate.data.corpus import CORPUS_SCHEMA, DROPPED, DROPPED_SCHEMA, ParquetTable

COLUMNS = {"title": "string", "words": "int32", "quality": "float32", "metadata": "string"}
LONG = "".join(f"Line {n} of a very long text, with 🙂 and ü.\n" for n in range(8000))
HOSTILE = "<img src=x onerror=alert(1)><script>document.title='taken'</script>"
START = """
import json, sys
from pathlib import Path
from bedplate.serve.labelling.server import label
given = json.loads(sys.argv[1])
paths = {name: Path(given.pop(name)) for name in ("corpus", "labels", "guideline") if name in given}
sys.exit(label(**paths, **given))
"""


def row(number: int, text: str) -> dict:
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    fixed = {"id": sha256[:24], "text": text, "sha256": sha256, "bytes": len(text.encode()), "source": f"raw/{number}"}
    return fixed | {"license": "CC-BY-4.0", "split": "train", "url": f"https://example.org/{number}"}


@pytest.fixture(scope="session")
def labelled_corpus(tmp_path_factory) -> Path:
    """Twelve kept documents, one of them long and one hostile, and three dropped ones with how they begin."""
    folder = tmp_path_factory.mktemp("labelled") / "corpus"
    folder.mkdir()
    texts = [f"Document {n}. " + "Some words that say little. " * n for n in range(10)] + [LONG, HOSTILE]
    schema = CORPUS_SCHEMA | COLUMNS
    with ParquetTable(folder, "part", schema) as table:
        for n, text in enumerate(texts):
            more = {"title": f"Title {n}", "words": len(text.split()), "quality": float("nan") if n == 3 else n / 12}
            metadata = json.dumps({"og:type": "article", "n": n})
            table.add(dict.fromkeys(schema) | row(n, text) | more | {"metadata": metadata})
    schema = DROPPED_SCHEMA | COLUMNS
    with ParquetTable(folder, DROPPED, schema, single=True) as table:
        for n in range(3):
            fate = {
                "status": "dropped",
                "stage": "filters",
                "reason": "gopher_short",
                "detail": f"{n} words, 50 needed",
            }
            known = {name: value for name, value in row(n, f"Dropped text {n}").items() if name in schema}
            table.add(dict.fromkeys(schema) | known | fate | {"excerpt": f"Dropped text {n}"})
        table.add(dict.fromkeys(schema) | {"source": "raw/none", "status": "dropped", "reason": "empty"})
    return folder


class Page:
    """A labelling server's process, and a client that has its token."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process
        said = ""
        while (found := re.search(r"(http://\S+?)/#(\S+)", said)) is None:
            line = process.stderr.readline()
            assert line, said
            said += line
        self.url, self.token = found.groups()
        self.http = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=30)

    def get(self, path: str, **query):
        answer = self.http.get(f"/api/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **body):
        answer = self.http.post(f"/api/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def say(self, at: int, given: str | None):
        document = self.get("document", at=at)
        body = {"id": document["id"], "sha256": document["sha256"], "label": given, "seconds": 1.25}
        return self.post("say", action="skip" if given is None else "label", **body)


@contextmanager
def started(corpus: Path, labels: Path, **options):
    settings = {"corpus": str(corpus), "labels": str(labels), "choices": ["good", "bad", "unsure"]}
    settings |= {"annotator": "ann"} | options
    start = [sys.executable, "-c", START, json.dumps(settings)]
    process = subprocess.Popen(start, stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        page = Page(process)
        yield page
        page.http.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture
def page(labelled_corpus, tmp_path):
    guideline = tmp_path / "guideline.md"
    guideline.write_text("# Good\n\nGood is what teaches something.\n")
    with started(labelled_corpus, tmp_path / "labels.jsonl", guideline=str(guideline)) as page:
        yield page


@pytest.fixture(scope="session")
def labelling():
    return started


@pytest.fixture(scope="session")
def long_text() -> str:
    return LONG
