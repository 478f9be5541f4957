"""A stand-in for a served model: a real HTTP server whose answers are a function of what it is asked."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from bedplate.console import Console
from bedplate.data.corpus import CORPUS_SCHEMA, ParquetTable
from bedplate.data.synthesis.config import SynthesizeConfig
from bedplate.data.synthesis.stage import run
from bedplate.ledger.resources import Meter
from bedplate.ledger.work import Work


class StandIn:
    """answer: what is said to a prompt; a number is a status instead. delay: seconds that it thinks."""

    def __init__(self, answer: Callable[[str], str | int]) -> None:
        self.answer, self.asked, self.bodies, self.delay = answer, [], [], 0.0
        self.cut = False
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = body["messages"][-1]["content"]
                stand_in.asked.append(prompt)
                stand_in.bodies.append(body | {"authorization": self.headers.get("Authorization")})
                threading.Event().wait(stand_in.delay)
                said = stand_in.answer(prompt)
                status = said if isinstance(said, int) else 200
                choice = {
                    "message": {"role": "assistant", "content": said},
                    "finish_reason": "length" if stand_in.cut else "stop",
                }
                reply = {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
                data = json.dumps(reply if status == 200 else {"error": {"message": f"no, {status}"}}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def stand_in():
    made = []

    def make(answer) -> StandIn:
        made.append(StandIn(answer))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def mumble(prompt: str, count: int = 40) -> str:
    """Words that depend on the prompt and are in no passage."""
    digest = hashlib.sha256(prompt.encode()).digest()
    return " ".join(f"w{digest[i % 32]}x{i}" for i in range(count)) + "."


@pytest.fixture(name="mumble", scope="session")
def _mumble():
    return mumble


def write_seeds(folder: Path, texts: Sequence[str]) -> SimpleNamespace:
    """A corpus of these documents, as far as a stage looks at it; every fourth is set aside."""
    folder.mkdir(parents=True)
    sizes = {"train": 0, "validation": 0}
    with ParquetTable(folder, "part", CORPUS_SCHEMA) as table:
        for number, text in enumerate(texts):
            sha256 = hashlib.sha256(text.encode()).hexdigest()
            split = "validation" if number % 4 == 3 else "train"
            sizes[split] += len(text.encode())
            known = {"id": sha256[:24], "text": text, "source": f"raw/{number}", "license": "CC0-1.0"}
            known |= {"language": "en", "split": split, "bytes": len(text.encode()), "sha256": sha256}
            table.add(dict.fromkeys(CORPUS_SCHEMA) | known)
    return SimpleNamespace(path=folder, measures={"bytes": sizes})


@pytest.fixture
def seeds(tmp_path):
    return lambda texts, name="seeds": write_seeds(tmp_path / name, texts)


def synthesize(folder: Path, corpus: SimpleNamespace, model: SimpleNamespace | None = None, **config) -> dict:
    """The measures; the rows are in `folder`, which may hold what an earlier attempt left."""
    folder.mkdir(exist_ok=True)
    work = Work(folder, Console.quiet(), Meter(), resumed=False)
    inputs = {"corpus": corpus} | ({} if model is None else {"model": model})
    run(SynthesizeConfig(**{"license": "CC-BY-4.0"} | config), inputs, work)
    return work.measures


@pytest.fixture(name="synthesize", scope="session")
def _synthesize():
    return synthesize


@pytest.fixture(scope="session")
def tiny_writer(tmp_path_factory) -> Path:
    """A random model of a few thousand weights with a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    from bedplate.codecs.text import TextTokenizer
    from bedplate.families.llama import build
    from bedplate.families.llama_config import LlamaConfig
    from bedplate.generate.model import TextModel

    vocabulary = {
        sign: number for number, sign in enumerate(["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())])
    }
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<s>", "</s>"])
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    tokenizer = TextTokenizer(backend.to_str(), {"bos_token": "<s>", "eos_token": "</s>"}, chat_template=template)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape |= {"num_key_value_heads": 2, "vocab_size": len(vocabulary), "max_position_embeddings": 1024}
    config = LlamaConfig.model_validate(shape | {"bos_token_id": 0, "eos_token_id": 1})
    net = build(config).eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    TextModel(config, net, tokenizer).save(folder)
    return folder
