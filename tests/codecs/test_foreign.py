"""Older tokenizer files: the ids of the libraries that they come from, and broken ones refused by name."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.codecs.charsmap import check_charsmap
from bedplate.codecs.foreign import read_foreign
from bedplate.codecs.sentencepiece import MOST_CHARACTERS, backend, merges_from_scores, read_sentencepiece
from bedplate.codecs.text import TextTokenizer
from bedplate.codecs.tiktoken import LLAMA3_PATTERN, read_tiktoken
from bedplate.data.train_tokenizer import TrainTokenizerConfig, train
from bedplate.errors import TokenizerError

ODD = [
    *("", " ", "   ", "  two  spaces  ", "\ttab\nline\r\n", "ﬁ e\u0301 Å ①", "▁a ▁", "aaaaaaaa", "🙂日本𝔘"),
    *("<s>a</s> <unk> <pad> <0x0A>x", "<user> hi", "a<user>b", "[CLS] a [MASK]", "don't I'LL 12345"),
]
PIECES = ["<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "ab", "▁ab"]


@pytest.fixture(scope="module")
def texts(shared_data) -> list[str]:
    found = []
    for language in ("en", "de", "zh"):
        content = json.loads((shared_data / "xquad" / f"xquad.{language}.json").read_text(encoding="utf-8"))
        found += [p["context"] for article in content["data"] for p in article["paragraphs"]][::3]
    return found


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _sized(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def model_file(pieces=PIECES, *, kinds=None, algorithm=1, score=None, normal=b"", trainer=b"") -> bytes:
    """A SentencePiece model, written by hand."""
    kinds = kinds or {"<unk>": 2, "<s>": 3, "</s>": 3}
    made = b""
    for rank, piece in enumerate(pieces):
        value = struct.pack("<f", -float(rank) if score is None else score)
        kind = _varint(3 << 3) + _varint(kinds.get(piece, 1))
        made += _sized(1, _sized(1, piece.encode()) + _varint(2 << 3 | 5) + value + kind)
    return made + _sized(2, _varint(3 << 3) + _varint(algorithm) + trainer) + _sized(3, normal)


SPM = {
    "unigram": {"model_type": "unigram"},
    "bpe": {"model_type": "bpe"},
    "bpe, bytes, as Llama's": {
        "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
    },
    "unigram, bytes, no prefix": {
        "model_type": "unigram", "byte_fallback": True, "add_dummy_prefix": False,
        "remove_extra_whitespaces": False, "normalization_rule_name": "identity",
    },
    "unigram, symbols, folded": {
        "model_type": "unigram", "user_defined_symbols": ["<user>"], "normalization_rule_name": "nmt_nfkc_cf",
    },
    "unigram over spaces": {"model_type": "unigram", "split_by_whitespace": False},
}  # fmt: skip


@pytest.mark.parametrize("name", SPM)
def test_sentencepieces_own_ids(texts, name):
    spm = pytest.importorskip("sentencepiece")
    file = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(texts[::2]), model_writer=file, vocab_size=5000, minloglevel=2, num_threads=1,
        hard_vocab_limit=False, **SPM[name],
    )  # fmt: skip
    theirs = spm.SentencePieceProcessor(model_proto=file.getvalue())
    ours = TextTokenizer(backend(read_sentencepiece(file.getvalue(), "m")).to_str())
    ties = 0
    for text in [*texts, *ODD]:
        found, expected = ours.encode(text), theirs.encode(text)
        if found != expected and name.startswith("unigram"):
            # They sum in fp32 from the text's beginning: two spellings that differ by less are one to them.
            ties += 1
            assert sum(map(theirs.get_score, found)) == pytest.approx(sum(map(theirs.get_score, expected)), abs=1e-3)
            continue
        assert found == expected, text[:60]
        if "identity" in SPM[name].values():
            assert ours.decode(theirs.encode(text), skip_special=False) == theirs.decode(theirs.encode(text))
    assert ties <= 2


@settings(deadline=None, max_examples=200)
@given(text=st.text(" ab<s>/unkc▁0xA"))
def test_control_pieces_are_out_of_a_texts_reach(text):
    for algorithm in (1, 2):
        ours = TextTokenizer(backend(read_sentencepiece(model_file(algorithm=algorithm), "m")).to_str())
        assert not {1, 2} & set(ours.encode(text))


@pytest.mark.parametrize("algorithm", [1, 2])
def test_a_piece_that_goes_on_for_ever_is_refused(algorithm):
    """Its cuts would take memory by the square of its length."""
    content = model_file([*PIECES, "a" * (MOST_CHARACTERS + 1)], algorithm=algorithm)
    with pytest.raises(TokenizerError, match="piece 9 has 513 characters, more than 512"):
        read_sentencepiece(content, "m.model")
    longest = model_file([*PIECES, "a" * MOST_CHARACTERS], algorithm=algorithm)
    assert backend(read_sentencepiece(longest, "m.model")).get_vocab_size() == 10


def test_pieces_with_too_many_cuts_are_refused(monkeypatch):
    nested = model_file([*PIECES, *("a" * n for n in range(2, 40))], algorithm=2)
    backend(read_sentencepiece(nested, "m.model"))
    monkeypatch.setattr("bedplate.codecs.sentencepiece.MOST_MERGES", 700)
    with pytest.raises(TokenizerError, match="more than 700 ways"):
        backend(read_sentencepiece(nested, "m.model"))


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.text("ab▁", min_size=1, max_size=5), st.integers(-9, 0), max_size=20))
def test_merges_are_every_cut_by_score(scores):
    pieces = {text: (number, float(score)) for number, (text, score) in enumerate(scores.items())}
    found = merges_from_scores(pieces)
    cuts = [(p[:at], p[at:]) for p in pieces for at in range(1, len(p))]
    assert sorted(found) == sorted(cut for cut in cuts if set(cut) <= pieces.keys())
    keys = [(pieces[a + b][1], len(a), len(b)) for a, b in found]
    assert keys == sorted(keys, reverse=True)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_damaged_models_are_refused_or_read(data):
    whole = bytearray(model_file())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with contextlib.suppress(TokenizerError):  # nothing else may be raised
        TextTokenizer(backend(read_sentencepiece(cut, "m.model")).to_str()).encode("ab a <s>")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "a field of"),
        (b"\x0b", "wire type 3"),
        (b"\x80" * 11, "more than ten bytes"),
        (b"\x0a\x80", "inside a number"),
        (b"", "not one unknown"),
        (model_file([*PIECES, "a"]), "pieces 4 and 9 are both 'a'"),
        (model_file(score=float("nan")), "score nan"),
        (model_file(algorithm=3), "model type 3"),
        (model_file(kinds={"<unk>": 2, "a": 5}), "type 5"),
        (model_file(trainer=_varint(35 << 3) + b"\x01"), "bytes aren't all there"),
        (model_file(trainer=_varint(24 << 3) + b"\x01"), "aren't escaped or end a word"),
        (model_file(normal=_sized(2, b"\x08\0\0\0abc")), "cut short"),
        (model_file(normal=_sized(2, b"\x04\0\0\0\0\0\0\0")), "points outside"),
    ],
)
def test_broken_and_unsupported_models_are_named(content, match):
    with pytest.raises(TokenizerError, match=match):
        read_sentencepiece(content, "m.model")


@pytest.mark.parametrize(
    ("place", "texts", "whole"),
    [(0, b"x\0", True), (2, b"x\0", False), (1000, b"x\0", False), (1, "é\0".encode(), False), (0, b"", False)],
)
def test_a_table_whose_letter_becomes_a_text_that_is_not_there(place, texts, whole):
    """ "a" leads to a leaf, which says where its text begins."""
    units = [0] * 512
    units[0] = 256 << 10
    units[256 ^ ord("a")] = ord("a") | 1 << 8 | (256 ^ ord("a") ^ 100) << 10
    units[100] = 1 << 31 | place
    table = struct.pack("<I512I", 4 * 512, *units) + texts
    with contextlib.nullcontext() if whole else pytest.raises(ValueError, match="points outside its texts"):
        check_charsmap(table)


@settings(deadline=None, max_examples=300)
@given(units=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=600), texts=st.binary(max_size=20))
def test_no_walk_leaves_a_table_that_was_let_through(units, texts):
    """What passes the check doesn't make `tokenizers` panic."""
    from tokenizers import normalizers

    table = struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + texts
    try:
        check_charsmap(table)
    except ValueError:
        return
    for text in ("ab", "é🙂", "\x00\x01", "日本"):
        normalizers.Precompiled(table).normalize_str(text)


def _ranks(texts: list[str]) -> dict[bytes, int]:
    """tiktoken ranks, from a byte-level BPE of our own."""
    from bedplate.codecs.byte_alphabet import byte_alphabet

    made = train(TrainTokenizerConfig(vocabulary=3000), lambda: iter([texts]))
    alphabet = byte_alphabet()
    tokens = sorted(made.get_vocab(with_added_tokens=False).items(), key=lambda pair: pair[1])
    spelt = [bytes(alphabet[c] for c in t) for t, i in tokens if i > 1]
    return {token: rank for rank, token in enumerate(spelt)}


def _file(ranks: dict[bytes, int]) -> bytes:
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())


def test_tiktokens_own_ids(texts):
    tiktoken = pytest.importorskip("tiktoken")
    ranks = _ranks(texts)
    special = {"<|a|>": len(ranks), "<|b|>": len(ranks) + 1}
    theirs = tiktoken.Encoding("t", pat_str=LLAMA3_PATTERN, mergeable_ranks=ranks, special_tokens=special)
    ours = TextTokenizer(read_tiktoken(_file(ranks), LLAMA3_PATTERN, special).to_str())
    for text in [*texts, *ODD, "<|a|>"]:
        assert ours.encode(text) == theirs.encode(text, disallowed_special=()), text[:60]
        assert ours.encode(text, specials=True) == theirs.encode(text, allowed_special="all")
        assert ours.decode(ours.encode(text), skip_special=False) == text


@pytest.mark.parametrize(
    ("content", "special", "match"),
    [
        (b"nonsense\n", {}, "line 1"),
        (b"IQ== 0\nIQ== 1\n", {}, "second time"),
        (b"IQ== 1\n", {}, "ranks aren't"),
        (b"IQ== 0\n", {}, "no token for byte 0"),
        (_file({bytes([b]): b for b in range(256)}), {"<a>": 300}, "isn't the next"),
    ],
)
def test_broken_tiktoken_files_are_named(content, special, match):
    with pytest.raises(TokenizerError, match=match):
        read_tiktoken(content, LLAMA3_PATTERN, special, origin="x.tiktoken")


@pytest.mark.parametrize("longest", [512, 513])
def test_a_token_that_goes_on_for_ever_is_refused(longest):
    ranks = {bytes([b]): b for b in range(256)} | {b"a" * longest: 256}
    with pytest.raises(TokenizerError, match="513 bytes, more than 512") if longest > 512 else contextlib.nullcontext():
        assert read_tiktoken(_file(ranks), LLAMA3_PATTERN).get_vocab_size() == 257


def test_tokens_with_too_many_cuts_are_refused(monkeypatch):
    ranks = {bytes([b]): b for b in range(256)} | {b"a" * n: 254 + n for n in range(2, 40)}
    read_tiktoken(_file(ranks), LLAMA3_PATTERN)
    monkeypatch.setattr("bedplate.codecs.tiktoken.MOST_MERGES", 700)
    with pytest.raises(TokenizerError, match="more than 700 ways"):
        read_tiktoken(_file(ranks), LLAMA3_PATTERN)


def _write_gpt2(folder: Path, texts: list[str]) -> None:
    made = json.loads(train(TrainTokenizerConfig(vocabulary=2000), lambda: iter([texts])).to_str())
    (folder / "vocab.json").write_text(json.dumps(made["model"]["vocab"], ensure_ascii=False), encoding="utf-8")
    lines = "\n".join(" ".join(merge) for merge in made["model"]["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{lines}\n", encoding="utf-8")


@pytest.mark.parametrize("kind", ["GPT2Tokenizer", "Qwen2Tokenizer"])
def test_gpt2s_two_files(texts, tmp_path, kind):
    import transformers

    _write_gpt2(tmp_path, texts)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    theirs = getattr(transformers, kind).from_pretrained(tmp_path)
    ours = TextTokenizer.load(tmp_path)
    for text in [*texts, *ODD]:
        assert ours.encode(text, specials=True, post_process=True) == theirs(text).input_ids
    assert ours.eos_id == theirs.eos_token_id == 0
    ours.save(tmp_path / "ours")
    assert TextTokenizer.load(tmp_path / "ours").fingerprint == ours.fingerprint


@pytest.mark.parametrize("given", [{}, {"do_lower_case": False}, {"strip_accents": False}])
def test_berts_list(texts, tmp_path, given):
    import transformers

    made = train(TrainTokenizerConfig(kind="wordpiece", vocabulary=5000), lambda: iter([texts]))
    vocabulary = sorted(made.get_vocab().items(), key=lambda pair: pair[1])
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in vocabulary), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", **given}))
    theirs = transformers.BertTokenizer.from_pretrained(tmp_path)
    ours = read_foreign(tmp_path)
    for text in [*texts, *ODD]:
        assert ours.encode(text, specials=True, post_process=True) == theirs(text).input_ids
    assert (ours.cls_id, ours.sep_id, ours.mask_id, ours.unk_id, ours.pad_id) == (2, 3, 4, 1, 0)


def test_llamas_and_t5s_folders(tmp_path):
    """The tokens around a text, and T5's sentinels behind the vocabulary."""
    (tmp_path / "tokenizer.model").write_bytes(model_file(algorithm=2))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    ours = TextTokenizer.load(tmp_path)
    assert ours.encode("ab", post_process=True) == [1, 8]
    assert (ours.bos_id, ours.eos_id, ours.unk_id) == (1, 2, 0)
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    ours = TextTokenizer.load(tmp_path)
    assert ours.encode("ab", post_process=True) == [8, 2]
    assert ours.sentinel_ids == tuple(range(108, 8, -1))


PROTEINS = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>"]


def test_special_tokens_in_a_proteins_text_stay_text(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(PROTEINS))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "EsmTokenizer"}')
    ours = TextTokenizer.load(tmp_path)
    special = set(ours.special_tokens.values()) - {ours.unk_id}
    assert len(special) == 4
    for token in ours.special_tokens:
        for text in (token, f"M{token}K", f" {token} ", token * 2, token[:2] + token + token[2:]):
            assert not special & set(ours.encode(text)), text
        assert ours.encode(f"M{token}K") == [PROTEINS.index("M"), ours.unk_id, PROTEINS.index("K")]
        assert ours.encode(token, specials=True) == [ours.special_tokens[token]]
    ours.save(tmp_path / "ours")
    assert TextTokenizer.load(tmp_path / "ours").encode("M<eos>K") == ours.encode("M<eos>K")


@pytest.mark.parametrize("configured", [False, True])
def test_byt5_is_its_name(tmp_path, configured):
    from transformers import ByT5Tokenizer

    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    if configured:
        (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    ours, theirs = TextTokenizer.load(tmp_path), ByT5Tokenizer()
    for text in [t for t in ODD if "<" not in t]:
        assert ours.encode(text, post_process=True) == theirs(text).input_ids
    assert (ours.pad_id, ours.eos_id, ours.unk_id) == (0, 1, 2)
    assert read_foreign(tmp_path).fingerprint == ours.fingerprint
    assert ours.around == ((), (1,))


def test_proteins_list(tmp_path):
    from transformers import EsmTokenizer

    letters = PROTEINS
    (tmp_path / "vocab.txt").write_text("\n".join(letters))
    (tmp_path / "config.json").write_text('{"model_type": "esm"}')
    ours, theirs = TextTokenizer.load(tmp_path), EsmTokenizer(str(tmp_path / "vocab.txt"))
    for text in ("MKTAYIAK", "MK TA", "M<mask>K", "MKabcT", "X.-"):
        assert ours.encode(text, specials=True, post_process=True) == theirs(text).input_ids


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"vocab.txt": "[UNK]\na\na\n"}, "lines 2 and 3 are both"),
        ({"vocab.txt": "a\nb\n"}, "no token '.UNK.'"),
        ({"vocab.txt": "[UNK]\nb\n"}, "no .CLS."),
        ({"vocab.json": '{"a": 0}'}, "merges.txt: missing"),
        ({"vocab.json": '{"a": 1}', "merges.txt": ""}, "aren't 0, 1, 2"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "a b\n"}, "line 1"),
        ({"vocab.json": "[", "merges.txt": ""}, "not JSON"),
        ({"vocab.txt": "[UNK]", "tokenizer_config.json": '{"tokenizer_class": "OddTokenizer"}'}, "OddTokenizer"),
        ({"tokenizer.model": "IQ== 0\n"}, "doesn't say how text is split"),
        ({"tokenizer.model": "zz"}, "not a SentencePiece model"),
    ],
)
def test_broken_folders_are_named(tmp_path, files, match):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(TokenizerError, match=match):
        read_foreign(tmp_path)


def test_a_folder_without_any_is_none(tmp_path):
    assert read_foreign(tmp_path) is None
