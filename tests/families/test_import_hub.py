"""Imports from a hub: a real server on a local socket, our command's own code in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

COMMIT = "c" * 40
RUN = """
import json, sys
from bedplate.console import Console
from bedplate.errors import BedplateError
from bedplate.families.imports import import_model
source, out, revision = sys.argv[1:4]
try:
    made = import_model(source, out, revision=revision or None, console=Console.quiet())
    print(json.dumps({"cached": made.cached, "config": made.config, "measures": made.measures}))
except BedplateError as error:
    print(json.dumps({"error": type(error).__name__, "problem": error.problem, "fix": error.fix}))
"""


class Hub:
    """Serves folders as repositories `org/<name>`, as far as a download of one commit needs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        path = unquote(urlparse(request.path).path)
        self.asked.append(path)
        headers = {"X-Repo-Commit": COMMIT}
        if path.startswith("/api/models/"):
            content, status = self.api(path.removeprefix("/api/models/").split("/"), headers)
        else:
            organisation, name, _, _, *rest = [*path.strip("/").split("/"), "", "", ""]
            file = self.root / name / "/".join(part for part in rest if part)
            content, status = (file.read_bytes(), 200) if file.is_file() else (b"", 404)
            headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
            assert organisation == "org"
        request.send_response(status)
        for key, value in headers.items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if body:
            request.wfile.write(content)

    def api(self, parts: list[str], headers: dict[str, str]) -> tuple[bytes, int]:
        folder, revision = self.root / parts[1], parts[3] if len(parts) > 3 else "main"
        headers["Content-Type"] = "application/json"
        if not folder.is_dir():
            headers["X-Error-Code"] = "RepoNotFound"
            return b"{}", 401
        if revision not in ("main", COMMIT):
            headers["X-Error-Code"] = "RevisionNotFound"
            return b"{}", 404
        names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
        if len(parts) > 2 and parts[2] == "tree":
            entries = [{"type": "file", "path": n, "size": (folder / n).stat().st_size, "oid": "0" * 40} for n in names]
            return json.dumps(entries).encode(), 200
        info = {"id": f"org/{parts[1]}", "sha": COMMIT, "siblings": [{"rfilename": n} for n in names], "tags": []}
        return json.dumps(info | {"downloads": 0, "likes": 0, "private": False}).encode(), 200


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    (tmp_path / "hub").mkdir()
    served = Hub(tmp_path / "hub")
    yield served
    served.server.shutdown()
    served.server.server_close()


def run(hub: Hub, tmp_path: Path, source: str, revision: str = "") -> dict:
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf")}
    environment |= {"HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, source, str(tmp_path / "out"), revision],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_model_is_fetched_at_a_commit_that_is_recorded(hub, hf_folder, tmp_path):
    folder = hf_folder(name="hub/tiny")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (folder / "pytorch_model.bin").write_bytes(b"never fetched")
    (folder / "original").mkdir()
    (folder / "original" / "consolidated.safetensors").write_bytes(b"nor this")
    made = run(hub, tmp_path, "org/tiny")
    assert made["config"]["revision"] == COMMIT
    assert made["measures"]["source"]["hub_id"] == "org/tiny"
    assert made["measures"]["source"]["commit"] == COMMIT
    assert made["measures"]["license"] == "apache-2.0"
    assert made["measures"]["certificate"]["greatest_logit_error"] == 0
    fetched = [path for path in hub.asked if "/resolve/" in path]
    assert any(path.endswith("model.safetensors") for path in fetched)
    assert not any(path.endswith(".bin") or "original" in path for path in fetched)
    assert run(hub, tmp_path, "org/tiny", COMMIT)["cached"]
    assert run(hub, tmp_path, "hub:org/tiny")["cached"]


def test_an_encoder_is_fetched_with_what_says_how_it_pools(hub, bert_folder, tmp_path):
    folder = bert_folder(name="hub/tiny-encoder", pooling="cls")
    (folder / "README.md").write_text("---\nlicense: mit\npipeline_tag: sentence-similarity\n---\n")
    (folder / "pytorch_model.bin").write_bytes(b"never fetched")
    for other in ("onnx/model.json", "2_Dense/model.safetensors", "4bit/config.json", "1_Pooling/deeper/config.json"):
        (folder / other).parent.mkdir(exist_ok=True)
        (folder / other).write_bytes(b"nor this")
    made = run(hub, tmp_path, "org/tiny-encoder", COMMIT)
    assert made["config"]["revision"] == COMMIT
    assert made["measures"]["source"] == {"hub_id": "org/tiny-encoder", "commit": COMMIT, "file": COMMIT}
    said = {"license": "mit", "architecture": "encoder", "pooling": "cls", "normalise": True, "max_length": 20}
    assert {key: made["measures"][key] for key in said} == said
    assert made["measures"]["certificate"]["greatest_hidden_error"] == 0
    fetched = {path.split(f"/{COMMIT}/")[1] for path in hub.asked if "/resolve/" in path}
    assert {"model.safetensors", "1_Pooling/config.json", "modules.json", "sentence_bert_config.json"} <= fetched
    assert {path for path in fetched if "/" in path} == {"1_Pooling/config.json"}
    assert "pytorch_model.bin" not in fetched
    assert run(hub, tmp_path, "org/tiny-encoder", COMMIT)["cached"]


def test_what_the_hub_lacks_is_said(hub, hf_folder, bert_folder, tmp_path):
    folder = hf_folder(name="hub/pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    encoder = bert_folder(name="hub/pickled-encoder")
    (encoder / "model.safetensors").rename(encoder / "pytorch_model.bin")
    for name in ("pickled", "pickled-encoder"):
        pickled = run(hub, tmp_path, f"org/{name}")
        assert pickled["error"] == "WeightsError"
        assert "no safetensors on the hub, only .bin" in pickled["problem"]
    absent = run(hub, tmp_path, "org/absent")
    assert absent["error"] == "InputError"
    assert "no such local path, and no such model" in absent["problem"]
    other = run(hub, tmp_path, "org/pickled", "v9")
    assert "no revision 'v9'" in other["problem"]
    assert not (tmp_path / "out").exists()


def test_an_unreachable_hub_is_said(hub, tmp_path):
    hub.server.shutdown()
    hub.server.server_close()
    found = run(hub, tmp_path, "org/tiny")
    assert found["error"] == "InputError"
    assert "can't be reached" in found["problem"]
