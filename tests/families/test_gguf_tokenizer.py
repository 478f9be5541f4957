"""Tokenizers out of GGUF cut text as `transformers` cuts it, and where that departs from the model's own way, as the
model was taught."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from bedplate.errors import TokenizerError
from bedplate.families.gguf_reader import GGUF
from bedplate.families.gguf_tokenizer import PRE_TOKENIZERS, merges_from_scores, read_tokenizer
from bedplate.families.gguf_vocabulary import tokenizer_metadata

CODE = Path(os.__file__).parent / "json" / "decoder.py"


def varied_strings(count: int = 1000) -> list[str]:
    """Code, prose in many scripts, random Unicode, whitespace, digits, special tokens, contractions."""
    source = random.Random(0)
    code = CODE.read_text(encoding="utf-8")
    strings = [code[at : at + 160] for at in range(0, 48_000, 160)][:250]
    pieces = ["I'll", "they'RE", "it’s", "naïve", "Straße", "漢字かな交じり文", "🦙👩‍👩‍👧", "привет", "مرحبا"]
    pieces += ["ไทย", "e\u0301", "½", " ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "2024", "3.14"]
    pieces += ["1", "0x1F", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_star", "_x_", "...", "!?", "--"]
    pieces += ["#", "a", "the", "Tokenizer", "\x00", "\u200b", "ﬁ"]
    strings += ["".join(source.choices(pieces, k=source.randrange(1, 12))) for _ in range(450)]
    planes = [(32, 127), (0xA0, 0x2FFF), (0x3000, 0xD7FF), (0xE000, 0xFFFD), (0x1F000, 0x1FAFF)]
    while len(strings) < count:
        span = source.choice(planes)
        strings.append("".join(chr(source.randrange(*span)) for _ in range(source.randrange(1, 40))))
    return [*strings[: count - 3], "", " ", "\n"]


@pytest.fixture(scope="module")
def theirs(smollm2_gguf: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2_gguf.parent, gguf_file=smollm2_gguf.name)


@pytest.fixture(scope="module")
def metadata(smollm2_gguf: Path) -> dict[str, Any]:
    with GGUF.open(smollm2_gguf) as file:
        return file.metadata


def test_a_thousand_strings_are_cut_as_transformers_cuts_them(theirs, metadata):
    """`transformers` ignores `tokenizer.ggml.pre` = smollm, which says that each digit stands alone, as in the model's
    published tokenizer.json; given that one step, it agrees on every string. Without it, it differs where a digit
    follows white space, and nowhere else."""
    ours = read_tokenizer(metadata, "smollm2").text
    strings = varied_strings()
    assert len(strings) == 1000
    plain = theirs.backend_tokenizer
    other = [s for s in strings if plain.encode(s, add_special_tokens=False).ids != ours.encode(s, specials=True)]
    assert all(any(a.isspace() and b.isnumeric() for a, b in pairwise(s)) for s in other)

    exact = Tokenizer.from_str(plain.to_str())
    digits = pre_tokenizers.Digits(individual_digits=True)
    exact.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    for string in strings:
        assert ours.encode(string, specials=True) == exact.encode(string, add_special_tokens=False).ids, string
        assert ours.decode(ours.encode(string), skip_special=False) == string


def test_special_tokens_template_and_folder(theirs, metadata, tmp_path):
    from transformers import AutoTokenizer

    found = read_tokenizer(metadata, "smollm2")
    ours = found.text
    assert (ours.bos_id, ours.eos_id, ours.pad_id, found.stop_ids) == (1, 2, 2, (2,))
    assert ours.chat_template == theirs.chat_template
    assert ours.special_tokens == {t.content: i for i, t in theirs.added_tokens_decoder.items() if t.special}
    ours.save(tmp_path)
    saved = AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "user", "content": "What's 2 + 2?"}]
    assert saved.apply_chat_template(messages, tokenize=False) == theirs.apply_chat_template(messages, tokenize=False)
    for string in varied_strings()[::20]:
        assert saved(string)["input_ids"] == ours.encode(string, specials=True, post_process=True)


@pytest.fixture(scope="module")
def vocabulary() -> tuple[list[str], list[str]]:
    """Tokens and merges of a small byte-level BPE, its special tokens first."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([CODE.read_text(encoding="utf-8")], trainer)
    model = json.loads(backend.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), [" ".join(merge) for merge in model["merges"]]


@pytest.fixture
def make(vocabulary: tuple[list[str], list[str]]) -> Callable[..., dict[str, Any]]:
    """Metadata of a byte-level tokenizer; `make(pre="qwen2", eot_token_id=1)` changes keys, None removes one."""
    tokens, merges = vocabulary

    def metadata(**changes: Any) -> dict[str, Any]:
        keys: dict[str, Any] = {"model": "gpt2", "pre": "gpt-2", "tokens": tokens, "merges": merges}
        keys |= {"bos_token_id": 0, "eos_token_id": 1, "token_type": np.array([3, 3] + [1] * (len(tokens) - 2))}
        return {f"tokenizer.ggml.{k}": v for k, v in (keys | changes).items() if v is not None}

    return metadata


TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
PUBLISHED = {  # how the published tokenizer.json of the models named after these cut text
    "gpt-2": (None, BYTES),
    "smollm": (None, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTES])),
    "qwen2": (normalizers.NFC(), WORDS + r"\p{N}" + TAIL),
    "llama-bpe": (None, WORDS + r"\p{N}{1,3}" + TAIL),
}


@pytest.mark.parametrize("pre", PUBLISHED)
def test_pre_tokenizers_cut_as_published(make, vocabulary, pre):
    ours = read_tokenizer(make(pre=pre), "x").text
    tokens, merges = vocabulary
    model = models.BPE(
        vocab={token: id for id, token in enumerate(tokens)},
        merges=[tuple(m.split(" ")) for m in merges],
        ignore_merges=pre == "llama-bpe",
    )
    exact = Tokenizer(model)
    normalizer, how = PUBLISHED[pre]
    if normalizer is not None:
        exact.normalizer = normalizer
    if isinstance(how, str):
        split = pre_tokenizers.Split(Regex(how), behavior="isolated")
        how = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    exact.pre_tokenizer = how
    exact.add_special_tokens(["<s>", "</s>"])
    for string in varied_strings(400):
        assert ours.encode(string, specials=True) == exact.encode(string).ids, string


def test_qwen2_equals_transformers_own_class(make, vocabulary):
    from transformers import Qwen2Tokenizer

    tokens, merges = vocabulary
    theirs = Qwen2Tokenizer(
        vocab={token: id for id, token in enumerate(tokens)},
        merges=[tuple(m.split(" ")) for m in merges],
        unk_token=None,
        eos_token="</s>",
        pad_token=None,
    )
    ours = read_tokenizer(make(pre="qwen2", bos_token_id=None), "x").text
    for string in varied_strings(400):
        if "<s>" not in string:
            assert ours.encode(string, specials=True) == theirs(string)["input_ids"], string


def test_begin_and_end_follow_the_flags_and_the_kind(make):
    def around(**changes: Any) -> tuple[list[int], list[int]]:
        text = read_tokenizer(make(**changes), "x").text
        inside = text.encode("a")
        whole = text.encode("a", post_process=True)
        at = whole.index(inside[0])
        return whole[:at], whole[at + len(inside) :]

    assert around() == ([], [])
    assert around(add_bos_token=True, add_eos_token=True) == ([0], [1])
    assert around(pre="llama-bpe") == ([0], [])  # Llama 3 begins with BOS where the file doesn't say
    assert around(pre="llama-bpe", add_bos_token=False) == ([], [])
    assert around(add_bos_token=True, bos_token_id=None) == ([], [])


def test_user_defined_tokens_are_whole_but_text(make, vocabulary):
    tokens, _ = vocabulary
    types = np.array([3, 3] + [1] * (len(tokens) - 2) + [4])
    found = read_tokenizer(make(tokens=[*tokens, "<think>"], token_type=types, eot_token_id=0), "x")
    assert found.text.encode("a<think>b")[1] == len(tokens)
    assert "<think>" not in found.text.special_tokens
    assert found.text.encode("<s>") != [0]  # a control token in plain text is text
    assert found.text.encode("<s>", specials=True) == [0]
    assert found.stop_ids == (1, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pre": "chatglm-bpe"}, "pre-tokenizer 'chatglm-bpe' isn't known"),
        ({"model": "bert"}, "tokenizer model 'bert' isn't supported"),
        ({"model": None}, "tokenizer.ggml.model is missing"),
        ({"tokens": None}, "tokens is missing"),
        ({"tokens": ["a", "b", "a"]}, "tokens 0 and 2 are both 'a'"),
        ({"merges": None}, "merges is missing"),
        ({"merges": ["zz yy"]}, "merge 0"),
        ({"merges": ["abc"]}, "merge 0"),
        ({"eos_token_id": 10_000}, "eos_token_id is 10000, outside the 700 tokens"),
        ({"token_type": np.array([1, 2])}, "token_type isn't a list of 700"),
        ({"add_bos_token": 1}, "add_bos_token isn't true or false"),
        ({"model": "llama", "merges": None}, "scores is missing"),
        ({"model": "llama", "remove_extra_whitespaces": True}, "normaliser"),
    ],
)
def test_what_cannot_be_rebuilt_is_refused(make, changes, message):
    with pytest.raises(TokenizerError, match=message) as caught:
        read_tokenizer(make(**changes), "some.gguf")
    assert "some.gguf" in caught.value.problem


def test_a_missing_pre_tokenizer_is_noted(make):
    assert "tokenizer.ggml.pre" in read_tokenizer(make(pre=None), "x").notes[0]


@pytest.fixture(scope="module")
def pieces() -> tuple[list[str], list[float], list[int]]:
    """Tokens, scores and types as SentencePiece BPE has them: unknown, controls, bytes, then pieces by rank."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    backend.train_from_iterator(CODE.read_text(encoding="utf-8").splitlines(), trainer)
    model = json.loads(backend.to_str())["model"]
    merged = ["".join(merge) for merge in model["merges"]]
    characters = sorted(set(model["vocab"]) - set(merged) - {"<unk>", "<s>", "</s>"})
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + merged + characters
    scores = [0.0] * 259 + [-float(rank) for rank in range(len(tokens) - 259)]
    return tokens, scores, [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259)


@pytest.fixture
def sentencepiece_gguf(pieces: Any, tmp_path: Path) -> Path:
    tokens, scores, types = pieces
    writer = GGUFWriter(tmp_path / "spm.gguf", "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    for role, id in (("unk", 0), ("bos", 1), ("eos", 2)):
        getattr(writer, f"add_{role}_token_id")(id)
    for key in ("block_count", "embedding_length", "feed_forward_length", "head_count", "context_length"):
        getattr(writer, f"add_{key}")(8)
    writer.add_tensor("token_embd.weight", np.zeros((len(tokens), 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "spm.gguf"


def test_sentencepiece_equals_transformers(sentencepiece_gguf):
    """But for the space before text that begins with one or follows a special token, where SentencePiece, llama.cpp
    and the published tokenizers of such models have one and `transformers` has none."""
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(sentencepiece_gguf.parent, gguf_file=sentencepiece_gguf.name)
    with GGUF.open(sentencepiece_gguf) as file:
        ours = read_tokenizer(file.metadata, "spm").text
    published = Tokenizer.from_str(theirs.backend_tokenizer.to_str())
    published.pre_tokenizer = None
    published.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    assert (ours.bos_id, ours.eos_id) == (1, 2)
    for string in varied_strings(600):
        for text in (string, f"a</s>{string}"):
            assert ours.encode(text, specials=True, post_process=True) == published.encode(text).ids, text
        if string[:1] not in (" ", "▁"):
            assert ours.encode(string, specials=True, post_process=True) == theirs(string)["input_ids"], string
        assert ours.decode(ours.encode(string)) == string


def test_merges_from_scores_are_those_of_transformers(pieces):
    from transformers.tokenization_utils_base import generate_merges

    tokens, scores, _ = pieces
    vocabulary = {token: id for id, token in enumerate(tokens)}
    tied = [round(score / 7) for score in scores]
    for some in (scores, tied):
        expected = generate_merges(vocabulary, dict(zip(tokens, some, strict=True)))
        assert merges_from_scores(vocabulary, some) == expected


@pytest.mark.parametrize("pre", [name for name in PRE_TOKENIZERS if name != "default"])
def test_what_is_read_is_written_back(make, pre):
    first = read_tokenizer(make(pre=pre, add_bos_token=True, unknown_token_id=1, padding_token_id=0), "x")
    written = tokenizer_metadata(first.text, 704, first.stop_ids)
    assert PRE_TOKENIZERS[written["tokenizer.ggml.pre"]].split == PRE_TOKENIZERS[pre].split
    assert written["tokenizer.ggml.tokens"][700:] == ["[PAD700]", "[PAD701]", "[PAD702]", "[PAD703]"]
    assert written["tokenizer.ggml.token_type"][699:] == [1, 5, 5, 5, 5]
    read = {k: np.array(v) if k.endswith("token_type") else v for k, v in written.items()}
    second = read_tokenizer(read, "y")
    for string in varied_strings(200):
        assert first.text.encode(string, specials=True, post_process=True) == second.text.encode(
            string, specials=True, post_process=True
        )
    assert (second.text.bos_id, second.text.eos_id, second.text.pad_id) == (0, 1, 0)


def test_sentencepiece_is_written_back(sentencepiece_gguf):
    with GGUF.open(sentencepiece_gguf) as file:
        first = read_tokenizer(file.metadata, "x")
    written = tokenizer_metadata(first.text, first.text.vocab_size, first.stop_ids)
    assert written["tokenizer.ggml.model"] == "llama"
    arrays = ("token_type", "scores")
    read = {k: np.array(v) if k.endswith(arrays) else v for k, v in written.items()}
    second = read_tokenizer(read, "y")
    for string in varied_strings(300):
        assert first.text.encode(string) == second.text.encode(string), string


def test_a_tokenizer_that_gguf_cannot_say_is_refused(make):
    from bedplate.codecs.text import TextTokenizer

    content = json.loads(read_tokenizer(make(), "x").text.backend.to_str())
    content["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    with pytest.raises(TokenizerError, match=r"none of those that llama\.cpp has a name for"):
        tokenizer_metadata(TextTokenizer(json.dumps(content)), 700, [])
    content = json.loads(read_tokenizer(make(), "x").text.backend.to_str())
    content["added_tokens"][0]["lstrip"] = True
    with pytest.raises(TokenizerError, match="'<s>' swallows spaces"):
        tokenizer_metadata(TextTokenizer(json.dumps(content)), 700, [])
