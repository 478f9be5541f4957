"""Rows of every form become messages; what doesn't fit is told with its file, row and key."""

from __future__ import annotations

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedplate.codecs.chat_tokens import Chat
from bedplate.data.conversations import PlainText, read_conversations, split_turns
from bedplate.errors import InputError

USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
WEATHER = {"name": "weather", "parameters": {"type": "object"}}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Köln"}}}


def write(folder, rows, suffix=".jsonl"):
    path = folder / f"rows{suffix}"
    if suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    elif suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def read_one(folder, row, form=None):
    (chat,) = read_conversations(write(folder, [row]), form)
    return chat


FORMS = {
    "openai": ({"messages": [USER, ASSISTANT]}, [USER, ASSISTANT]),
    "openai with nulls": (
        {"messages": [{**USER, "name": None}, {**ASSISTANT, "tool_calls": None}], "tools": None},
        [USER, ASSISTANT],
    ),
    "openai, developer": ({"messages": [{"role": "developer", "content": "x"}, USER, ASSISTANT]}, None),
    "openai, a weight": ({"messages": [USER, {**ASSISTANT, "weight": 0}]}, [USER, {**ASSISTANT, "weight": 0}]),
    "openai, tool calls": (
        {
            "messages": [
                USER,
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "a",
                            "type": "function",
                            "function": {**CALL["function"], "arguments": '{"city": "Köln"}'},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "a", "content": "21"},
                ASSISTANT,
            ]
        },
        [
            USER,
            {"role": "assistant", "content": "", "tool_calls": [{"id": "a", **CALL}]},
            {"role": "tool", "tool_call_id": "a", "content": "21"},
            ASSISTANT,
        ],
    ),
    "openai, the older call": (
        {
            "messages": [
                USER,
                {"role": "assistant", "function_call": {"name": "weather", "arguments": '{"city": "Köln"}'}},
                {"role": "function", "name": "weather", "content": "21"},
                ASSISTANT,
            ]
        },
        [
            USER,
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "name": "weather", "content": "21"},
            ASSISTANT,
        ],
    ),
    "openai, parts": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "value": "i"}]},
                {
                    "role": "assistant",
                    "content": [{"type": "reasoning", "value": "hm"}, {"type": "text", "value": "Hello"}],
                    "loss_weight": 1.0,
                },
            ]
        },
        [USER, {**ASSISTANT, "reasoning_content": "hm", "weight": 1}],
    ),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}], "system": "S"},
        [{"role": "system", "content": "S"}, USER, ASSISTANT],
    ),
    "sharegpt, tools": (
        {
            "conversations": [
                {"from": "system", "value": "S"},
                {"from": "human", "value": "Hi"},
                {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Köln"}}'},
                {"from": "observation", "value": "21"},
                {"from": "gpt", "value": "Hello"},
            ]
        },
        [
            {"role": "system", "content": "S"},
            USER,
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "21"},
            ASSISTANT,
        ],
    ),
    "alpaca": ({"instruction": "Hi", "input": "", "output": "Hello"}, [USER, ASSISTANT]),
    "alpaca with all": (
        {"instruction": "A", "input": "B", "output": "C", "system": "S", "history": [["Hi", "Hello"]]},
        [
            {"role": "system", "content": "S"},
            USER,
            ASSISTANT,
            {"role": "user", "content": "A\nB"},
            {"role": "assistant", "content": "C"},
        ],
    ),
    "completion": ({"prompt": "Hi", "completion": "Hello"}, [USER, ASSISTANT]),
    "completion of messages": ({"prompt": [USER], "completion": [ASSISTANT]}, [USER, ASSISTANT]),
    "answer": ({"prompt": "Hi", "answer": "Hello"}, [USER, ASSISTANT]),
    "question": ({"question": "Hi", "answer": "Hello", "id": 7}, [USER, ASSISTANT]),
}


@pytest.mark.parametrize(("row", "messages"), FORMS.values(), ids=FORMS.keys())
def test_every_form_becomes_messages(tmp_path, row, messages):
    chat = read_one(tmp_path, row)
    assert isinstance(chat, Chat)
    assert chat.messages == (messages or [{"role": "system", "content": "x"}, USER, ASSISTANT])
    assert chat.origin == f"{tmp_path / 'rows.jsonl'} line 1"


@pytest.mark.parametrize("tools", [[WEATHER], json.dumps([WEATHER]), [{"type": "function", "function": WEATHER}]])
def test_tools_are_wrapped_as_templates_expect(tmp_path, tools):
    chat = read_one(tmp_path, {"messages": [USER, ASSISTANT], "tools": tools})
    assert chat.tools == [{"type": "function", "function": WEATHER}]
    assert read_one(tmp_path, {"messages": [USER, ASSISTANT], "tools": "[]"}).tools is None


def test_plain_text_is_no_conversation(tmp_path):
    assert read_one(tmp_path, {"text": "words"}) == PlainText("words", f"{tmp_path / 'rows.jsonl'} line 1")


def test_a_form_can_be_named_where_several_fit(tmp_path):
    row = {"instruction": "Hi", "output": "Hello", "text": "Hi Hello"}
    with pytest.raises(InputError, match="any of alpaca, text"):
        read_one(tmp_path, row)
    assert read_one(tmp_path, row, "alpaca").messages == [USER, ASSISTANT]
    assert read_one(tmp_path, row, "text").text == "Hi Hello"
    with pytest.raises(InputError, match="no key 'messages'"):
        read_one(tmp_path, row, "openai")
    with pytest.raises(InputError, match="no row form 'chatml'"):
        read_one(tmp_path, row, "chatml")


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet", ".csv", ".tsv"])
def test_files_of_every_kind(tmp_path, suffix):
    rows = [{"prompt": f"Hi {i}", "answer": f'Hello,\n"{i}"'} for i in range(700)]
    chats = list(read_conversations(write(tmp_path, rows, suffix)))
    assert [c.messages[0]["content"] for c in chats] == [row["prompt"] for row in rows]
    assert [c.messages[1]["content"] for c in chats] == [row["answer"] for row in rows]
    # A CSV row has a header before it, and each of these answers has two lines.
    places = {".jsonl": "line 700", ".csv": "line 1400", ".tsv": "line 1400"}
    assert chats[699].origin == f"{tmp_path}/rows{suffix} {places.get(suffix, 'row 700')}"


def test_parquet_of_messages(tmp_path):
    rows = [{"messages": [USER, ASSISTANT], "tools": None}, {"messages": [USER, ASSISTANT], "tools": "[]"}]
    chats = list(read_conversations(write(tmp_path, rows, ".parquet")))
    assert [c.messages for c in chats] == [[USER, ASSISTANT]] * 2


BROKEN = {
    "unknown role": ({"messages": [{"role": "bot", "content": "x"}]}, r"messages\[0\].role is 'bot'"),
    "no role": ({"messages": [{"content": "x"}]}, r"messages\[0\].role is None"),
    "unknown speaker": ({"conversations": [{"from": "alien", "value": "x"}]}, r"conversations\[0\].from is 'alien'"),
    "empty assistant": ({"messages": [USER, {"role": "assistant", "content": " "}]}, r"messages\[1\].content is empty"),
    "nothing said": ({"messages": [USER, {"role": "assistant"}]}, r"messages\[1\].content is empty"),
    "empty user": ({"messages": [{"role": "user", "content": ""}, ASSISTANT]}, r"messages\[0\].content is empty"),
    "empty value": (
        {"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": ""}]},
        r"\[1\].value is empty",
    ),
    "empty output": ({"instruction": "x", "output": ""}, "output is empty"),
    "no assistant": ({"messages": [USER]}, "no turn of the assistant's"),
    "no messages": ({"messages": []}, "messages isn't a list of objects"),
    "messages of texts": ({"messages": ["x"]}, "messages isn't a list of objects"),
    "messages in broken JSON": ({"messages": "[{"}, "messages isn't JSON"),
    "no known form": ({"body": "x"}, r"no known form of conversation \(keys: body\)"),
    "two forms": ({"messages": [USER, ASSISTANT], "conversations": []}, "any of openai, sharegpt"),
    "preference": ({"prompt": "x", "chosen": "a", "rejected": "b"}, "'chosen' makes it a preference"),
    "kto": ({"messages": [USER, ASSISTANT], "label": False}, "'label' makes it a preference"),
    "picture": ({"messages": [USER, ASSISTANT], "images": ["a.jpg"]}, "'images' holds more than text"),
    "picture part": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, ASSISTANT]},
        r"messages\[0\].content\[0\] is of type 'image_url'",
    ),
    "a number": ({"prompt": 3, "completion": "x"}, "prompt isn't a text"),
    "call without a name": ({"messages": [USER, {"role": "assistant", "tool_calls": [{}]}]}, "without a name"),
    "call in broken JSON": (
        {"conversations": [{"from": "human", "value": "x"}, {"from": "function_call", "value": "{"}]},
        r"conversations\[1\] isn't JSON",
    ),
    "a user's call": ({"messages": [{**USER, "tool_calls": [CALL]}, ASSISTANT]}, "its role is user"),
    "half a weight": ({"messages": [USER, {**ASSISTANT, "weight": 0.5}]}, "the weight 0.5"),
    "history": ({"instruction": "x", "output": "y", "history": [["a"]]}, r"history\[0\] isn't a pair"),
    "tool without a name": ({"messages": [USER, ASSISTANT], "tools": [{}]}, r"tools\[0\] has no name"),
}


@pytest.mark.parametrize(("row", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_what_does_not_fit_names_file_row_and_key(tmp_path, row, says):
    path = write(tmp_path, [{"prompt": "fine", "answer": "fine"}, row])
    with pytest.raises(InputError, match=says) as error:
        list(read_conversations(path))
    assert error.value.problem.startswith(f"{path} line 2: ")
    assert error.value.fix


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b'{"text": "x"}\n{', "a.jsonl line 2: not JSON"),
        ("a.jsonl", b"[1]", "a.jsonl line 1: not a JSON object"),
        ("a.jsonl", b'{"text": "\xff"}', "a.jsonl line 1: not JSON"),
        ("a.jsonl", b"\n", "no rows in it"),
        ("a.json", b"{}", "not an array of rows"),
        ("a.json", b'[{"text": "x"}, 3]', "a.json row 2: not a JSON object"),
        ("a.json", b"[", "a.json: not JSON"),
        ("a.json", b'"\xff"', "a.json: not UTF-8"),
        ("a.csv", b"text,b\nx\n", "a.csv line 2: 1 fields where the header has 2"),
        ("a.csv", b'text\n"x', "a.csv line 2: not CSV"),
        ("a.csv", b"text\n\xff", "a.csv line 2: not UTF-8"),
        ("a.parquet", b"PAR1", "a.parquet: not a whole Parquet file"),
        ("a.txt", b"x", "its rows can't be told"),
    ],
)
def test_broken_files(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        list(read_conversations(tmp_path / name))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        list(read_conversations(tmp_path / "a.jsonl"))


def test_one_row_for_each_turn():
    messages = [USER, ASSISTANT, USER, {**ASSISTANT, "weight": 0}, USER, ASSISTANT, USER]
    chats = split_turns(Chat(messages, None, "row 1"))
    assert [len(c.messages) for c in chats] == [2, 6]
    assert {c.origin for c in chats} == {"row 1"}


REAL = {
    "alpaca_en_demo.json": 999,
    "alpaca_zh_demo.json": 1000,
    "identity.json": 91,
    "glaive_toolcall_en_demo.json": 300,
    "glaive_toolcall_zh_demo.json": 300,
    "reason_tool_use_demo_50.jsonl": 50,
    "v1_sft_demo.jsonl": 500,
    "c4_demo.jsonl": 300,
}


@pytest.mark.parametrize(("name", "count"), REAL.items())
def test_real_files(shared_data, name, count):
    rows = list(read_conversations(shared_data / "llamafactory_demo" / "data" / name))
    assert len(rows) == count
    if "tool" in name:
        calls = [m for chat in rows for m in chat.messages if "tool_calls" in m]
        assert len(calls) > 40
        assert all(isinstance(c["function"]["arguments"], dict) for m in calls for c in m["tool_calls"])
        assert any(chat.tools for chat in rows)


@pytest.mark.parametrize("name", ["dpo_en_demo.json", "kto_en_demo.json", "v1_dpo_demo.jsonl", "mllm_demo.json"])
def test_real_files_of_another_kind_are_refused(shared_data, name):
    with pytest.raises(InputError, match=rf"{name} (row|line) 1: "):
        list(read_conversations(shared_data / "llamafactory_demo" / "data" / name))
