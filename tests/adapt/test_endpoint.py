"""An endpoint as a base, against a real server on this machine that misbehaves as it is told to."""

from __future__ import annotations

import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # with --import-mode=importlib a folder's own modules aren't found
from stand_in import KEY, StandIn

from bedplate.adapt.endpoint import EndpointBase, Spent, billed
from bedplate.adapt.face import Base
from bedplate.adapt.ways import EndpointConfig
from bedplate.errors import RecipeError, UserError
from bedplate.generate.endpoint_http import EndpointError
from bedplate.generate.generation import Usage
from bedplate.generate.params import SamplingParams

HELLO = [{"role": "user", "content": "hello there"}]


def base(url: str, **settings) -> EndpointBase:
    return EndpointBase(EndpointConfig.model_validate({"url": url, "model": "small", "timeout": 5.0} | settings))


def test_it_asks_and_counts():
    with StandIn(answer=lambda body: f"you said {body['messages'][-1]['content']}") as server:
        asked = base(server.url, prompt_price=2.0, completion_price=10.0)
        assert isinstance(asked, Base)
        answer = asked.generate(HELLO, SamplingParams(max_tokens=7, stop=("\n",), seed=3))
        assert answer.text == "you said hello there"
        assert answer.usage.prompt_tokens > 0
        assert asked.spent == Spent(1, answer.usage.prompt_tokens, 4, 0)
        assert asked.cost(Usage(1_000_000, 100_000)) == pytest.approx(3.0)
        body = server.requests[0]["body"]
        assert body == {
            "model": "small",
            "messages": HELLO,
            "max_tokens": 7,
            "temperature": 0.0,
            "stop": ["\n"],
            "seed": 3,
        }


def test_usage_that_isnt_stated_is_unknown_not_zero():
    with StandIn(usage=False) as server:
        asked = base(server.url)
        asked.generate(HELLO)
        assert asked.spent == Spent(1, 0, 0, unknown=1)


def test_a_bill_counts_every_endpoint_that_is_made_inside():
    with StandIn(answer=lambda body: "a b", logprob=lambda text, i: -1.0) as server:
        outside = base(server.url)
        with billed() as bill:
            first, second = base(server.url), base(server.url)
            first.generate_many([HELLO] * 5)
            second.echo(["a b c"], [2])
            outside.generate(HELLO)
            before = bill.spent
            second.generate(HELLO)
        assert (before.requests, before.unknown) == (6, 0)
        assert before.completion_tokens == 5 * 2 + 1  # an echo writes a token too
        assert bill.spent - before == Spent(1, outside.spent.prompt_tokens, 2, 0)
        assert base(server.url)._shared is None


def test_several_at_once_in_order_and_no_more_than_allowed():
    busy, seen = set(), []

    def slow(body):
        text = body["messages"][0]["content"]
        busy.add(text)
        time.sleep(0.05)
        seen.append(len(busy))
        busy.discard(text)
        return text

    with StandIn(answer=slow) as server:
        asked = base(server.url, concurrency=3)
        many = [[{"role": "user", "content": str(i)}] for i in range(12)]
        assert [a.text for a in asked.generate_many(many)] == [str(i) for i in range(12)]
        assert 1 < max(seen) <= 3


def test_a_stream_comes_in_pieces():
    with StandIn(answer=lambda body: "one two three") as server:
        stream = base(server.url).stream(HELLO)
        pieces = []
        while True:
            try:
                pieces.append(next(stream))
            except StopIteration as end:
                answer = end.value
                break
        assert pieces == ["one", " two", " three"]
        assert answer.text == "one two three"
        assert answer.finish_reason == "length"
        assert answer.usage == Usage(2, 1)
        assert server.requests[0]["body"]["stream_options"] == {"include_usage": True}


def test_a_stream_is_put_as_the_server_wants_it_and_counted():
    with StandIn(trouble=[(400, "stream_options: unknown field"), (400, "max_completion_tokens, please")]) as server:
        asked = base(server.url)
        for _ in range(2):
            assert list(asked.stream(HELLO)) == ["an", " answer"]
        assert ["stream_options" in r["body"] for r in server.requests] == [True, False, False, False]
        assert asked.spent == Spent(2, 4, 2, 0)
        left = asked.stream(HELLO)
        next(left)
        left.close()
        assert asked.spent == Spent(3, 4, 2, unknown=1)


def test_who_leaves_a_stream_ends_the_request():
    event = json.dumps({"choices": [{"delta": {"content": "one"}}]})
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = base(f"http://127.0.0.1:{server.getsockname()[1]}/v1").stream(HELLO)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(next, stream)
            there, _ = server.accept()
            with there:
                there.settimeout(20)
                while b"hello there" not in there.recv(1 << 16):
                    pass
                there.sendall(f"HTTP/1.1 200 OK\r\n\r\ndata: {event}\n\n".encode())
                assert first.result(20) == "one"
                stream.close()
                assert there.recv(1) == b""


@pytest.mark.parametrize("trouble", [503, 429, "drop", {"Retry-After": "0"}])
def test_what_may_pass_is_tried_again(trouble):
    with StandIn(trouble=[trouble, trouble]) as server:
        assert base(server.url, retries=2).generate(HELLO).text == "an answer"
        assert len(server.requests) == 3


def test_retry_after_is_obeyed_in_seconds_and_as_a_date():
    for asked, least in (("1", 0.9), (3, 1.5)):  # a date has whole seconds, and a little of the three goes by
        with StandIn() as server:
            date = datetime.now(UTC) + timedelta(seconds=asked if isinstance(asked, int) else 0)
            server.trouble = [{"Retry-After": format_datetime(date, usegmt=True) if asked == 3 else asked}]
            began = time.monotonic()
            base(server.url, retries=1).generate(HELLO)
            assert time.monotonic() - began >= least


def test_a_server_that_asks_for_an_hour_is_given_up_at_once():
    with (
        StandIn(trouble=[{"Retry-After": "3600"}]) as server,
        pytest.raises(EndpointError, match="to wait 3600 s"),
    ):
        base(server.url, retries=3).generate(HELLO)


def test_what_will_not_pass_is_not_tried_again():
    with StandIn(trouble=[400, 400]) as server:
        with pytest.raises(EndpointError, match=r"refused the request \(400\): told to fail") as error:
            base(server.url, retries=3).generate(HELLO)
        assert len(server.requests) == 1
        assert error.value.exit_code == 2


def test_a_dead_server_is_named_with_what_to_do():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    with pytest.raises(UserError, match=r"chat/completions: no answer.*refused") as error:
        base(url, retries=0).generate(HELLO)
    assert url in error.value.problem
    assert "Check that the server runs" in error.value.fix


def test_a_slow_server_is_given_up():
    with StandIn(trouble=["3", "3"]) as server:
        began = time.monotonic()
        with pytest.raises(UserError, match="timed out"):
            base(server.url, timeout=0.3, retries=1).generate(HELLO)
        assert time.monotonic() - began < 2.5


def test_a_key_comes_from_the_environment_and_is_never_shown(monkeypatch):
    monkeypatch.setenv("OUR_KEY", KEY)
    with StandIn(key=KEY) as server:
        asked = base(server.url, key="OUR_KEY")
        assert asked.generate(HELLO).text == "an answer"
        assert KEY not in repr(vars(asked)) + asked.config.model_dump_json()
        server.trouble = [400]
        with pytest.raises(EndpointError) as error:
            asked.generate(HELLO)
        assert KEY not in str(error.value)
        assert "***" in error.value.problem


@pytest.mark.parametrize("around", ["", "\n", " \r\n"])
@pytest.mark.parametrize("before", [0, 492, 495, 70_000])
def test_the_key_that_a_server_sends_back_is_hidden(monkeypatch, around, before):
    """With white space around it in the environment, at the place where messages are cut, and quoted as JSON has it."""
    key = 'sk-"SECRET/123'
    monkeypatch.setenv("OUR_KEY", around + key + around)
    with StandIn() as server:
        asked = base(server.url, key="OUR_KEY", retries=0)
        for trouble in ((401, "." * before + key), (400, "." * before + key + "\n" + key), (500, f"<{key}>")):
            server.trouble = [trouble]
            with pytest.raises(EndpointError) as error:
                asked.generate(HELLO)
            assert "SECRET" not in str(error.value)
            assert "sk-" not in str(error.value)
        assert server.requests[0]["headers"]["Authorization"] == f"Bearer {key}"


@pytest.mark.parametrize("before", [0, 190, 195])
def test_the_key_is_hidden_in_what_isnt_json_and_in_answers(monkeypatch, before):
    monkeypatch.setenv("OUR_KEY", f"{KEY}\n")
    with StandIn(answer=lambda body: f"your key is {KEY}, isn't it?") as server:
        asked = base(server.url, key="OUR_KEY")
        assert asked.generate(HELLO).text == "your key is ***, isn't it?"
        assert KEY not in asked._http._hidden(f"a proxy's page: {KEY}")
        with pytest.raises(EndpointError, match="isn't a JSON object") as error:
            asked._http._object("x", ("." * before + KEY).encode())
        assert "sk-" not in str(error.value)


def test_a_wrong_key_names_the_variable(monkeypatch):
    monkeypatch.setenv("OUR_KEY", "sk-wrong")
    with StandIn(key=KEY) as server:
        with pytest.raises(EndpointError, match=r"the key was refused \(401\)") as error:
            base(server.url, key="OUR_KEY").generate(HELLO)
        assert "OUR_KEY" in error.value.fix
        assert "sk-wrong" not in str(error.value)
        assert len(server.requests) == 1
        with pytest.raises(EndpointError, match="401") as error:
            base(server.url).generate(HELLO)
        assert "endpoint.key" in error.value.fix


def test_a_missing_key_is_told_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("OUR_KEY", raising=False)
    with StandIn() as server:
        with pytest.raises(EndpointError, match=r"OUR_KEY, which endpoint\.key names, isn't set"):
            base(server.url, key="OUR_KEY").generate(HELLO)
        assert server.requests == []


def test_an_unknown_model_lists_those_that_there_are():
    with StandIn() as server, pytest.raises(EndpointError, match="has no model 'huge'") as error:
        base(server.url, model="huge").generate(HELLO)
    assert "small, large" in error.value.fix


def test_garbage_is_shown_with_the_url():
    with (
        StandIn(trouble=["garbage"]) as server,
        pytest.raises(EndpointError, match="isn't a JSON object: '<html>"),
    ):
        base(server.url).generate(HELLO)


def test_redirects_are_refused_since_they_would_carry_the_key_away():
    with StandIn(trouble=[302]) as server, pytest.raises(EndpointError, match="redirects elsewhere"):
        base(server.url).generate(HELLO)


@pytest.mark.parametrize("url", ["http://me:secret@127.0.0.1:1/v1", "https://127.0.0.1/v1?api-key=secret"])
def test_credentials_in_the_url_are_refused_and_not_shown(url: str):
    with pytest.raises(RecipeError) as error:
        base(url)
    assert "secret" not in str(error.value)
    assert "endpoint.key" in error.value.fix


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:8000", "http://"])
def test_a_url_that_is_none_is_refused(url: str):
    with pytest.raises(RecipeError, match="not the URL of a server"):
        base(url)


def test_newer_models_want_the_limit_called_otherwise():
    with StandIn(trouble=[(400, "Use 'max_completion_tokens' instead of 'max_tokens'.")]) as server:
        asked = base(server.url)
        assert [asked.generate(HELLO).text for _ in range(2)] == ["an answer"] * 2
        assert ["max_completion_tokens" in r["body"] for r in server.requests] == [False, True, True]


def test_echoed_log_probabilities():
    with StandIn(logprob=lambda text, i: -float(i)) as server:
        asked = base(server.url)
        assert asked.echoes()
        (found,) = asked.echo(["a b c d"], [3])  # from " c" on
        assert found.logprobs == (-2.0, -3.0)
        assert found.tokens == 4


def test_no_echo_is_known_and_a_dead_server_is_still_an_error():
    with StandIn() as server:
        assert not base(server.url).echoes()
        url = server.url
    with pytest.raises(EndpointError, match="no answer"):
        base(url, retries=0).echoes()
