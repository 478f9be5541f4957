"""`bedplate.load` and what it gives."""

from __future__ import annotations

import pytest
import torch

import bedplate
from bedplate.codecs.text import TextTokenizer
from bedplate.errors import InputError, TokenizerError, UserError
from bedplate.generate.model import TextModel

OPTIONS = {"max_tokens": 10, "ignore_eos": True}


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "model"
    model.save(path)
    return path


def test_what_is_loaded_writes_as_what_was_saved(model, folder):
    loaded = bedplate.load(folder)
    assert isinstance(loaded, TextModel)
    assert loaded.generate(["one", "another"], **OPTIONS) == model.generate(["one", "another"], **OPTIONS)
    assert bedplate.load(str(folder), dtype="bfloat16").dtype == torch.bfloat16


def test_a_run_folder_holds_its_model(model, tmp_path):
    model.save(tmp_path / "model")
    assert bedplate.load(tmp_path).generate("one", **OPTIONS) == model.generate("one", **OPTIONS)


def test_chat_is_the_template_and_the_text_after_it(model, tokenizer):
    messages = [{"role": "user", "content": "What?"}]
    text = "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n"
    tokens = tokenizer.encode(text, specials=True)
    assert model.chat_prompt(messages) == tokens
    assert tokens[0] == 1  # the special token, not its letters
    assert model.chat(messages, **OPTIONS) == model.generate([tokens], **OPTIONS)[0]


def test_a_model_without_a_template_says_what_to_do(model, tokenizer):
    plain = TextModel(model.config, model.net, TextTokenizer(tokenizer.backend.to_str()))
    with pytest.raises(TokenizerError, match="--raw"):
        plain.chat([{"role": "user", "content": "hi"}])


def test_stream_and_generate_agree(model):
    assert "".join(model.stream("some text", **OPTIONS)) == model.generate("some text", **OPTIONS)[0].text


def test_a_gguf_file_is_to_be_imported(tmp_path):
    file = tmp_path / "model.Q4_1.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(UserError, match="bedplate import"):
        bedplate.load(file)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        bedplate.load(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"config\.json"):
        bedplate.load(tmp_path)


def test_a_hub_id_that_cannot_be_had_is_an_input_error():
    with pytest.raises(InputError, match="nobody/nothing"):
        bedplate.load("hub:nobody/nothing")
    with pytest.raises(InputError, match="nobody/nothing"):
        bedplate.load("nobody/nothing", revision="main")


def test_a_mistyped_folder_is_no_question_to_the_hub(tmp_path, monkeypatch):
    def ask(*_):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("bedplate.generate.model.pin", ask)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "quickstart").mkdir(parents=True)
    with pytest.raises(InputError, match=r"runs/quikstart: no such folder; nearest: runs/quickstart\n.*hub:org"):
        bedplate.load("runs/quikstart")
    with pytest.raises(InputError, match=r"nobody/nothing: no such folder\n.*hub:org"):
        bedplate.load("nobody/nothing")


def test_a_revision_belongs_to_a_hub_id(folder):
    with pytest.raises(UserError, match="revision"):
        bedplate.load(folder, revision="main")
