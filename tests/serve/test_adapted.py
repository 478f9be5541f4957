"""Everything that adapting makes, served beside its base: each answers as it does in this process."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import torch
from tokenizers import Tokenizer, processors

from bedplate.adapt.opening import open_face
from bedplate.adapt.retrieval.stage import index_documents
from bedplate.adapt.stage import ADAPT, AdaptConfig
from bedplate.codecs.text import TextTokenizer
from bedplate.console import Console
from bedplate.families.bert import build as build_bert
from bedplate.families.bert_config import BertConfig
from bedplate.families.encoder_model import EncoderModel
from bedplate.families.imports import import_model
from bedplate.generate.params import SamplingParams
from bedplate.ledger import Artefact, produce
from bedplate.serve.opening import Opener

CAPITALS = """
France Paris Spain Madrid Italy Rome Japan Tokyo Peru Lima Cuba Havana Kenya Nairobi Norway Oslo
""".split()  # noqa: SIM905
WORDS = {
    "fruit": "apple banana cherry grape melon pear plum quince",
    "bird": "crow finch heron kite owl robin wren tit",
}
QUESTION = [{"role": "user", "content": "What is the capital of Greece?"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("adapted")


@pytest.fixture(scope="module")
def base(folder, tiny) -> Artefact:
    return import_model(tiny, folder / "base", console=Console.quiet())


@pytest.fixture(scope="module")
def encoder(folder, model) -> Artefact:
    """A tiny encoder of random weights."""
    shape = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    config = BertConfig.model_validate(shape | {"num_attention_heads": 4, "max_position_embeddings": 64})
    net = build_bert(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.35)
    backend = Tokenizer.from_str(model.tokenizer.backend.to_str())
    backend.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A <|im_end|>", special_tokens=[("<|im_start|>", 1), ("<|im_end|>", 2)]
    )
    EncoderModel(config, net, TextTokenizer(backend.to_str())).save(folder / "hf-encoder")
    return import_model(folder / "hf-encoder", folder / "encoder", console=Console.quiet())


@pytest.fixture(scope="module")
def questions(folder) -> Path:
    pairs = zip(CAPITALS[::2], CAPITALS[1::2], strict=True)
    return _written(folder / "questions.jsonl", [{"prompt": f"Capital of {a}?", "answer": b} for a, b in pairs])


@pytest.fixture(scope="module")
def things(folder) -> Path:
    rows = [
        {"text": f"{before} {word}", "label": label}
        for label, words in WORDS.items()
        for word in words.split()
        for before in ("a", "this", "my old", "that")
    ]
    return _written(folder / "things.jsonl", rows)


@pytest.fixture(scope="module")
def index(folder, encoder) -> Artefact:
    documents = folder / "documents"
    documents.mkdir()
    for country, city in zip(CAPITALS[::2], CAPITALS[1::2], strict=True):
        text = f"# {country}\n\nThe capital of {country} is {city}. People there like <b>tea</b> & cake.\n"
        (documents / f"{country}.md").write_text(text)
    return index_documents(documents, encoder.path, folder / "index", console=Console.quiet())


@pytest.fixture(scope="module")
def paths(folder, base, encoder, questions, things, index) -> dict[str, Path]:
    lora = {"way": "lora", "learning_rates": [0.01], "epochs": 2, "batch": 4, "length": 64, "rank": 4}
    few = {"way": "few-shot", "examples": "fixed", "shots": 2}
    found = {"way": "retrieval", "name": "grounded", "passages": 2, "threshold": 0.0}
    strict = {"name": "strict", "threshold": 1.0}
    return {
        "base": base.path,
        "encoder": encoder.path,
        "lora": adapted(folder, lora, questions, {"base": base}),
        "bitfit": adapted(folder, _without(lora, "rank"), questions, {"base": base}),
        "few-shot": adapted(folder, few, questions, {"base": base}),
        "grounded": adapted(folder, found, questions, {"base": base, "index": index}),
        "strict": adapted(folder, found | strict, questions, {"base": base, "index": index}),
        "tfidf": adapted(folder, {"way": "tfidf"}, things, {}),
        "probe": adapted(folder, {"way": "probe"}, things, {"encoder": encoder}),
        "zero-shot": adapted(folder, {"way": "zero-shot"}, things, {"base": base}),
        "tuned": adapted(folder, lora | {"tune": "encoder", "name": "tuned"}, things, {"encoder": encoder}),
    }


@pytest.fixture(scope="module")
def server(serving, paths):
    with serving(*(f"{name}={path}" for name, path in paths.items())) as running:
        yield running


def adapted(folder: Path, way: dict[str, Any], task: Path, inputs: dict[str, Artefact], **more: Any) -> Path:
    config = AdaptConfig.model_validate({"task": {"file": str(task)}, "way": way} | more)
    out = folder / str(way.get("name") or way["way"])
    return produce(ADAPT, config, inputs, out, name=out.name, console=Console.quiet()).path


def _without(way: dict[str, Any], field: str) -> dict[str, Any]:
    way = dict(way) | {"way": "bitfit"}
    del way[field]
    return way


def _written(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_each_says_what_it_can_be_asked(server):
    abilities = {m.id: m.abilities for m in server.client().models.list()}
    assert abilities == {
        "base": ["chat", "completions"],
        "encoder": ["embeddings"],
        "lora": ["chat", "completions"],
        "bitfit": ["chat", "completions"],
        "few-shot": ["chat"],
        "grounded": ["chat"],
        "strict": ["chat"],
        "tfidf": ["classify"],
        "probe": ["classify"],
        "zero-shot": ["classify"],
        "tuned": ["classify"],
    }


@pytest.mark.parametrize("name", ["base", "lora", "bitfit", "few-shot"])
def test_what_answers_answers_as_in_this_process(server, paths, name):
    opener = Opener("float32")
    options = {"max_tokens": 24, "temperature": 0}
    if name == "base":
        wanted = opener.model(paths[name]).chat(QUESTION, **options)
    else:
        wanted = opener.face(paths[name], None).generate(QUESTION, SamplingParams(**options))
    found = server.client().chat.completions.create(model=name, messages=QUESTION, **options)
    assert found.choices[0].message.content == wanted.text
    assert found.usage.prompt_tokens == wanted.usage.prompt_tokens
    chunks = server.client().chat.completions.create(model=name, messages=QUESTION, **options, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == wanted.text


def test_adapters_change_the_answer_and_not_the_base(server):
    ask = {"messages": QUESTION, "max_tokens": 24, "temperature": 0}
    texts = {
        name: server.client().chat.completions.create(model=name, **ask).choices[0].message.content
        for name in ("base", "lora", "bitfit", "few-shot", "base")
    }
    assert len(set(texts.values())) == 4


def test_things_on_one_base_share_its_tensors(paths):
    opener = Opener("float32")
    ours = {p.data_ptr() for p in opener.model(paths["base"]).net.parameters()}
    for name, own in (("lora", 28), ("bitfit", 5), ("few-shot", 0), ("zero-shot", 0)):
        theirs = {p.data_ptr() for p in opener.face(paths[name], None).base.model.net.parameters()}
        assert len(theirs - ours) == own, name


@pytest.mark.parametrize("name", ["tfidf", "probe", "zero-shot", "tuned"])
def test_classes_and_scores(server, paths, name):
    texts = ["an old pear", "the heron", "no such thing"] * 7
    face = Opener("float32").face(paths[name], None)
    wanted = face.classify(texts)
    answer = server.post("/v1/classify", {"model": name, "input": texts})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["classes"] == list(face.classes)
    assert [d["label"] for d in found["data"]] == list(wanted.labels)
    assert [d["index"] for d in found["data"]] == list(range(21))
    scores = np.array([[d["scores"][c] for c in face.classes] for d in found["data"]])
    np.testing.assert_allclose(scores, wanted.scores, atol=1e-4)
    assert all(d["score"] == d["scores"][d["label"]] for d in found["data"])
    assert (
        server.post("/v1/classify", {"model": name, "input": texts[0]}).json()["data"][0]["label"] == wanted.labels[0]
    )


def test_a_text_that_cannot_be_classified_is_named(server):
    """And neither the client nor the log is told more of it than its length."""
    answer = server.post("/v1/classify", {"model": "zero-shot", "input": ["a pear", "secretword " * 2000]})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "input[1]")
    assert "22000 characters" in error["message"]
    assert "secretword" not in answer.text + "".join(server.said)
    assert server.idle()


def test_grounded_answers_carry_their_citations(server, paths, folder):
    """As in this process, whole and streamed; each citation is what stands there in the document."""
    options = {"max_tokens": 24, "temperature": 0}
    wanted = Opener("float32").face(paths["grounded"], None).generate(QUESTION, SamplingParams(**options))
    assert wanted.citations
    message = server.client().chat.completions.create(model="grounded", messages=QUESTION, **options).choices[0].message
    assert message.content == wanted.text
    assert message.abstained is False
    assert [c["number"] for c in message.citations] == [c.number for c in wanted.citations]
    for citation in message.citations:
        document = (folder / citation["source"]).read_text()
        assert document[citation["start"] : citation["end"]] == citation["text"]
    chunks = list(server.client().chat.completions.create(model="grounded", messages=QUESTION, **options, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == wanted.text
    assert chunks[-1].choices[0].delta.citations == message.citations


def test_what_is_not_in_the_sources_is_said_so(server):
    for name in ("strict",):
        answer = server.client().chat.completions.create(model=name, messages=QUESTION)
        message = answer.choices[0].message
        assert (message.abstained, message.citations) == (True, [])
        assert "sources" in message.content
    again = [*QUESTION, message, {"role": "user", "content": "Why?"}]
    assert server.client().chat.completions.create(model="strict", messages=again).choices


def test_an_index_is_served_with_a_base(serving, index, base):
    with serving(f"docs={index.path}", "--base", base.path) as running:
        answer = running.client().chat.completions.create(model="docs", messages=QUESTION, max_tokens=20)
        assert answer.choices[0].message.content


def test_an_index_without_a_base_is_refused(cli, index):
    done = cli("serve", index.path, "--port", "0")
    assert done.returncode == 2
    assert "--base" in done.stderr


# -- embeddings --------------------------------------------------------------------------------------------------------


def test_embeddings_by_the_official_client(server, paths):
    """The client asks for base64 and decodes it; as numbers they are the same."""
    texts = [f"text number {i} " + "and on " * (i % 7) for i in range(100)]
    wanted = EncoderModel.load(paths["encoder"]).embed_counted(texts)
    found = server.client().embeddings.create(model="encoder", input=texts)
    np.testing.assert_allclose([d.embedding for d in found.data], wanted.vectors, atol=1e-5)
    assert [d.index for d in found.data] == list(range(100))
    assert found.usage.prompt_tokens == sum(wanted.tokens)
    plain = server.client().embeddings.create(model="encoder", input=texts[3], encoding_format="float", dimensions=32)
    np.testing.assert_allclose(plain.data[0].embedding, wanted.vectors[3], atol=1e-5)
    raw = server.post("/v1/embeddings", {"model": "encoder", "input": texts[:2], "encoding_format": "base64"}).json()
    vector = np.frombuffer(base64.b64decode(raw["data"][1]["embedding"]), dtype="<f4")
    np.testing.assert_allclose(vector, wanted.vectors[1], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"input": None}, "input", "missing"),
        ({"input": []}, "input", "array of strings"),
        ({"input": ""}, "input[0]", "isn't empty"),
        ({"input": ["a", ""]}, "input[1]", "isn't empty"),
        ({"input": [1, 2]}, "input[0]", "token ids"),
        ({"input": [[1, 2]]}, "input[0]", "token ids"),
        ({"input": {"a": 1}}, "input", "array of strings"),
        ({"input": ["a"] * 2049}, "input", "2048"),
        ({"input": ["a", "b " * 200]}, "input[1]", "tokens, and model 'encoder' reads 64"),
        ({"dimensions": 16}, "dimensions", "have 32"),
        ({"encoding_format": "int8"}, "encoding_format", "float, base64"),
        ({"colour": 1}, "colour", "unknown"),
        ({"model": "base"}, "model", "doesn't embed"),
    ],
)
def test_embedding_requests_that_are_refused(server, changes, param, words):
    answer = server.post("/v1/embeddings", {"model": "encoder", "input": "x"} | changes)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert words in answer.json()["error"]["message"]


def test_what_only_embeds_or_classifies_does_not_chat(server):
    for name, route in (("encoder", "/v1/embeddings"), ("tfidf", "/v1/classify"), ("zero-shot", "/v1/classify")):
        with pytest.raises(openai.BadRequestError, match=route):
            server.client().chat.completions.create(model=name, messages=QUESTION)


def test_a_prompts_own_errors_name_no_paths(server):
    """A prompt wants a question at the end."""
    with pytest.raises(openai.BadRequestError, match="last isn't a text from the user") as caught:
        server.client().chat.completions.create(model="few-shot", messages=[{"role": "assistant", "content": "hm"}])
    assert caught.value.param == "messages"


# -- a base elsewhere --------------------------------------------------------------------------------------------------


def test_a_base_elsewhere_is_asked_there(folder, server, serving, questions, paths):
    """One server's prompt on another server's model: the answers are the model's."""
    endpoint = {"url": f"{server.url}/v1", "model": "base", "timeout": 30, "retries": 0}
    path = adapted(folder, {"way": "zero-shot", "name": "afar"}, questions, {}, endpoint=endpoint)
    with serving(path) as proxy:
        assert proxy.client().models.retrieve("afar").remote
        options = {"model": "afar", "messages": QUESTION, "temperature": 0, "max_tokens": 20}
        options |= {"extra_body": {"ignore_eos": True}}
        found = proxy.client().chat.completions.create(**options)
        wanted = open_face(path).generate(QUESTION, SamplingParams(max_tokens=20, ignore_eos=True))
        assert found.choices[0].message.content == wanted.text
        chunks = list(proxy.client().chat.completions.create(**options, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == wanted.text
        assert len(chunks) > 5
        with pytest.raises(openai.BadRequestError, match="log-probabilities"):
            proxy.client().chat.completions.create(**options, logprobs=True)
        stream = proxy.client().chat.completions.create(**options | {"max_tokens": 400}, stream=True)
        next(iter(stream))
        stream.close()
        assert proxy.idle()
        assert server.idle()


def test_a_dead_endpoint_is_told_without_its_address(folder, tiny, serving, questions):
    with serving(tiny) as short_lived:
        endpoint = {"url": f"{short_lived.url}/v1", "model": "tiny", "timeout": 5, "retries": 0}
        path = adapted(folder, {"way": "zero-shot", "name": "dead"}, questions, {}, endpoint=endpoint)
        with serving(path, tiny) as proxy:
            short_lived.stop()
            for stream in (False, True):
                answer = proxy.post("/v1/chat/completions", {"model": "dead", "messages": QUESTION, "stream": stream})
                assert "the server behind model 'dead' didn't answer" in answer.text
                assert short_lived.url not in answer.text
                assert answer.status_code == (200 if stream else 502)
            assert any(short_lived.url in line for line in proxy.said)
            assert proxy.client().chat.completions.create(model="tiny", messages=QUESTION, max_tokens=3).choices
            assert proxy.idle()


# -- at the terminal ---------------------------------------------------------------------------------------------------


def test_chat_with_a_prompt_is_a_conversation(cli, paths):
    """In the number format of this machine, in which the artefact is opened."""
    lines = ["What is the capital of Greece?", "And of Peru?"]
    done = cli("chat", paths["few-shot"], "--max-tokens", "9", stdin="\n".join([*lines, "/reset", lines[0]]) + "\n")
    assert done.returncode == 0, done.stderr
    face, params = open_face(paths["few-shot"]), SamplingParams(max_tokens=9)
    said = [{"role": "user", "content": lines[0]}]
    one = face.generate(said, params).text
    said += [{"role": "assistant", "content": one}, {"role": "user", "content": lines[1]}]
    two = face.generate(said, params).text
    assert done.stdout == f"{one}\n{two}\n{one}\n"


def test_chat_lists_citations(cli, paths):
    done = cli("chat", paths["grounded"], "--prompt", QUESTION[0]["content"], "--max-tokens", "20")
    assert done.returncode == 0, done.stderr
    wanted = open_face(paths["grounded"]).generate(QUESTION, SamplingParams(max_tokens=20))
    assert done.stdout == wanted.text + "\n"
    for citation in wanted.citations:
        assert f"[{citation.number}] {citation.source}" in done.stderr
        assert f"characters {citation.start}-{citation.end}: " in done.stderr


def test_chat_with_an_adapter_is_chat_with_a_model(cli, paths):
    done = cli("chat", paths["lora"], "--prompt", "Hello?", "--max-tokens", "9", "--temperature", "0")
    assert done.returncode == 0, done.stderr
    wanted = open_face(paths["lora"]).generate([{"role": "user", "content": "Hello?"}], SamplingParams(max_tokens=9))
    assert done.stdout == wanted.text + "\n"


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        ("tfidf", (), "tells classes apart"),
        ("few-shot", ("--raw",), "--raw is for models"),
        ("base", ("--base", "{base}"), "has no base"),
    ],
)
def test_chat_refuses_what_cannot_be(cli, paths, name, flags, words):
    done = cli("chat", paths[name], "--prompt", "x", *(flag.format(**paths) for flag in flags))
    assert done.returncode == 2
    assert words in done.stderr
