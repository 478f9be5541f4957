"""One step of tuning beside transformers and PEFT: the same logits, losses and gradients; and however a step is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bedplate.adapt.tuning.class_rows import ClassRows, LabelledTexts
from bedplate.adapt.tuning.classifier_net import ClassifierNet
from bedplate.codecs.chat_tokens import Chat, encode_chats
from bedplate.console import Console
from bedplate.data.chat_rows import ChatRows
from bedplate.deltas.adapter import save_adapter
from bedplate.deltas.lora import LoraConfig, add_lora
from bedplate.deltas.subset import choose_subset
from bedplate.families.encoder_model import EncoderModel
from bedplate.objectives.classification import NO_CLASS, Classes
from bedplate.objectives.next_token import NextToken
from bedplate.train.config import OptimiserConfig, TrainConfig
from bedplate.train.loop import Trainer, TrainingData
from bedplate.train.parallel import Parallel
from bedplate.train.placement import Placement

CLASSES, WIDTH = 5, 32
CPU = Placement("cpu", torch.float32, 1, False, 0.0, {})


@pytest.fixture
def texts():
    """Nineteen texts of 1 to 19 tokens."""
    draw = np.random.default_rng(0)
    tokens = [draw.integers(3, 400, size=n).tolist() for n in range(1, 20)]
    return LabelledTexts(tokens, draw.integers(0, CLASSES, size=19), pad=0)


@pytest.fixture
def theirs(base):
    """transformers' sequence classification on the tiny base, with a head of random weights."""
    from transformers import LlamaForSequenceClassification

    model = LlamaForSequenceClassification.from_pretrained(
        base.path, num_labels=CLASSES, attn_implementation="eager", dtype=torch.float32
    )
    model.config.pad_token_id = 0
    torch.nn.init.normal_(model.score.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    return model.train()


@pytest.fixture
def ours(make_model, theirs):
    net = ClassifierNet(make_model().net, "last", CLASSES)
    with torch.no_grad():
        net.head.weight.copy_(theirs.score.weight)
    return net


def batch_of(texts, chosen):
    return {name: torch.from_numpy(value) for name, value in texts.padded(np.array(chosen)).items()}


def assert_close(found, expected, tolerance=1e-5):
    """Relative to the tensor's own norm: fp32 sums taken in another order."""
    error = (found - expected).norm() / expected.norm().clamp(min=1e-12)
    assert error < tolerance, f"off by {float(error):.1e}"


def test_the_last_tokens_state_is_theirs(theirs, ours, texts):
    batch = batch_of(texts, [3, 18, 0, 7, 7, 12])
    expected = theirs(input_ids=batch["tokens"], attention_mask=batch["valid"].long()).logits
    assert_close(ours(batch["tokens"], batch["valid"]), expected)


def test_loss_and_gradients_are_theirs(theirs, ours, texts):
    batch = batch_of(texts, range(8))
    expected = theirs(input_ids=batch["tokens"], attention_mask=batch["valid"].long(), labels=batch["labels"])
    expected.loss.backward()
    terms = Classes()(ours, batch)
    weight = Classes().weights(batch)["classes"]
    loss = terms["classes"].sum / weight
    assert loss.item() == pytest.approx(expected.loss.item(), rel=1e-6)
    loss.backward()
    assert_close(ours.head.weight.grad, theirs.score.weight.grad)
    assert_close(ours.body.embed.weight.grad, theirs.model.embed_tokens.weight.grad)
    assert_close(ours.body.blocks[0][0].sublayer.q.weight.grad, theirs.model.layers[0].self_attn.q_proj.weight.grad)


def test_rows_without_a_class_do_not_count(ours, texts):
    batch = batch_of(texts, range(6))
    some = {**batch, "labels": torch.where(torch.arange(6) < 4, batch["labels"], NO_CLASS)}
    four = batch_of(texts, range(4))
    assert int(Classes().weights(some)["classes"]) == 4
    torch.testing.assert_close(Classes()(ours, some)["classes"].sum, Classes()(ours, four)["classes"].sum)


def trainer(net, objective, rows, folder, batch, micro_batch):
    config = TrainConfig(
        steps=4, batch=batch, length=64, micro_batch=micro_batch, compile="no",
        optimiser=OptimiserConfig(learning_rate=1e-2, clip=1.0),
    )  # fmt: skip
    return Trainer(net, objective, TrainingData(rows, None), config, CPU, Parallel(), folder, Console.quiet())


def three_steps(made):
    outcomes = [made.update(made.loader.batch(step)) for step in range(3)]
    return [float(o.loss) for o in outcomes], [float(o.norm) for o in outcomes], made.whole_model()


@pytest.mark.parametrize("delta", ["lora", "bitfit", "last-layer", "full"])
@pytest.mark.parametrize("on", ["base", "encoder"])
def test_a_step_may_be_cut_as_one_likes(make_model, encoder, texts, tmp_path, delta, on):
    """1 x 8 = 2 x 4 = 4 x 2."""
    found = []
    for micro_batch in (8, 4, 2):
        model = make_model() if on == "base" else EncoderModel.load(encoder.path)
        if delta == "lora":
            add_lora(model.net, LoraConfig(rank=4), torch.Generator().manual_seed(0))
        elif delta != "full":
            choose_subset(model.net, delta)
        net = ClassifierNet(model.net, "last" if on == "base" else "mean", CLASSES)
        if on == "base" and delta == "full":
            net.body.head.requires_grad_(False)
        made = trainer(net, Classes(), ClassRows(texts, 8, 0), tmp_path, 8, micro_batch)
        found.append(three_steps(made))
    for losses, norms, parameters in found[1:]:
        assert losses == pytest.approx(found[0][0], rel=1e-5)
        assert norms == pytest.approx(found[0][1], rel=1e-4)
        assert parameters.keys() == found[0][2].keys()
        for name, value in parameters.items():
            # A bias on all keys alike changes no attention: its gradient is rounding, which Adam scales up.
            if not name.endswith("k.bias"):
                assert_close(value, found[0][2][name], 1e-4)


@pytest.fixture
def chats(tokenizer):
    rows = [
        [
            {"role": "user", "content": f"What follows {i}?"},
            {"role": "assistant", "content": f"{i + 1} does" * (i % 3 + 1)},
        ]
        for i in range(12)
    ]
    return list(encode_chats(tokenizer, [Chat(row) for row in rows]))


def adapted(make_model):
    """A model whose adapter isn't zero: with B at zero the gradient of A would say nothing."""
    model = make_model()
    delta = add_lora(model.net, LoraConfig(rank=4, alpha=8.0), torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, p in delta.parameters().items():
            if name.endswith("lora_b"):
                p.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return model, delta


def test_one_step_on_answers_is_pefts(make_model, base, chats, tmp_path):
    """Each conversation in a row of its own (one row holds no second), beside transformers with PEFT."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model, delta = adapted(make_model)
    save_adapter(tmp_path / "adapter", model, delta, base=None)
    plain = AutoModelForCausalLM.from_pretrained(base.path, attn_implementation="eager", dtype=torch.float32)
    theirs = PeftModel.from_pretrained(plain, tmp_path / "adapter", is_trainable=True)
    longest = max(len(chat.ids) for chat in chats)
    tokens = torch.zeros(len(chats), longest, dtype=torch.int64)
    labels, present = torch.full_like(tokens, -100), torch.zeros_like(tokens)
    for row, chat in enumerate(chats):
        n = len(chat.ids)
        tokens[row, :n], present[row, :n] = torch.tensor(chat.ids), 1
        labels[row, :n] = torch.where(torch.tensor(chat.supervised), torch.tensor(chat.ids), -100)
    expected = theirs(input_ids=tokens, attention_mask=present, labels=labels).loss
    expected.backward()
    norm = torch.nn.utils.clip_grad_norm_([p for p in theirs.parameters() if p.requires_grad], 1e9)

    # Ours packs the same conversations: what shares a row doesn't see each other, so that nothing changes.
    rows = ChatRows(chats, length=2 * longest, seed=0, pad_id=0)
    assert rows.rows_per_epoch < len(chats)
    made = trainer(model.net, NextToken(), rows, tmp_path, rows.rows_per_epoch, None)
    made.config = made.config.model_copy(update={"optimiser": OptimiserConfig(clip=None)})
    outcome = made.update(made.loader.batch(0))
    assert float(outcome.loss) == pytest.approx(expected.item(), rel=1e-5)
    assert float(outcome.norm) == pytest.approx(float(norm), rel=1e-5)
    gradients = {n.replace("base_model.model.", ""): p.grad for n, p in theirs.named_parameters() if p.requires_grad}
    pairs = {
        "model.layers.0.self_attn.q_proj.lora_A.default.weight": "blocks.0.0.sublayer.q.lora_a",
        "model.layers.1.self_attn.o_proj.lora_B.default.weight": "blocks.1.0.sublayer.o.lora_b",
        "model.layers.1.mlp.down_proj.lora_A.default.weight": "blocks.1.1.sublayer.down.lora_a",
        "model.layers.0.mlp.gate_proj.lora_B.default.weight": "blocks.0.1.sublayer.gate.lora_b",
    }
    assert len(gradients) == len(made.parameters) == 2 * 2 * 7
    for their_name, name in pairs.items():
        assert_close(made.parameters[name].grad, gradients[their_name])


def test_packed_answers_may_be_cut_as_one_likes(make_model, chats, tmp_path):
    found = []
    for micro_batch in (4, 2, 1):
        model, _ = adapted(make_model)
        rows = ChatRows(chats, length=max(len(chat.ids) for chat in chats), seed=0, pad_id=0)
        found.append(three_steps(trainer(model.net, NextToken(), rows, tmp_path, 4, micro_batch)))
    for losses, norms, parameters in found[1:]:
        assert losses == pytest.approx(found[0][0], rel=1e-5)
        assert norms == pytest.approx(found[0][1], rel=1e-4)
        for name, value in parameters.items():
            assert_close(value, found[0][2][name], 1e-4)
