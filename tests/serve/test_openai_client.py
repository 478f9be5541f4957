"""The official `openai` client against a real server: every answer is what the model says in this process."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import openai
import pytest

from bedplate.generate.params import SamplingParams

QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a bedplate?"}]


def expected(model, messages=QUESTION, **options):
    return model.chat(messages, **({"max_tokens": 20} | options))


def test_a_greedy_answer_is_that_of_generate(server, model):
    found = server.client().chat.completions.create(model="tiny", messages=QUESTION, temperature=0, max_tokens=20)
    wanted = expected(model)
    assert found.choices[0].message.content == wanted.text
    assert found.choices[0].finish_reason == wanted.finish_reason
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (
        wanted.usage.prompt_tokens,
        wanted.usage.completion_tokens,
    )
    assert (found.object, found.model, found.choices[0].message.role) == ("chat.completion", "tiny", "assistant")


def test_a_stream_adds_up_to_the_same(server, model):
    options = {"model": "tiny", "messages": QUESTION, "temperature": 0, "max_tokens": 30}
    chunks = list(
        server.client().chat.completions.create(stream=True, stream_options={"include_usage": True}, **options)
    )
    wanted = expected(model, max_tokens=30)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == wanted.text
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == wanted.finish_reason
    assert chunks[-1].usage.total_tokens == wanted.usage.total_tokens
    assert not chunks[-1].choices
    assert all(c.usage is None for c in chunks[:-1])
    assert len({c.id for c in chunks}) == 1
    without = list(server.client().chat.completions.create(stream=True, **options))
    assert all(c.usage is None and c.choices for c in without)


def test_sampling_with_a_seed_is_that_of_generate(server, model):
    options = {"temperature": 0.9, "top_p": 0.9, "seed": 7, "max_tokens": 20}
    found = server.client().chat.completions.create(
        model="tiny", messages=QUESTION, extra_body={"top_k": 30, "repetition_penalty": 1.2}, **options
    )
    assert found.choices[0].message.content == expected(model, top_k=30, repetition_penalty=1.2, **options).text


def test_several_choices(server, model):
    ask = {"model": "tiny", "messages": QUESTION, "n": 3, "max_tokens": 12, "temperature": 1.0, "seed": 3}
    found = server.client().chat.completions.create(**ask)
    texts = [c.message.content for c in found.choices]
    assert [c.index for c in found.choices] == [0, 1, 2]
    assert texts[0] == expected(model, temperature=1.0, seed=3, max_tokens=12).text
    assert len(set(texts)) == 3
    assert [c.message.content for c in server.client().chat.completions.create(**ask).choices] == texts
    assert found.usage.prompt_tokens == expected(model).usage.prompt_tokens
    streamed = ["", "", ""]
    for chunk in server.client().chat.completions.create(**ask, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts


def test_stop_strings_and_the_length(server, model):
    whole = expected(model, max_tokens=40, ignore_eos=True).text
    stop = whole[10:13]
    ask = {"model": "tiny", "messages": QUESTION, "temperature": 0, "extra_body": {"ignore_eos": True}}
    found = server.client().chat.completions.create(**ask, max_completion_tokens=40, stop=[stop]).choices[0]
    assert (found.message.content, found.finish_reason) == (whole[: whole.index(stop)], "stop")
    cut = server.client().chat.completions.create(**ask, max_tokens=3)
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 3)


def test_logprobs_are_the_models(server, model):
    wanted = expected(model, max_tokens=10, top_logprobs=3, ignore_eos=True)
    ask = {
        "model": "tiny",
        "messages": QUESTION,
        "temperature": 0,
        "max_tokens": 10,
        "logprobs": True,
        "top_logprobs": 3,
    }
    found = server.client().chat.completions.create(**ask, extra_body={"ignore_eos": True}).choices[0].logprobs.content
    assert [t.logprob for t in found] == pytest.approx(list(wanted.logprobs), abs=1e-4)
    assert b"".join(bytes(t.bytes) for t in found).decode("utf-8", "replace") == wanted.text
    for token, top in zip(found, wanted.top_logprobs, strict=True):
        assert [t.logprob for t in token.top_logprobs] == pytest.approx(list(top.values()), abs=1e-4)
    streamed = []
    for chunk in server.client().chat.completions.create(**ask, stream=True, extra_body={"ignore_eos": True}):
        if chunk.choices[0].logprobs:
            streamed += chunk.choices[0].logprobs.content
    assert [t.logprob for t in streamed] == pytest.approx([t.logprob for t in found], abs=1e-4)


def test_messages_in_parts_and_developers(server, model):
    parts = [{"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]}]
    found = server.client().chat.completions.create(
        model="tiny", messages=[*parts, QUESTION[1]], temperature=0, max_tokens=20
    )
    assert found.choices[0].message.content == expected(model).text


def test_an_answer_can_be_sent_back_as_it_came(server, model):
    client = server.client()
    first = (
        client.chat.completions.create(model="tiny", messages=QUESTION, temperature=0, max_tokens=9).choices[0].message
    )
    more = [*QUESTION, first, {"role": "user", "content": "And then?"}]
    second = client.chat.completions.create(model="tiny", messages=more, temperature=0, max_tokens=9)
    plain = [*QUESTION, {"role": "assistant", "content": first.content}, more[-1]]
    assert second.choices[0].message.content == expected(model, plain, max_tokens=9).text


# -- completions -------------------------------------------------------------------------------------------------------


def test_completions_of_texts_and_of_tokens(server, model):
    prompts = ["def main():", "class Server:"]
    wanted = model.generate(prompts, max_tokens=16)
    for given in (prompts, [model.tokenizer.encode(p) for p in prompts]):
        found = server.client().completions.create(model="plain", prompt=given, temperature=0)
        assert [c.text for c in found.choices] == [g.text for g in wanted]
        assert [c.finish_reason for c in found.choices] == [g.finish_reason for g in wanted]
        assert found.usage.completion_tokens == sum(g.usage.completion_tokens for g in wanted)
        assert found.usage.prompt_tokens == sum(g.usage.prompt_tokens for g in wanted)
    streamed = ["", ""]
    for chunk in server.client().completions.create(model="plain", prompt=prompts, temperature=0, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == [g.text for g in wanted]


def test_echo_tells_the_prompts_own_logprobs(server, model):
    """Against the full forward pass; a longer prompt than is scored in one turn."""
    import torch

    text = "def main(): return " + "what was said before " * 30
    ids = model.tokenizer.encode(text)
    with torch.inference_mode():
        logprobs = model(torch.tensor([ids]))[0].log_softmax(-1)
    wanted = logprobs[:-1].gather(-1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()
    for most in (0, 1):
        found = (
            server.client()
            .completions.create(model="plain", prompt=text, echo=True, logprobs=2, max_tokens=most, temperature=0)
            .choices[0]
        )
        assert found.text.startswith(text)
        assert len(found.logprobs.tokens) == len(ids) + most
        assert found.logprobs.token_logprobs[0] is None
        assert found.logprobs.token_logprobs[1 : len(ids)] == pytest.approx(wanted, abs=1e-4)
        for offset, token in zip(found.logprobs.text_offset[: len(ids)], found.logprobs.tokens, strict=False):
            assert text[offset:].startswith(token)
        assert len(found.logprobs.top_logprobs[5]) == 2


# -- models, and many at once ------------------------------------------------------------------------------------------


def test_models_are_listed(server):
    models = {m.id: m for m in server.client().models.list()}
    assert list(models) == ["tiny", "endless", "plain"]
    assert models["tiny"].abilities == ["chat", "completions"]
    assert models["plain"].abilities == ["completions"]
    assert models["tiny"].context == 512
    assert server.client().models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="tiny, endless, plain"):
        server.client().models.retrieve("huge")


def test_twenty_clients_at_once_get_what_each_gets_alone(server, model):
    """Greedy, sampled, streamed and not, of all lengths, two of them wrong: each its own answer."""
    conversations = [[{"role": "user", "content": f"question {i} " + "x " * (9 * i % 70)}] for i in range(20)]
    params = [SamplingParams(max_tokens=5 + i, temperature=(i % 2) * 0.8, seed=i) for i in range(20)]
    wanted = [model.chat(c, p).text for c, p in zip(conversations, params, strict=True)]

    async def ask(client, i):
        options = {"model": "tiny", "messages": conversations[i], "seed": i}
        options |= {"max_tokens": params[i].max_tokens, "temperature": params[i].temperature}
        if i % 3:
            return (await client.chat.completions.create(**options)).choices[0].message.content
        chunks = [c async for c in await client.chat.completions.create(**options, stream=True)]
        return "".join(c.choices[0].delta.content or "" for c in chunks)

    async def wrong(client, content):
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": content}])

    async def everybody():
        clients = [server.async_client() for _ in range(22)]
        asked = [ask(clients[i], i) for i in range(20)]
        bad = [wrong(clients[20], "refuse"), wrong(clients[21], "long " * 2000)]
        found = await asyncio.gather(*asked, *bad)
        for client in clients:
            await client.close()
        return found[:20]

    assert asyncio.run(everybody()) == wanted
    assert server.idle()


# -- clients that leave ------------------------------------------------------------------------------------------------


def endless_request(server, **options):
    return server.client().chat.completions.create(
        model="endless", messages=QUESTION, temperature=0, max_tokens=900_000, **options
    )


def test_a_stream_that_is_closed_frees_its_slot(server):
    stream = endless_request(server, stream=True, n=2)
    assert next(iter(stream))
    assert server.eventually(lambda h: h["active"] == 2)
    stream.close()
    assert server.idle()


def test_a_client_that_gives_up_waiting_frees_its_slot(server):
    with pytest.raises(openai.APITimeoutError):
        server.client(timeout=0.7).chat.completions.create(model="endless", messages=QUESTION, max_tokens=900_000)
    assert server.idle()


@pytest.mark.parametrize("stream", [True, False])
def test_a_broken_connection_frees_its_slot(server, stream):
    """No farewell: the socket is closed in the middle."""
    message = {"role": "user", "content": "on"}
    body = json.dumps({"model": "endless", "max_tokens": 900_000, "messages": [message], "stream": stream})
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        assert server.eventually(lambda h: h["active"] == 1)
    assert server.idle()


def test_nobody_is_slowed_by_who_left(server, model):
    """Streams begun and left in great number, and in between right answers for others."""
    for _ in range(10):
        for _ in range(3):
            endless_request(server, stream=True).close()
        found = server.client().chat.completions.create(model="tiny", messages=QUESTION, temperature=0, max_tokens=20)
        assert found.choices[0].message.content == expected(model).text
    assert server.idle()


def test_the_health_check_answers_while_there_is_much_to_do(server):
    streams = [endless_request(server, stream=True) for _ in range(8)]
    slowest = 0.0
    for _ in range(20):
        began = time.monotonic()
        assert server.health()["status"] == "ok"
        slowest = max(slowest, time.monotonic() - began)
    for stream in streams:
        stream.close()
    assert slowest < 1
    assert server.idle()
