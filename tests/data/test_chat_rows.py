"""Packed rows of whole examples: exactly once an epoch, none seeing another, the loss of each as if it were alone."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.codecs.chat_tokens import Chat, ChatTokens, encode_chat
from bedplate.codecs.text import TextTokenizer
from bedplate.data.chat_examples import encode_examples
from bedplate.data.chat_rows import ChatEvaluationRows, ChatRows
from bedplate.data.conversations import PlainText, read_conversations
from bedplate.errors import InputError
from bedplate.families.model import Model
from bedplate.nn.mask import Mask
from bedplate.objectives.next_token import NextToken
from bedplate.train.loader import to_tensors, validation_batches
from bedplate.train.parallel import Parallel

PAD = 3
TAGGED = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% else %}{{ m.content + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TURNS = [
    {"role": "user", "content": "Hi there"},
    {"role": "assistant", "content": "Hello you"},
    {"role": "user", "content": "And now?"},
    {"role": "assistant", "content": "Now what?"},
]


def example(number: int, size: int, first: int = 1) -> ChatTokens:
    """An example of `size` tokens that tell which it is; supervised from place `first` on, but for every fifth."""
    ids = [10 + number * 1000 + i for i in range(size)]
    return ChatTokens(ids, [i >= first and i % 5 != 4 for i in range(size)], origin=f"row {number}")


SIZES = st.lists(st.integers(2, 30), min_size=1, max_size=40)


def segments_of(rows):
    """(tokens, targets, keep, positions) of every segment that isn't padding."""
    for row in range(len(rows["tokens"])):
        for segment in np.unique(rows["segments"][row]):
            here = rows["segments"][row] == segment
            if rows["tokens"][row][here][0] != PAD:
                yield tuple(rows[key][row][here] for key in ("tokens", "targets", "keep", "positions"))


@settings(deadline=None, max_examples=60)
@given(sizes=SIZES, length=st.integers(29, 80), seed=st.integers(0, 2**63 - 1), evaluation=st.booleans())
def test_every_example_is_whole_and_there_once_an_epoch(sizes, length, seed, evaluation):
    examples = [example(n, size) for n, size in enumerate(sizes)]
    if evaluation:
        source = ChatEvaluationRows(examples, length, pad_id=PAD)
        epochs = [source.rows(0, source.count)]
        measures = source.measures()
    else:
        source = ChatRows(examples, length, seed, pad_id=PAD)
        size = source.rows_per_epoch
        epochs = [source.rows(epoch * size, size) for epoch in range(3)]
        measures = source.measures()
    for rows in epochs:
        found = Counter()
        for tokens, targets, keep, positions in segments_of(rows):
            original = examples[(tokens[0] - 10) // 1000]
            found[original.origin] += 1
            assert tokens.tolist() == original.ids[:-1]
            assert targets.tolist() == original.ids[1:]
            assert keep.tolist() == original.supervised[1:]
            assert positions.tolist() == list(range(len(tokens)))
        assert found == Counter(e.origin for e in examples)
        padding = rows["tokens"] == PAD
        assert not rows["keep"][padding].any()
        assert (rows["targets"][padding] == PAD).all()
        assert padding.mean() == pytest.approx(measures["padding"])
        assert rows["keep"].sum() == measures["supervised_tokens"]
        assert (~padding).sum() == measures["tokens"] == sum(sizes) - len(sizes)
        assert len(rows["tokens"]) == measures["rows"]
    assert measures["examples"] == len(sizes)
    assert measures["truncated_examples"] == 0


@settings(deadline=None, max_examples=30)
@given(sizes=SIZES, seed=st.integers(0, 9), first=st.integers(0, 200), count=st.integers(1, 9))
def test_a_row_is_a_pure_function_of_seed_and_number(sizes, seed, first, count):
    examples = [example(n, size) for n, size in enumerate(sizes)]
    whole = ChatRows(examples, 40, seed, pad_id=PAD).rows(first, count)
    fresh = ChatRows(examples, 40, seed, pad_id=PAD)
    for i in reversed(range(count)):
        alone = fresh.rows(first + i, 1)
        for key, value in whole.items():
            np.testing.assert_array_equal(alone[key][0], value[i])


@settings(deadline=None, max_examples=40)
@given(sizes=SIZES, length=st.integers(29, 64))
def test_packing_is_tight(sizes, length):
    """No two rows could be one, and best fit's bound against the least number of rows that there can be holds."""
    rows = ChatRows([example(n, size) for n, size in enumerate(sizes)], length, 0, pad_id=PAD)
    used = [(row["tokens"] != PAD).sum() for row in (rows.rows(r, 1) for r in range(rows.rows_per_epoch))]
    assert sum(sorted(used)[:2]) > length or len(used) == 1
    least = -(-sum(s - 1 for s in sizes) // length)
    assert len(used) <= max(2 * least - 1, 1)


def test_packing_ten_thousand_examples_leaves_little_room():
    random = np.random.Generator(np.random.PCG64(0))
    examples = [ChatTokens([1] * n, [True] * n) for n in random.integers(20, 400, size=10_000).tolist()]
    rows = ChatRows(examples, 512, 0, pad_id=PAD)
    assert rows.measures()["padding"] < 0.01


def test_epochs_and_seeds_have_orders_of_their_own():
    examples = [example(n, 20) for n in range(30)]
    streams = set()
    for seed in (0, 1):
        rows = ChatRows(examples, 40, seed, pad_id=PAD)
        for epoch in (0, 1):
            tokens = rows.rows(epoch * rows.rows_per_epoch, rows.rows_per_epoch)["tokens"]
            streams.add(tuple(tokens.ravel().tolist()))
    assert len(streams) == 4


def test_evaluation_keeps_the_order():
    examples = [example(n, size) for n, size in enumerate([9, 30, 5, 22, 8, 8])]
    rows = ChatEvaluationRows(examples, 32, pad_id=PAD)
    tokens = rows.rows(0, 100)["tokens"]
    firsts = [t for t in tokens.ravel() if t != PAD and (t - 10) % 1000 == 0]
    assert firsts == sorted(firsts)
    assert (rows.count, rows.documents, rows.pairs) == (len(tokens), 6, rows.measures()["supervised_tokens"])
    with pytest.raises(InputError, match="evaluation row"):
        rows.rows(rows.count, 1)


@pytest.mark.parametrize("make", [lambda e, **k: ChatRows(e, 20, 0, pad_id=PAD, **k), None])
def test_too_long_is_refused_or_cut_and_counted(make):
    make = make or (lambda e, **k: ChatEvaluationRows(e, 20, pad_id=PAD, **k))
    examples = [example(0, 10), example(1, 31), example(2, 21)]
    with pytest.raises(InputError, match=r"example 2 \(row 1\): 30 tokens, and a row has 20") as error:
        make(examples)
    assert "length=30" in error.value.fix
    rows = make(examples, too_long="truncate")
    measures = rows.measures()
    assert (measures["truncated_examples"], measures["truncated_tokens"]) == (1, 10)
    assert measures["truncated_supervised_tokens"] == sum(examples[1].supervised[21:])
    kept = [sum(e.supervised[1:21]) for e in examples]
    assert measures["supervised_tokens"] == sum(kept)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (
            ChatTokens([1, 2, 3], [False] * 3, origin="a.jsonl line 7"),
            r"example 2 \(a.jsonl line 7\): nothing in it is",
        ),
        (ChatTokens([1, 2, 3], [True, False, False]), "but its first token, which nothing predicts"),
        (example(9, 40, first=25), r"example 2 \(row 9\): nothing in it is supervised after it was truncated to 20"),
        (ChatTokens([], []), "nothing in it is supervised"),
    ],
)
def test_an_example_with_nothing_supervised_is_an_error_naming_it(broken, says):
    with pytest.raises(InputError, match=says):
        ChatRows([example(0, 10), broken], 20, 0, pad_id=PAD, too_long="truncate")


def test_other_bad_input():
    with pytest.raises(InputError, match="no examples"):
        ChatRows([], 20, 0, pad_id=PAD)
    with pytest.raises(InputError, match="a row length of 0"):
        ChatRows([example(0, 3)], 0, 0, pad_id=PAD)
    with pytest.raises(InputError, match="at least one row"):
        ChatRows([example(0, 3)], 20, 0, pad_id=PAD).rows(-1, 2)


# --- Against a model


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A tiny random Llama that transformers saved, with a tokenizer and a template with generation blocks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("model")
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([__doc__, TAGGED], trainer)
    shape = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 6}
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(**shape, num_key_value_heads=2, vocab_size=400, max_position_embeddings=512, initializer_range=0.2)
    ).save_pretrained(folder)
    named = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    TextTokenizer(backend.to_str(), named, chat_template=TAGGED).save(folder)
    return folder


@pytest.fixture(scope="module")
def model(model_folder):
    return Model.load(model_folder, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def chats(model_folder):
    tokenizer = TextTokenizer.load(model_folder)
    rows = [
        [*TURNS[: 2 * (1 + n % 2)][:-1], {"role": "assistant", "content": f"No {n}. " * (1 + n % 7)}] for n in range(24)
    ]
    return [encode_chat(tokenizer, messages) for messages in rows]


def loss_of(model, rows):
    """Sum of the losses of kept positions, in nats, and how many they are."""
    batch = to_tensors(rows, torch.device("cpu"))
    objective = NextToken()
    return objective(model.net, batch)["next_token"].sum, objective.weights(batch)["next_token"]


def test_packed_examples_do_not_see_each_other(model, chats):
    """Logits in packed rows are those of each example alone; fp32, so what differs is the order of sums."""
    rows = ChatRows(chats, 256, 5, pad_id=0)
    batch = rows.rows(0, rows.rows_per_epoch)
    assert rows.rows_per_epoch < len(chats) / 2
    tensors = to_tensors(batch, torch.device("cpu"))
    with torch.no_grad():
        hidden = model.net(tensors["tokens"], positions=tensors["positions"], mask=Mask(segments=tensors["segments"]))
        packed = hidden @ model.net.head_weight.T
    by_ids = {tuple(c.ids[:-1]): c for c in chats}
    found = 0
    for row in range(len(packed)):
        for segment in tensors["segments"][row].unique():
            here = tensors["segments"][row] == segment
            if not tensors["keep"][row][here].any():  # padding
                continue
            chat = by_ids[tuple(tensors["tokens"][row][here].tolist())]
            with torch.no_grad():
                alone = model(torch.tensor([chat.ids[:-1]]))[0]
            torch.testing.assert_close(packed[row][here], alone, atol=1e-5, rtol=1e-5)
            found += 1
    assert found == len(chats)


def test_the_loss_is_that_of_the_examples_one_by_one(model, chats):
    rows = ChatRows(chats, 256, 5, pad_id=0)
    with torch.no_grad():
        packed, weight = loss_of(model, rows.rows(0, rows.rows_per_epoch))
        alone = [loss_of(model, ChatEvaluationRows([c], 256, pad_id=0).rows(0, 1)) for c in chats]
    assert weight == sum(w for _, w in alone) == rows.measures()["supervised_tokens"]
    torch.testing.assert_close(packed, sum(s for s, _ in alone), atol=1e-4, rtol=1e-5)


def test_loss_and_gradients_equal_transformers(model_folder, chats):
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    ours = Model.load(model_folder, dtype="float32", device="cpu")
    rows = ChatRows(chats, 256, 5, pad_id=0)
    total, weight = loss_of(ours, rows.rows(0, rows.rows_per_epoch))
    (total / weight).backward()
    losses = []
    for chat in chats:
        labels = torch.tensor([[i if s else -100 for i, s in zip(chat.ids, chat.supervised, strict=True)]])
        losses.append(theirs(torch.tensor([chat.ids]), labels=labels).loss * (labels != -100).sum())
    (sum(losses) / weight).backward()
    torch.testing.assert_close(total, sum(losses), atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(
        ours.net.embed.weight.grad, theirs.get_input_embeddings().weight.grad, atol=1e-6, rtol=1e-4
    )


def test_loss_equals_trls(model, model_folder, tmp_path):
    """TRL's trainer with assistant_only_loss, padded batches: the same rows, the same tokens counted, the same loss."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    conversations = [TURNS, TURNS[:2], [*TURNS[:3], {"role": "assistant", "content": "Something longer. " * 4}]]
    tokenizer = TextTokenizer.load(model_folder)
    chats = [encode_chat(tokenizer, messages) for messages in conversations]
    with torch.no_grad():
        ours, weight = loss_of(model, ChatEvaluationRows(chats, 128, pad_id=0).rows(0, 9))
    config = SFTConfig(
        output_dir=str(tmp_path),
        assistant_only_loss=True,
        max_length=None,
        per_device_train_batch_size=3,
        report_to="none",
        use_cpu=True,
        bf16=False,
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32),
        args=config,
        train_dataset=Dataset.from_list([{"messages": m} for m in conversations]),
        processing_class=AutoTokenizer.from_pretrained(model_folder),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    counted = sorted(row[row != -100].tolist() for row in batch["labels"])
    expected = [[i for i, s in zip(c.ids, c.supervised, strict=True) if s] for c in chats]
    assert counted == sorted(expected)
    with torch.no_grad():
        theirs = trainer.model(
            **{k: v for k, v in batch.items() if k in ("input_ids", "attention_mask", "labels")}
        ).loss
    torch.testing.assert_close(ours / weight, theirs, atol=1e-5, rtol=1e-5)


def test_the_trainers_validation_takes_them(model, chats):
    rows = ChatEvaluationRows(chats, 128, pad_id=0)
    batches = list(validation_batches(rows, 4, Parallel(), torch.device("cpu")))
    assert sum(int(b["keep"].sum()) for b in batches) == rows.pairs
    said = sum(len(c.text[a:b].encode()) for c in chats for a, b in c.spans)
    assert rows.bytes == said


# --- From files


def test_conversations_and_texts_from_a_file(model_folder, tmp_path):
    tokenizer = TextTokenizer.load(model_folder)
    rows = [{"messages": TURNS[:2]}, {"text": "plain <|im_end|> words"}, {"prompt": "Hi", "answer": "Hello"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    chat, text, pair = encode_examples(tokenizer, read_conversations(path))
    assert chat.supervised == encode_chat(tokenizer, TURNS[:2]).supervised
    assert text.ids == [tokenizer.eos_id, *tokenizer.encode("plain <|im_end|> words"), tokenizer.eos_id]
    assert text.supervised == [False] + [True] * (len(text.ids) - 1)
    assert [e.origin for e in (chat, text, pair)] == [f"{path} line {n}" for n in (1, 2, 3)]
    (last,) = encode_examples(tokenizer, [Chat(TURNS)], supervise="last")
    assert [last.text[a:b] for a, b in last.spans] == ["Now what?<|im_end|>"]
    assert next(encode_examples(tokenizer, [PlainText("x")])).supervised[0] is False


TOOL_TEMPLATE = (
    "{{ tools | tojson }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{{ '<|im_start|>assistant\n' if add_generation_prompt }}"
)


@pytest.mark.parametrize("name", ["glaive_toolcall_en_demo.json", "glaive_toolcall_zh_demo.json"])
def test_real_tool_calls(shared_data, model_folder, name):
    """Of real conversations with tools, the answers and calls are supervised; the tools and their results never."""
    loaded = TextTokenizer.load(model_folder)
    tokenizer = TextTokenizer(loaded.backend.to_str(), loaded.named_tokens, chat_template=TOOL_TEMPLATE)
    chats = list(read_conversations(shared_data / "llamafactory_demo" / "data" / name))[:150]
    for chat, encoded in zip(chats, encode_examples(tokenizer, chats), strict=True):
        expected = [
            m["content"]
            + "".join(json.dumps(c["function"], ensure_ascii=False) for c in m.get("tool_calls", ()))
            + "<|im_end|>"
            for m in chat.messages
            if m["role"] == "assistant"
        ]
        ids = [i for i, s in zip(encoded.ids, encoded.supervised, strict=True) if s]
        assert tokenizer.decode(ids, skip_special=False) == "".join(expected)


def test_real_conversations(shared_data, smollm2):
    """A thousand real rows under the real base's template: all of each answer, nothing else, and packed tightly."""
    tokenizer = TextTokenizer.load(smollm2)
    rows = list(read_conversations(shared_data / "llamafactory_demo" / "data" / "alpaca_en_demo.json"))
    examples = list(encode_examples(tokenizer, rows))
    for chat, encoded in zip(rows, examples, strict=True):
        ids = [i for i, s in zip(encoded.ids, encoded.supervised, strict=True) if s]
        assert tokenizer.decode(ids, skip_special=False) == chat.messages[-1]["content"] + "<|im_end|>"
        assert encoded.straddling == 0
    longest = max(len(e.ids) for e in examples) - 1
    measures = ChatRows(examples, max(longest, 1024), 0, pad_id=tokenizer.pad_id or 0).measures()
    assert measures["padding"] < 0.01
    assert measures["supervised_tokens"] == sum(sum(e.supervised) for e in examples)
