"""Encoder-decoders answer as transformers' generate does, in batches as alone, through load, import and the errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForSeq2SeqLM

import bedplate
from bedplate.codecs.text import TextTokenizer
from bedplate.console import Console
from bedplate.errors import InputError, UserError, WeightsError
from bedplate.families.encoder_model import EncoderModel
from bedplate.families.exports import export_model
from bedplate.families.imports import import_model
from bedplate.families.model import Model
from bedplate.generate.engine import stream
from bedplate.generate.model import RewritingModel, load_text
from bedplate.generate.params import SamplingParams

_T5: dict[str, Any] = {
    "vocab_size": 400, "d_model": 32, "d_kv": 7, "d_ff": 48, "num_layers": 3, "num_heads": 4, "num_decoder_layers": 2,
    "decoder_start_token_id": 0, "eos_token_id": 2, "pad_token_id": 0, "relative_attention_max_distance": 20,
    "relative_attention_num_buckets": 8,
}  # fmt: skip
_BART: dict[str, Any] = {
    "vocab_size": 400, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64,
    "forced_eos_token_id": None, "scale_embedding": True, "decoder_start_token_id": 2,
}  # fmt: skip
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": ("T5", _T5),
    "t5 gated, unscaled": ("T5", {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "bart": ("Bart", _BART),
    "bart, forced first": ("Bart", {**_BART, "forced_bos_token_id": 9}),
}
MOST = 30


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tokenizer: TextTokenizer) -> Path:
    """A tiny random model that transformers saved, whose answers end now and then, with a tokenizer."""
    kind, keys = KINDS[request.param]
    model = AutoModelForSeq2SeqLM.from_config(getattr(transformers, f"{kind}Config")(**keys))
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.35 if parameter.dim() > 1 else 1.0, generator=generator)
    made = tmp_path_factory.mktemp("theirs")
    model.save_pretrained(made)
    tokenizer.save(made)
    return made


def _sources(count: int = 9) -> list[list[int]]:
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(1, 60, (count,), generator=generator).tolist()
    return [torch.randint(10, 400, (n,), generator=generator).tolist() for n in lengths]


def _load(folder: Path) -> RewritingModel:
    model = bedplate.load(folder, device="cpu")
    assert isinstance(model, RewritingModel)
    return model


@torch.inference_mode()
def _theirs(folder: Path, source: list[int], **options: Any) -> list[int]:
    """What transformers writes, without what the decoder starts from."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    found: list[int] = model.generate(torch.tensor([source]), max_new_tokens=MOST, **options)[0].tolist()
    start = len(_load(folder).start_tokens)
    return found[start:]


def test_greedy_equals_transformers_and_a_batch_its_rows_alone(folder: Path) -> None:
    model = _load(folder)
    together = model.generate(_sources(), max_tokens=MOST)
    reasons = set()
    for source, answer in zip(_sources(), together, strict=True):
        expected = _theirs(folder, source)
        # Theirs counts a forced first token among the new ones.
        assert list(answer.tokens)[: len(expected)] == expected
        assert answer.usage.prompt_tokens == len(source)
        assert answer.usage.completion_tokens == len(answer.tokens) <= MOST
        alone = model.generate([source], max_tokens=MOST)[0]
        assert alone.tokens == answer.tokens
        # fp32 sums in another order, which scores of order 100 make larger.
        assert torch.allclose(torch.tensor(alone.logprobs), torch.tensor(answer.logprobs), atol=1e-3)
        if answer.finish_reason == "stop":
            assert answer.tokens[-1] == answer.stopped_by == 2
            assert 2 not in answer.tokens[:-1]
        reasons.add(answer.finish_reason)
    assert "length" in reasons


def test_an_answer_stops_at_an_end_token(folder: Path) -> None:
    model, source = _load(folder), _sources()[0]
    tokens = model.generate([source], max_tokens=MOST, ignore_eos=True)[0].tokens
    end = tokens[7]
    model.generation["eos_token_id"] = end
    (answer,) = model.generate([source], max_tokens=MOST)
    assert answer.tokens == tokens[: tokens.index(end) + 1]
    assert answer.finish_reason == "stop"
    assert answer.stopped_by == end


def test_penalised_greedy_equals_transformers(folder: Path) -> None:
    if len(_load(folder).start_tokens) > 1:
        pytest.skip("transformers penalises a forced token only once it has been forced")
    for source, answer in zip(
        _sources(4), _load(folder).generate(_sources(4), max_tokens=MOST, repetition_penalty=1.7), strict=True
    ):
        assert list(answer.tokens) == _theirs(folder, source, repetition_penalty=1.7)


@torch.inference_mode()
def test_log_probabilities_are_those_of_the_full_forward_pass(folder: Path) -> None:
    model, source = _load(folder), _sources()[1]
    (answer,) = model.generate([source], max_tokens=MOST, temperature=1.0, seed=1, top_logprobs=3)
    written = [*model.start_tokens, *answer.tokens]
    logits = model(torch.tensor([source]), torch.tensor([written[:-1]]))[0, len(model.start_tokens) - 1 :]
    expected = logits.log_softmax(-1).gather(-1, torch.tensor(answer.tokens)[:, None])[:, 0]
    assert torch.allclose(torch.tensor(answer.logprobs), expected, atol=1e-3)
    assert answer.top_logprobs is not None
    assert all(len(top) == 3 for top in answer.top_logprobs)


def test_sampling_depends_on_the_seed_alone(folder: Path) -> None:
    model = _load(folder)
    options: dict[str, Any] = {"temperature": 1.0, "top_k": 50, "top_p": 0.95, "max_tokens": 12}
    together = model.generate(_sources(), seeds=range(9), **options)
    alone = [model.generate([s], seeds=[i], **options)[0] for i, s in enumerate(_sources())]
    assert [a.tokens for a in together] == [a.tokens for a in alone]
    assert model.generate(_sources(1), seeds=[77], **options)[0].tokens != alone[0].tokens


def test_text_in_text_out_and_streamed(folder: Path) -> None:
    model = _load(folder)
    assert model.tokenizer is not None
    prompt = "translate English to German: a model"
    (answer,) = model.generate([prompt], max_tokens=20)
    kept = [t for t in answer.tokens if t != 2]
    assert answer.text == model.tokenizer.decode(kept, skip_special=True)
    assert answer.usage.prompt_tokens == len(model.tokenizer.encode(prompt))
    ended = []

    def whole() -> Iterator[str]:
        ended.append((yield from stream(model, prompt, max_tokens=20)))

    assert "".join(whole()) == answer.text
    assert ended == [answer]
    several = [SamplingParams(max_tokens=n) for n in (1, 5)]
    assert [len(a.tokens) for a in model.generate([prompt] * 2, several)] == [1, min(5, len(answer.tokens))]


def test_an_import_has_a_certificate_and_answers_as_its_source(folder: Path, tmp_path: Path) -> None:
    artefact = import_model(folder, tmp_path / "out", console=Console.quiet())
    assert artefact.measures["certificate"]["greatest_logit_error"] == 0
    assert artefact.measures["architecture"] == "encoder-decoder"
    before, after = _load(folder), _load(artefact.path)
    assert [a.tokens for a in before.generate(_sources(), max_tokens=9)] == [
        a.tokens for a in after.generate(_sources(), max_tokens=9)
    ]
    again = export_model(artefact.path, tmp_path / "again", console=Console.quiet())
    assert again.measures["certificate"]["greatest_logit_error"] == 0
    with pytest.raises(WeightsError, match="isn't written as GGUF"):
        export_model(artefact.path, tmp_path / "gguf", format="gguf", console=Console.quiet())


def test_where_it_cannot_be_used_it_says_what_would_work(folder: Path) -> None:
    with pytest.raises(WeightsError, match="holds no conversation") as error:
        _load(folder).chat([{"role": "user", "content": "hello"}])
    assert "generate" in str(error.value.fix)
    with pytest.raises(WeightsError, match="can't continue or chat"):
        load_text(folder)
    with pytest.raises(WeightsError, match="is an encoder-decoder"):
        Model.load(folder)
    with pytest.raises(WeightsError, match="an encoder is needed"):
        EncoderModel.load(folder)


def test_bad_requests_are_named(folder: Path) -> None:
    model = _load(folder)
    with pytest.raises(InputError, match=r"prompts\[1\] has token 400"):
        model.generate([[5], [400]])
    with pytest.raises(UserError, match="no such sampling parameter; nearest: temperature"):
        model.generate([[5]], temprature=1)
    if model.config.longest is not None:
        with pytest.raises(InputError, match="65 tokens and the model reads 64"):
            model.generate([[5] * 65])
        (answer,) = model.generate([[5] * 64], max_tokens=1000, ignore_eos=True)
        assert len(answer.tokens) == 64 - len(model.start_tokens)


def test_logits_that_are_no_numbers_are_named(folder: Path) -> None:
    model = _load(folder)
    with torch.no_grad():
        model.net.embed.weight[5] = torch.nan
    with pytest.raises(WeightsError, match="NaN"):
        model.generate([[5, 6]])


def test_a_start_token_beyond_the_vocabulary_is_named(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    found = json.loads((folder / "generation_config.json").read_text())
    (tmp_path / "generation_config.json").write_text(json.dumps(found | {"decoder_start_token_id": 400}))
    with pytest.raises(InputError, match="decoder_start_token_id is 400"):
        _load(tmp_path)


def test_byt5_reads_bytes_and_writes_them(tmp_path: Path) -> None:
    """Its tokenizer is no file: the class that the folder names says it all, and is transformers' id for id."""
    model = AutoModelForSeq2SeqLM.from_config(transformers.T5Config(**{**_T5, "vocab_size": 384, "eos_token_id": 1}))
    generator = torch.Generator().manual_seed(8)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.35 if parameter.dim() > 1 else 1.0, generator=generator)
    model.save_pretrained(tmp_path)
    theirs = transformers.ByT5Tokenizer()
    theirs.save_pretrained(tmp_path)
    assert not (tmp_path / "tokenizer.json").is_file()
    ours = _load(tmp_path)
    tokenizer = ours.tokenizer
    assert tokenizer is not None
    for text in ("a model", "Füße, 素早い 🦊\n\ttwo  spaces ", "</s> typed"):
        typed = "</s>" in text  # what somebody typed is text here and a token there
        ids = tokenizer.encode(text, post_process=True)
        assert ids == ([*(b + 3 for b in text.encode()), 1] if typed else theirs(text).input_ids)
        assert tokenizer.decode(ids[:-1], skip_special=True) == text
    assert tokenizer.special_tokens["<extra_id_3>"] == 262
    (answer,) = ours.generate(["Füße"], max_tokens=MOST)
    assert list(answer.tokens) == _theirs(tmp_path, theirs("Füße").input_ids)
    ours.save(tmp_path / "ours")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert again("Füße").input_ids == theirs("Füße").input_ids
    assert _load(tmp_path / "ours").generate(["Füße"], max_tokens=MOST)[0] == answer
