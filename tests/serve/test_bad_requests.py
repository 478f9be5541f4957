"""What can't be answered is refused with the field's name, in OpenAI's shape, and nobody else notices."""

from __future__ import annotations

import json
import re

import httpx2 as httpx
import pytest

HI = [{"role": "user", "content": "hi"}]
CHAT = {"model": "tiny", "messages": HI, "max_tokens": 4}
DEEP = b'{"model": ' + b"[" * 100 + b"]" * 100 + b"}"


def chat(**changes):
    return {k: v for k, v in (CHAT | changes).items() if v is not ...}


def said(message):
    return [{"role": "user", "content": "hi"}, message]


CHAT_TABLE = [
    # (what is asked, status, the field that is named, words of the message)
    (chat(model=...), 400, "model", "model is missing"),
    (chat(model=5), 400, "model", "a string"),
    (chat(model="gpt-4"), 404, "model", "there is no model 'gpt-4'; there are: tiny, endless, plain"),
    (chat(model="plain"), 400, "model", "no chat template"),
    (chat(messages=...), 400, "messages", "missing"),
    (chat(messages=[]), 400, "messages", "at least one"),
    (chat(messages="hi"), 400, "messages", "array"),
    (chat(messages=["hi"]), 400, "messages[0]", "no object"),
    (chat(messages=HI * 3000), 400, "messages", "3000"),
    (chat(messages=said({"role": "robot", "content": "x"})), 400, "messages[1].role", "robot"),
    (chat(messages=said({"content": "x"})), 400, "messages[1].role", "missing"),
    (chat(messages=said({"role": ["user"], "content": "x"})), 400, "messages[1].role", "must be one of"),
    (chat(messages=said({"role": "user"})), 400, "messages[1].content", "missing"),
    (chat(messages=said({"role": "user", "content": 5})), 400, "messages[1].content", "string"),
    (chat(messages=said({"role": "user", "content": []})), 400, "messages[1].content", "string"),
    (
        chat(messages=said({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]})),
        400, "messages[1].content[0]", "image_url",
    ),
    (
        chat(messages=said({"role": "user", "content": [{"text": "x"}]})),
        400, "messages[1].content[0]", "without a type",
    ),
    (
        chat(messages=said({"role": "user", "content": [{"type": "text", "text": 3}]})),
        400, "messages[1].content[0].text", "string",
    ),
    (chat(messages=said({"role": "user", "content": "x", "mood": "good"})), 400, "messages[1].mood", "unknown"),
    (chat(messages=said({"role": "user", "content": "\ud800"})), 400, "messages[1].content", "surrogates"),
    (chat(messages=said({"role": "tool", "content": "x", "tool_call_id": "a"})), 400, "messages", "no tools"),
    (chat(messages=said({"role": "assistant", "content": None})), 400, "messages[1].content", "missing"),
    (chat(messages=said({"role": "assistant", "tool_calls": [3]})), 400, "messages[1].tool_calls[0]", "function"),
    (chat(messages=[{"role": "user", "content": "refuse"}]), 400, "messages", "no such words here"),
    (chat(messages=[{"role": "user", "content": "long " * 1000}]), 400, "messages", r"\d{4} tokens.* is 512"),
    (chat(messages=[{"role": "user", "content": "long " * 20000}]), 400, "messages", "100000 characters.* is 512"),
    (chat(max_tokens=0), 400, "max_tokens", "0"),
    (chat(max_tokens=-5), 400, "max_tokens", "-5"),
    (chat(max_tokens=10**30), 400, "max_tokens", "whole number"),
    (chat(max_tokens=513), 400, "max_tokens", "513.*512"),
    (chat(max_tokens=True), 400, "max_tokens", "true"),
    (chat(max_tokens="5"), 400, "max_tokens", "5"),
    (chat(max_tokens=2.5), 400, "max_tokens", "2.5"),
    (chat(max_tokens=4, max_completion_tokens=5), 400, "max_tokens", "max_completion_tokens"),
    (chat(temperature=-1), 400, "temperature", "-1"),
    (chat(temperature=3), 400, "temperature", "3"),
    (chat(temperature="hot"), 400, "temperature", "hot"),
    (chat(temperature=1e400), 400, None, "Infinity"),
    (chat(top_p=0), 400, "top_p", "above 0"),
    (chat(top_p=1.5), 400, "top_p", "1.5"),
    (chat(top_k=-1), 400, "top_k", "-1"),
    (chat(min_p=2), 400, "min_p", "2"),
    (chat(n=0), 400, "n", "0"),
    (chat(n=9), 400, "n", "from 1 to 8"),
    (chat(n=10**9), 400, "n", "from 1 to 8"),
    (chat(seed=-1), 400, "seed", "-1"),
    (chat(seed=2**63), 400, "seed", "seed"),
    (chat(stop=""), 400, "stop", "empty"),
    (chat(stop=["a"] * 5), 400, "stop", "at most 4"),
    (chat(stop=["a" * 999]), 400, "stop", "256"),
    (chat(stop=[3]), 400, "stop", "strings"),
    (chat(stop_token_ids=["a"]), 400, "stop_token_ids", "token numbers"),
    (chat(stream="yes"), 400, "stream", "true or false"),
    (chat(stream_options={"include_usage": True}), 400, "stream_options", "stream"),
    (chat(stream=True, stream_options=5), 400, "stream_options", "object"),
    (chat(stream=True, stream_options={"colour": 1}), 400, "stream_options.colour", "unknown"),
    (chat(top_logprobs=2), 400, "top_logprobs", "logprobs"),
    (chat(logprobs=True, top_logprobs=21), 400, "top_logprobs", "20"),
    (chat(presence_penalty=0.5), 400, "presence_penalty", "but 0"),
    (chat(frequency_penalty=-1), 400, "frequency_penalty", "but 0"),
    (chat(logit_bias={"5": 1}), 400, "logit_bias", "isn't supported"),
    (chat(response_format={"type": "json_object"}), 400, "response_format", "isn't supported"),
    (chat(tools=[{"type": "function", "function": {"name": "f"}}]), 400, "tools", "no tools"),
    (chat(tools=[{"type": "web"}]), 400, "tools[0]", "function"),
    (chat(tools="all"), 400, "tools", "array"),
    (chat(tool_choice="auto"), 400, "tool_choice", "isn't supported"),
    (chat(parallel_tool_calls=True), 400, "parallel_tool_calls", "isn't supported"),
    (chat(functions=[]), 400, "functions", "isn't supported"),
    (chat(store=True), 400, "store", "isn't supported"),
    (chat(modalities=["audio"]), 400, "modalities", "isn't supported"),
    (chat(reasoning_effort="high"), 400, "reasoning_effort", "isn't supported"),
    (chat(service_tier="priority"), 400, "service_tier", "isn't supported"),
    (chat(metadata="x"), 400, "metadata", "object"),
    (chat(user=5), 400, "user", "string"),
    (chat(best_of=2), 400, "best_of", "unknown field"),
    (chat(**{"x" * 500: 1}), 400, "x" * 57 + "...", "unknown"),
]  # fmt: skip

COMPLETION = {"model": "plain", "prompt": "x", "max_tokens": 4}
COMPLETION_TABLE = [
    ({"prompt": None}, "prompt", "missing"),
    ({"prompt": []}, "prompt", "string"),
    ({"prompt": {}}, "prompt", "string"),
    ({"prompt": [1, "a"]}, "prompt", "string"),
    ({"prompt": [[]]}, "prompt", "string"),
    ({"prompt": [True]}, "prompt", "string"),
    ({"prompt": [400]}, "prompt", "400"),
    ({"prompt": ["x", [-1]]}, "prompt[1]", "isn't among the 400"),
    ({"prompt": ["x"] * 65}, "prompt", "64"),
    ({"prompt": ["x"] * 9, "n": 8}, "prompt", "64"),
    ({"prompt": "x " * 600}, "prompt", r"\d+ tokens.* is 512"),
    ({"prompt": "x " * 50000}, "prompt", "100000 characters.* is 512"),
    ({"max_tokens": 0}, "max_tokens", "echo"),
    ({"logprobs": 21}, "logprobs", "20"),
    ({"logprobs": True}, "logprobs", "true"),
    ({"echo": True, "stream": True}, "echo", "stream"),
    ({"best_of": 3}, "best_of", "isn't supported"),
    ({"suffix": "end"}, "suffix", "isn't supported"),
    ({"presence_penalty": 1}, "presence_penalty", "isn't supported"),
    ({"messages": HI}, "messages", "unknown"),
]


def check(answer, status, param, words):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param, error
    assert re.search(words, error["message"]), error
    assert "/tmp" not in answer.text
    assert "Traceback" not in answer.text
    return error


@pytest.mark.parametrize(("body", "status", "param", "words"), CHAT_TABLE)
def test_chat_requests_that_are_refused(server, body, status, param, words):
    content = json.dumps(body, allow_nan=True).encode("utf-8", "surrogatepass")
    for stream in [False, True] if body.get("stream") is None else [False]:
        if stream:
            content = json.dumps(body | {"stream": True}, allow_nan=True).encode("utf-8", "surrogatepass")
        if stream and "stream_options" in body:
            continue
        check(server.post("/v1/chat/completions", content), status, param, words)


@pytest.mark.parametrize(("changes", "param", "words"), COMPLETION_TABLE)
def test_completion_requests_that_are_refused(server, changes, param, words):
    check(server.post("/v1/completions", COMPLETION | changes), 400, param, words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "isn't JSON"),
        (b"{", "line 1"),
        (b"[]", "no object"),
        (b"null", "no object"),
        (b'{"model": NaN}', "NaN"),
        (b'\xff{"model": 1}', "UTF-8"),
        (DEEP, "nested 101 deep"),
        (b'{"a":' * 200_000, "nested 200000 deep"),
        (b'{"model": ' + b"9" * 10_000 + b"}", "isn't JSON"),
    ],
)
def test_bodies_that_are_no_request(server, body, words):
    check(server.post("/v1/chat/completions", body), 400, None, words)


def test_brackets_in_texts_are_only_text(server):
    body = chat(messages=[{"role": "user", "content": '"[' * 100 + "\\"}])
    assert server.post("/v1/chat/completions", body).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/v1/embeddings", {"model": "tiny", "input": "x"}, "'tiny' doesn't embed; ask it at /v1/chat/completions"),
        ("/v1/classify", {"model": "tiny", "input": "x"}, "'tiny' doesn't classify"),
    ],
)
def test_models_are_asked_only_what_they_do(server, path, body, words):
    check(server.post(path, body), 400, "model", words)


def test_paths_and_methods_that_are_not_there(server):
    check(httpx.get(server.url + "/v1/files"), 404, None, "nothing at this path")
    check(httpx.get(server.url + "/docs"), 404, None, "nothing at this path")
    check(httpx.get(server.url + "/v1/chat/completions"), 405, None, "method")
    check(httpx.delete(server.url + "/v1/models/tiny"), 405, None, "method")


def test_what_says_nothing_about_the_answer_is_let_pass(server):
    harmless = {
        "user": "u", "metadata": {"a": "b"}, "safety_identifier": "s", "prompt_cache_key": "k", "store": False,
        "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "response_format": {"type": "text"},
        "tools": [], "tool_choice": None, "n": None, "stop": None, "modalities": ["text"], "service_tier": "auto",
    }  # fmt: skip
    assert server.post("/v1/chat/completions", chat(**harmless)).status_code == 200


def test_refusals_leave_nothing_behind(server):
    assert server.idle()
    assert server.post("/v1/chat/completions", CHAT).status_code == 200
