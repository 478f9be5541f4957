"""A tiny model that writes, and real servers of it: processes on a free port of the loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
import torch

import bedplate
from bedplate.codecs.text import TextTokenizer
from bedplate.families.llama import build
from bedplate.families.llama_config import LlamaConfig
from bedplate.generate.model import TextModel

TEMPLATE = (
    "{% if messages[0].content == 'refuse' %}{{ raise_exception('no such words here') }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTEXT = 512


def make_tokenizer() -> TextTokenizer:
    """Byte-level BPE of 400 tokens trained on this file, with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([Path(__file__).read_text()], trainer)
    settings = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    return TextTokenizer(backend.to_str(), settings, chat_template=TEMPLATE)


def make_model(**changes: Any) -> TextModel:
    """A random model whose distributions are neither flat nor certain."""
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape |= {"num_key_value_heads": 2, "vocab_size": 400, "max_position_embeddings": CONTEXT}
    shape |= {"bos_token_id": 0, "eos_token_id": 2}
    config = LlamaConfig.model_validate(shape | changes)
    net = build(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (1.0 if parameter.dim() == 1 else 0.35))
    return TextModel(config, net, make_tokenizer())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def random_model() -> Callable[..., TextModel]:
    """`random_model(tie_word_embeddings=False)`: the tiny model with another shape."""
    return make_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A model folder with a chat template; its context is 512 tokens."""
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    make_model().save(folder)
    return folder


@pytest.fixture(scope="session")
def endless(tmp_path_factory) -> Path:
    """A model that goes on until it is stopped."""
    folder = tmp_path_factory.mktemp("endless") / "endless"
    model = make_model(max_position_embeddings=10**6, eos_token_id=None)
    model.generation = {"eos_token_id": []}
    model.save(folder)
    return folder


@pytest.fixture(scope="session")
def plain(tmp_path_factory, tiny) -> Path:
    """A base model: no chat template."""
    folder = tmp_path_factory.mktemp("plain") / "plain"
    folder.mkdir()
    for file in tiny.iterdir():
        if file.name != "chat_template.jinja":
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture(scope="session")
def model(tiny) -> TextModel:
    """The same model in this process."""
    return bedplate.load(tiny)


class Server:
    """A server's process, and clients of it."""

    def __init__(self, process: subprocess.Popen[str], key: str | None) -> None:
        self.process, self.key = process, key
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()
        self.url = self._wait_for_url()

    def client(self, **options: Any) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=self.key or "none", **({"max_retries": 0, "timeout": 60} | options)
        )

    def async_client(self, **options: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=f"{self.url}/v1", api_key=self.key or "none", **({"max_retries": 0, "timeout": 60} | options)
        )

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        headers = {"Content-Type": "application/json"} | options.pop("headers", {})
        return httpx.post(self.url + path, headers=headers, timeout=60, **content, **options)

    def health(self) -> dict[str, Any]:
        return httpx.get(f"{self.url}/healthz", timeout=10).json()

    def idle(self, seconds: float = 5.0) -> bool:
        """Whether within some seconds nothing is under way any more."""
        return self.eventually(lambda h: not h["active"] and not h["waiting"] and not h["requests"], seconds)

    def eventually(self, condition: Callable[[dict[str, Any]], bool], seconds: float = 5.0) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition(self.health()):
                return True
            time.sleep(0.02)
        return False

    def stop(self, number: int = signal.SIGTERM, timeout: float = 40) -> int:
        """Send a signal, and wait for the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout)
        self._reader.join(5)
        return code

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip("\n"))

    def _wait_for_url(self) -> str:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for line in list(self.said):
                if found := re.search(r"serving on (http://\S+)", line):
                    return found.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.process.kill()
        pytest.fail("the server didn't start:\n" + "\n".join(self.said))


@contextmanager
def run_server(
    *arguments: str | Path,
    environment: dict[str, str] | None = None,
    key: str | None = None,
    program: str | None = None,
):
    """`bedplate serve ... --port 0` until the end of the block. program: Python that calls `serve` itself."""
    command = [sys.executable, "-m", "bedplate", "serve", *map(str, arguments), "--port", "0", "--dtype", "float32"]
    if program is not None:
        start = f"import sys\nfrom bedplate.serve.server import serve\nsys.exit({program})"
        command = [sys.executable, "-c", start, *map(str, arguments)]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=settings)
    try:
        server = Server(process, key)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        assert process.stderr is not None
        process.stderr.close()


@pytest.fixture(scope="session")
def serving():
    """`with serving(folder, "--max-queue", 1) as server:`"""
    return run_server


@pytest.fixture(scope="module")
def server(tiny, endless, plain) -> Iterator[Server]:
    """One server for a file's tests, of all three models."""
    with run_server(tiny, endless, plain) as running:
        yield running
