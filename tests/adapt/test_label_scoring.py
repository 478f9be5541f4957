"""Log-likelihoods of labels against the definition: one full forward pass for each prompt with each label."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.adapt.bases import LocalBase
from bedplate.adapt.label_reading import is_recurrent
from bedplate.adapt.label_scoring import answer_tokens, build_trie, score_answers
from bedplate.errors import InputError, TokenizerError
from bedplate.families import mixer
from bedplate.families.mixer_config import MixerConfig
from bedplate.generate.model import TextModel, load

PROMPTS = ["I saw an apple", "where?", "a much longer question about a wren, a wrench and a robin in the garden", ""]
LABELS = ["a fruit", "a fruit tree", "a bird", "a", "tool", "a tool for wood"]


def naive(model: TextModel, prompts: list[list[int]], labels: list[str]) -> np.ndarray:
    """[N, K] sums, by the definition."""
    out = np.zeros((len(prompts), len(labels)))
    for n, prompt in enumerate(prompts):
        for k, label in enumerate(answer_tokens(model, labels)):
            with torch.inference_mode():
                logp = model(torch.tensor([[*prompt, *label]]))[0].double().log_softmax(-1)
            out[n, k] = sum(logp[len(prompt) - 1 + i, token].item() for i, token in enumerate(label))
    return out


@pytest.mark.parametrize("mixers", [("gated_linear", "attention", "lstm"), ("lstm",)])
@pytest.mark.parametrize("shared", [True, False])
def test_recurrent_layers_read_each_label_by_itself(make_model, tokenizer, mixers, shared: bool):
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": 400}
    ids = {"bos_token_id": 0, "eos_token_id": 2, "max_position_embeddings": 256, "num_hidden_layers": len(mixers)}
    config = MixerConfig.model_validate({**shape, **ids, "mixers": mixers})
    net = mixer.build(config).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        parameter.data.normal_(std=0.3, generator=generator)
    model = TextModel(config, net, tokenizer)
    assert is_recurrent(model)
    assert not is_recurrent(make_model())
    prompts = chat(model, PROMPTS) if shared else [[5, 6, 7], [9, 8]]
    found = score_answers(model, prompts, LABELS)
    expected = naive(model, prompts, LABELS)
    assert np.abs(found.sums - expected).max() < 1e-4
    if shared:
        assert found.computed < sum(len(p) + len(label) for p in prompts for label in answer_tokens(model, LABELS))
    assert score_answers(model, prompts, ["a"]).sums == pytest.approx(found.sums[:, 3:4], abs=1e-4)


def chat(model: TextModel, texts: list[str], system: str = "Name it.") -> list[list[int]]:
    return [
        model.chat_prompt([{"role": "system", "content": system}, {"role": "user", "content": text}]) for text in texts
    ]


VARIANTS = {
    "plain": {},
    "grouped to one key head": {"num_key_value_heads": 1},
    "narrow windows": {"model_type": "mistral", "windows": (7, 7)},
    "dynamic positions": {
        "rope_scaling": {"rope_type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 16}
    },
    "untied": {"tie_word_embeddings": False},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("batch_tokens", [1, 100, 4096])
def test_equal_to_a_full_pass_for_each_label(make_model, variant: str, batch_tokens: int):
    changes = VARIANTS[variant]
    model = make_model(**changes)
    texts = PROMPTS[:2] if "rope_scaling" in changes else PROMPTS
    labels = LABELS[:3] if "rope_scaling" in changes else LABELS
    prompts = chat(model, texts, system="" if "rope_scaling" in changes else "Name it.")
    found = score_answers(model, prompts, labels, batch_tokens=batch_tokens)
    # float32 logits of size 10, each sum of up to nine: what 1e-4 allows
    assert np.abs(found.sums - naive(model, prompts, labels)).max() < 1e-4
    assert found.read == tuple(map(len, prompts))
    assert found.tokens.tolist() == [len(t) for t in answer_tokens(model, labels)]


@pytest.mark.parametrize("cap", [None, 2.5])
def test_a_head_with_a_bias_and_a_cap(make_model, cap: float | None):
    model = make_model(tie_word_embeddings=False)
    head = model.net.head
    head.bias = torch.nn.Parameter(torch.randn(len(head.weight), generator=torch.Generator().manual_seed(2)))
    model.net.softcap = cap
    prompts = chat(model, PROMPTS)
    found = score_answers(model, prompts, LABELS)
    assert np.abs(found.sums - naive(model, prompts, LABELS)).max() < 1e-4


@settings(max_examples=30, deadline=None)
@given(
    prompts=st.lists(st.lists(st.integers(3, 60), min_size=1, max_size=12), min_size=1, max_size=5),
    labels=st.lists(st.text("abc ", min_size=1, max_size=5), min_size=1, max_size=6),
)
def test_any_prompts_and_labels(make_model, prompts: list[list[int]], labels: list[str]):
    """Prompts that are equal, that are each other's beginnings, of one token; labels twice, or within one another."""
    model = make_model()
    found = score_answers(model, prompts, labels, batch_tokens=64)
    assert np.abs(found.sums - naive(model, prompts, labels)).max() < 1e-4


def test_beginnings_are_computed_once(make_model):
    model = make_model()
    prompts = chat(model, PROMPTS, system="A long instruction that all of the prompts have in common.")
    found = score_answers(model, prompts, LABELS)
    trie = build_trie(answer_tokens(model, LABELS))
    same = next(i for i in range(99) if len({p[i] for p in prompts if i < len(p)}) > 1)
    assert found.computed == same + len(prompts) * (max(map(len, prompts)) - same + len(trie.tokens))
    assert len(trie.tokens) < sum(len(t) - 1 for t in answer_tokens(model, LABELS))
    assert found.computed < sum(len(p) + len(t) for p in prompts for t in answer_tokens(model, LABELS)) / 4


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=8))
def test_the_tree_spells_every_label(labels: list[list[int]]):
    trie = build_trie(labels)
    for label, steps in zip(labels, trie.steps, strict=True):
        assert [token for _, token in steps] == label
        for place, (node, _) in enumerate(steps):
            seen = trie.tokens[trie.above[node]].tolist() if node >= 0 else []
            assert seen == label[:place]
    beginnings = {tuple(label[:n]) for label in labels for n in range(1, len(label))}
    assert len(trie.tokens) == len(beginnings)


@given(st.lists(st.text(min_size=1, max_size=4), min_size=2, max_size=6, unique=True))
def test_no_label_is_the_beginning_of_another(make_model, labels: list[str]):
    """With their ends, labels exclude each other: "a" isn't favoured over "a fruit" for being shorter."""
    tokens = answer_tokens(make_model(), labels)
    assert all(t[-1] == 2 for t in tokens)
    assert not any(a is not b and b[: len(a)] == a for a in tokens for b in tokens)


def test_a_prompt_without_room_is_named(make_model):
    model = make_model(max_position_embeddings=24)
    with pytest.raises(InputError, match=r"prompts\[1\] has 23 tokens, its longest answer"):
        score_answers(model, [[5] * 4, [5] * 23], ["a fruit"])


def test_empty_labels_and_missing_tokenizers_are_errors(make_model):
    model = make_model()
    with pytest.raises(InputError, match="label 1 is an empty text"):
        score_answers(model, [[5]], ["a", ""])
    with pytest.raises(TokenizerError, match="no tokenizer"):
        score_answers(TextModel(model.config, model.net), [[5]], ["a"])


def test_the_base_scores_what_it_is_asked(make_model):
    base = LocalBase(make_model())
    asked = [[{"role": "user", "content": text}] for text in PROMPTS]
    found = base.score(asked, LABELS)
    assert np.abs(found.sums - naive(base.model, [base.prompt_tokens(m) for m in asked], LABELS)).max() < 1e-4


@pytest.mark.slow
def test_real_labels_of_a_real_model(smollm2: Path, shared_data: Path):
    """77 labels of banking77 with SmolLM2 in float32: the same sums, and the same likeliest label."""
    rows = list(csv.DictReader((shared_data / "banking77/banking_data/test.csv").open()))
    labels = [label.replace("_", " ") for label in sorted({row["category"] for row in rows})]
    model = load(smollm2)
    prompts = chat(model, [rows[0]["text"], rows[1500]["text"]], "Say the intent.")
    found = score_answers(model, prompts, labels).sums[:, ::7]
    expected = naive(model, prompts, labels[::7])
    # Sums of up to 12 log-probabilities, near -100: 1e-4 of a token's worth, and 3e-6 of the sum.
    assert np.abs(found - expected).max() < 5e-4
    assert np.abs(found / expected - 1).max() < 1e-5
    assert (found.argmax(1) == expected.argmax(1)).all()
