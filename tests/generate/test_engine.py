"""Generation in batches: each row as if alone, and equal to transformers and to the full forward pass."""

from __future__ import annotations

import random

import pytest
import torch

from bedplate.codecs.text import TextTokenizer
from bedplate.errors import InputError, TokenizerError, UserError, WeightsError
from bedplate.families.model import Model
from bedplate.generate.batch import Batch
from bedplate.generate.engine import end_tokens, generate, stream
from bedplate.generate.params import SamplingParams

SAMPLED = {"temperature": 1.0, "top_k": 50, "top_p": 0.95}


def some_prompts(count: int, seed: int = 0, longest: int = 60) -> list[list[int]]:
    chooser = random.Random(seed)
    return [[chooser.randrange(3, 400) for _ in range(chooser.randint(1, longest))] for _ in range(count)]


def full_logits(model: Model, tokens: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([tokens]))[0]


@pytest.fixture(params=["model", "windowed"])
def any_model(request):
    return request.getfixturevalue(request.param)


def test_logits_of_a_batch_are_those_of_rows_alone(any_model):
    """Rows of unequal length, which join and leave on the way, against the full forward pass of each row alone."""
    chooser = random.Random(3)
    rows = [*some_prompts(3, 1), list(range(3, 120))]  # the long one is read in a pass of its own
    batch = Batch(any_model)
    logits = batch.add(rows[:2], room=4)
    logits = torch.cat((logits, batch.add(rows[2:], room=1)))
    for step in range(12):
        for row, found in zip(rows, logits, strict=True):
            # fp32 sums in another order; logits are of order 10.
            torch.testing.assert_close(found, full_logits(any_model, row)[-1], rtol=1e-5, atol=2e-5)
        tokens = [chooser.randrange(400) for _ in rows]
        if step in (3, 6):
            batch.keep([r for r in range(len(rows)) if r != 3])
            rows, tokens = rows[:3] + rows[4:], tokens[:3] + tokens[4:]
        if step == 8:
            joining = some_prompts(2, 9)
            logits = batch.step(torch.tensor(tokens))
            rows = [[*row, token] for row, token in zip(rows, tokens, strict=True)] + joining
            logits = torch.cat((logits, batch.add(joining, room=2)))
            continue
        logits = batch.step(torch.tensor(tokens))
        rows = [[*row, token] for row, token in zip(rows, tokens, strict=True)]


def test_a_batch_gives_what_its_rows_give_alone(any_model):
    """More prompts than slots, so that rows wait, join and leave; greedy and sampled rows side by side."""
    prompts = some_prompts(40)
    params = [
        SamplingParams(max_tokens=5 + i % 17, seed=i, **(SAMPLED if i % 2 else {}), repetition_penalty=1 + (i % 3) / 4)
        for i in range(len(prompts))
    ]
    together = generate(any_model, prompts, params)
    for i, (prompt, p, found) in enumerate(zip(prompts, params, together, strict=True)):
        alone = generate(any_model, [prompt], p)[0]
        assert (i, alone.tokens, alone.text) == (i, found.tokens, found.text)
        assert alone.logprobs == pytest.approx(found.logprobs, abs=1e-4)


@pytest.mark.parametrize("kind", ["model", "windowed"])
def test_greedy_tokens_are_those_of_transformers(kind, request, tmp_path):
    from transformers import AutoModelForCausalLM

    model = request.getfixturevalue(kind)
    model.save(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    prompts = some_prompts(6, 5, longest=30)
    ours = generate(model, prompts, max_tokens=24, repetition_penalty=1.1)
    for prompt, found in zip(prompts, ours, strict=True):
        expected = theirs.generate(
            torch.tensor([prompt]), max_new_tokens=24, do_sample=False, repetition_penalty=1.1, pad_token_id=0
        )
        assert list(found.tokens) == expected[0, len(prompt) :].tolist()


def test_logprobs_are_the_log_softmax_of_the_full_forward(model):
    """The model's own distribution, before penalties and temperature."""
    prompts = some_prompts(5)
    for prompt, g in zip(prompts, generate(model, prompts, max_tokens=12, seed=1, repetition_penalty=1.2, **SAMPLED,
                                           top_logprobs=3), strict=True):  # fmt: skip
        logprobs = full_logits(model, prompt + list(g.tokens)).log_softmax(-1)[len(prompt) - 1 : -1]
        expected = logprobs.gather(-1, torch.tensor(g.tokens)[:, None])[:, 0].tolist()
        assert g.logprobs == pytest.approx(expected, abs=1e-4)
        for row, top in zip(logprobs, g.top_logprobs, strict=True):
            values, tokens = row.topk(3)
            assert list(top) == tokens.tolist()
            assert list(top.values()) == pytest.approx(values.tolist(), abs=1e-4)


def test_top_logprobs_are_each_rows_own(model):
    none, two = generate(
        model, [[5], [6]], [SamplingParams(max_tokens=3), SamplingParams(max_tokens=3, top_logprobs=2)]
    )
    assert none.top_logprobs is None
    assert [len(top) for top in two.top_logprobs] == [2, 2, 2]


def test_a_seed_decides_and_none_is_fresh(model):
    prompt, options = [5, 6, 7], {"max_tokens": 20, "temperature": 1.5, "ignore_eos": True}
    a, b, c = generate(model, [prompt] * 3, seeds=[1, 2, 1], **options)
    assert a.tokens == c.tokens != b.tokens
    assert generate(model, [prompt], seed=1, **options)[0].tokens == a.tokens
    d, e = generate(model, [prompt] * 2, **options)
    assert d.tokens != e.tokens


def test_global_randomness_is_left_alone(model):
    before = torch.random.get_rng_state()
    generate(model, [[5]], max_tokens=3, temperature=1.0)
    assert torch.equal(before, torch.random.get_rng_state())


# -- where an answer ends ----------------------------------------------------------------------------------------------


def test_max_tokens_and_usage(model):
    g = generate(model, [[5, 6]], max_tokens=7, ignore_eos=True)[0]
    assert len(g.tokens) == len(g.logprobs) == 7
    assert (g.finish_reason, g.stopped_by) == ("length", None)
    assert (g.usage.prompt_tokens, g.usage.completion_tokens, g.usage.total_tokens) == (2, 7, 9)


def test_a_stop_token_ends_it_and_is_not_text(model):
    free = generate(model, [[5, 6]], max_tokens=12, ignore_eos=True)[0]
    stop = free.tokens[6]
    first = free.tokens.index(stop)
    g = generate(model, [[5, 6]], max_tokens=12, ignore_eos=True, stop_token_ids=[stop])[0]
    assert g.tokens == free.tokens[: first + 1]
    assert (g.finish_reason, g.stopped_by) == ("stop", stop)
    assert g.text == model.tokenizer.decode(g.tokens[:-1])


def test_the_models_own_end_tokens_end_it(model, tokenizer):
    free = generate(model, [[5, 6]], max_tokens=12, ignore_eos=True)[0]
    end = free.tokens[4]
    for generation, config in (({"eos_token_id": [399, end]}, 2), ({"eos_token_id": end}, 2), ({}, (399, end))):
        changed = Model(model.config.model_copy(update={"eos_token_id": config}), model.net, tokenizer, generation)
        g = generate(changed, [[5, 6]], max_tokens=12)[0]
        assert g.stopped_by == end
        assert g.tokens == free.tokens[: free.tokens.index(end) + 1]
    bare = model.config.model_copy(update={"eos_token_id": None})
    assert end_tokens(Model(bare, model.net, tokenizer)) == {tokenizer.eos_id}
    assert end_tokens(Model(bare, model.net)) == frozenset()


def test_stop_strings_that_straddle_tokens_cut_the_text(model):
    """Every piece of an answer's text, as a stop string, cuts it where that piece first stands."""
    free = generate(model, [[9, 10]], max_tokens=24, ignore_eos=True)[0]
    for start in range(len(free.text) - 5):
        stop = free.text[start : start + 5]
        if "�" in stop:  # half a character, which the next token completes
            continue
        g = generate(model, [[9, 10]], max_tokens=24, ignore_eos=True, stop=[stop, "never there"])[0]
        assert g.text == free.text[: free.text.index(stop)]
        assert (g.finish_reason, g.stopped_by) == ("stop", stop)
        assert g.tokens == free.tokens[: len(g.tokens)]
        assert stop in model.tokenizer.decode(g.tokens)
        assert stop not in model.tokenizer.decode(g.tokens[:-1])


def test_the_context_is_the_limit(model):
    g = generate(model, [list(range(3, 120))], max_tokens=50, ignore_eos=True)[0]
    assert (len(g.tokens), g.finish_reason) == (128 - 117, "length")
    with pytest.raises(InputError, match=r"prompts\[1\] has 128 tokens .* 128"):
        generate(model, [[5], [5] * 128], max_tokens=1)


# -- streams -----------------------------------------------------------------------------------------------------------


def test_a_stream_adds_up_to_the_text_and_returns_the_generation(model):
    options = {"max_tokens": 40, "temperature": 1.0, "seed": 4, "stop": ["zz", "th"]}
    whole = generate(model, [[5, 6, 7]], **options)[0]
    returned = []

    def listen():
        returned.append((yield from stream(model, [5, 6, 7], **options)))

    pieces = list(listen())
    assert returned == [whole]
    assert "".join(pieces) == whole.text
    assert all(pieces)


def test_a_stream_checks_its_arguments_at_once(model):
    with pytest.raises(UserError, match="top_p"):
        stream(model, "hello", top_p=3)


def test_a_stream_leaves_no_inference_mode_behind(model):
    pieces = stream(model, [5], max_tokens=4, ignore_eos=True)
    next(pieces)
    assert not torch.is_inference_mode_enabled()
    assert torch.ones(1, requires_grad=True).sum().requires_grad


def test_text_depends_on_the_prompt_where_the_tokenizer_joins_words_by_marks(make_model):
    """SentencePiece's decoder drops a text's first space: an answer's first word still gets its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pieces = {"<s>": 0, "</s>": 1, "▁once": 2, "▁upon": 3, "▁a": 4, "▁time": 5}
    backend = Tokenizer(models.WordLevel(pieces, unk_token="<s>"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    marked = TextTokenizer(backend.to_str(), {"eos_token": "</s>"})
    model = make_model(marked, vocab_size=6, eos_token_id=1)
    g = generate(model, [[2, 3]], max_tokens=3, ignore_eos=True)[0]
    assert marked.decode([2, 3, *g.tokens]) == "once upon" + g.text


# -- prompts -----------------------------------------------------------------------------------------------------------


def test_texts_go_through_the_post_processor(model, tokenizer):
    """A tokenizer that says that texts begin with BOS gets its BOS; special tokens in a text are plain text."""
    from tokenizers import Tokenizer, processors

    backend = Tokenizer.from_str(tokenizer.backend.to_str())
    backend.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    with_bos = Model(model.config, model.net, TextTokenizer(backend.to_str(), {"eos_token": "<|im_end|>"}))
    text = "a <|im_end|> b"
    ids = tokenizer.encode(text)
    assert 2 not in ids
    from_text, from_ids = generate(with_bos, [text, [0, *ids]], max_tokens=8)
    assert from_text == from_ids
    assert from_text.usage.prompt_tokens == len(ids) + 1
    assert generate(model, text, max_tokens=8) == generate(model, [ids], max_tokens=8)


def test_an_empty_prompt_starts_from_bos_or_is_refused(model):
    assert generate(model, ["", [], [0]], max_tokens=5) == generate(model, [[0]] * 3, max_tokens=5)
    nothing = Model(model.config.model_copy(update={"bos_token_id": None}), model.net)
    with pytest.raises(InputError, match=r"prompts\[1\] is empty"):
        generate(nothing, [[5], []], max_tokens=5)


def test_no_prompts_give_nothing(model):
    assert generate(model, []) == []


@pytest.mark.parametrize(
    ("prompts", "options", "error", "message"),
    [
        ([[5], [400]], {}, InputError, r"prompts\[1\] has token 400.*400"),
        ([[-1]], {}, InputError, r"prompts\[0\] has token -1"),
        ([5, 6], {}, InputError, r"prompts\[0\] is neither"),
        ([[5], [1.7, "3"]], {}, InputError, r"prompts\[1\] has 1\.7 among"),
        ([["3"]], {}, InputError, r"prompts\[0\] has '3' among"),
        ([[True]], {}, InputError, r"prompts\[0\] has True among"),
        ([torch.tensor([1.0])], {}, InputError, r"prompts\[0\] has 1\.0 among"),
        (["a", "\ud800"], {}, InputError, r"prompts\[1\] has lone surrogates"),
        ([[5]], {"params": SamplingParams(), "top_k": 3}, UserError, "top_k"),
        ([[5]], {"params": [SamplingParams()] * 2}, UserError, "2 params for 1 prompts"),
        ([[5]], {"seeds": [1, 2]}, UserError, "2 seeds for 1 prompts"),
        ([[5]], {"seeds": [-1]}, UserError, r"seeds\[0\]"),
        ([[5]], {"nucleus": 1}, UserError, "nucleus"),
    ],
)
def test_bad_input_is_refused_with_its_place(model, prompts, options, error, message):
    with pytest.raises(error, match=message):
        generate(model, prompts, **options)


def test_without_a_tokenizer_ids_work_and_texts_do_not(model):
    bare = Model(model.config, model.net)
    g = generate(bare, [[5, 6]], max_tokens=4)[0]
    assert g.tokens == generate(model, [[5, 6]], max_tokens=4)[0].tokens
    assert g.text == ""
    with pytest.raises(TokenizerError):
        generate(bare, ["text"])
    with pytest.raises(UserError, match="stop strings"):
        generate(bare, [[5]], stop="x")


def test_broken_weights_are_told_not_sampled(make_model, tokenizer):
    model = make_model(tokenizer)
    with torch.no_grad():
        model.net.embed.weight[7] = float("nan")
    for temperature in (0.0, 1.0):
        with pytest.raises(WeightsError, match="NaN"):
            generate(model, [[7]], temperature=temperature)


def test_dynamic_rope_rows_do_not_stretch_each_other(make_model, tokenizer):
    """The base grows with the longest sequence seen: a short row in a batch with a long one keeps its own."""
    scaling = {"rope_type": "dynamic", "factor": 2.0}
    model = make_model(tokenizer, rope_scaling=scaling, max_position_embeddings=128)
    prompts = [[5, 6, 7], list(range(3, 110))]
    options = {"max_tokens": 15, "ignore_eos": True}
    together = generate(model, prompts, **options)
    assert together == [generate(model, [p], **options)[0] for p in prompts]
