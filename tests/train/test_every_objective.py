"""Every objective learns something of real text, Python's own library, in seconds, through the one loop: its loss on
rows that it wasn't trained on falls clearly below where it began."""

from __future__ import annotations

import io
import sysconfig
import tokenize
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bedplate.console import Console
from bedplate.data.draws import uniform
from bedplate.data.fim import FimRows, FimTokens
from bedplate.data.masking import MaskedRows
from bedplate.data.packing import Rows
from bedplate.data.prefix import PrefixRows
from bedplate.data.row_sources import FirstRows, RowSource
from bedplate.data.span_corruption import SpanRows
from bedplate.families.configs import config_class
from bedplate.families.registry import any_family_of
from bedplate.nn.embedding_net import EmbeddingNet
from bedplate.nn.initialise import initialise
from bedplate.objectives.classification import Classes
from bedplate.objectives.contrastive import InfoNCE
from bedplate.objectives.distillation import Distillation
from bedplate.objectives.load_balance import Balanced
from bedplate.objectives.masked import Masked
from bedplate.objectives.multi_token import MultiToken
from bedplate.objectives.next_token import NextToken
from bedplate.objectives.regression import GaussianLikelihood, SquaredError
from bedplate.objectives.replaced_tokens import ReplacedTokens
from bedplate.objectives.seq2seq import Seq2Seq
from bedplate.objectives.token_classification import TokenClasses
from bedplate.train.config import TrainConfig
from bedplate.train.loop import Trainer, TrainingData
from bedplate.train.parallel import Parallel
from bedplate.train.placement import Placement
from bedplate.train.validation import MeanLoss

LENGTH, BATCH, STEPS = 48, 16, 60
PAD, END, MASK, FIM, SENTINELS, BYTES = 0, 1, 2, (3, 4, 5), range(6, 26), 32
VOCABULARY = BYTES + 256
LEARNT = (
    "argparse.py",
    "ast.py",
    "calendar.py",
    "csv.py",
    "difflib.py",
    "inspect.py",
    "locale.py",
    "logging/__init__.py",
)

pytestmark = pytest.mark.slow
HELD_OUT = ("configparser.py", "optparse.py", "textwrap.py", "zipfile.py", "zipfile/__init__.py")
OTHER, STRING, COMMENT = 0, 1, 2


def sources(names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of library files, as tokens, and of each whether it is of a string, a comment or something else."""
    tokens, kinds = [], []
    for name in names:
        path = Path(sysconfig.get_paths()["stdlib"]) / name
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8").encode("ascii", "replace").decode()
        starts = np.cumsum([0, *(len(line) for line in text.splitlines(keepends=True))])
        kind = np.zeros(len(text), dtype=np.int64)
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.STRING, tokenize.COMMENT):
                (a, b), (c, d) = token.start, token.end
                kind[starts[a - 1] + b : starts[c - 1] + d] = STRING if token.type == tokenize.STRING else COMMENT
        tokens.append(np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64) + BYTES)
        kinds.append(kind)
    return np.concatenate(tokens), np.concatenate(kinds)


class Windows:
    """Rows of LENGTH bytes from random places, as next-token rows of one segment; `kinds` goes along."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.tokens, self.kinds = sources(names)

    def rows(self, first: int, count: int) -> Rows:
        at = [np.random.default_rng(r).integers(len(self.tokens) - LENGTH - 1) for r in range(first, first + count)]
        place = np.array(at)[:, None] + np.arange(LENGTH)
        shape = place.shape
        return {
            "tokens": self.tokens[place],
            "targets": self.tokens[place + 1],
            "segments": np.zeros(shape, dtype=np.int64),
            "positions": np.broadcast_to(np.arange(LENGTH), shape).copy(),
            "keep": np.ones(shape, dtype=bool),
            "valid": np.ones(shape, dtype=bool),
            "kinds": self.kinds[place],
        }


@dataclass(frozen=True)
class Made:
    """Rows of a source with more said of them, from numbers in [0, 1), two for each place."""

    source: RowSource
    more: Callable[[Rows, np.ndarray], Rows]

    def rows(self, first: int, count: int) -> Rows:
        rows = self.source.rows(first, count)
        return rows | self.more(rows, uniform(0, "more", first, count, 2 * LENGTH))


def replaced(rows: Rows, draws: np.ndarray) -> Rows:
    chosen, others = draws[:, :LENGTH] < 0.15, BYTES + 32 + (draws[:, LENGTH:] * 95).astype(np.int64)
    return {"tokens": np.where(chosen, others, rows["tokens"]), "targets": rows["tokens"]}


def halves(rows: Rows, draws: np.ndarray) -> Rows:
    """Every second byte of a text belongs to the others of it."""
    parts = {"tokens": rows["tokens"][:, ::2], "pair_tokens": rows["tokens"][:, 1::2]}
    return {**parts, "valid": parts["tokens"] >= 0, "pair_valid": parts["pair_tokens"] >= 0}


def mostly_code(rows: Rows, draws: np.ndarray) -> Rows:
    return {"labels": ((rows["kinds"] == OTHER).mean(1) > 0.5).astype(np.int64)}


def share_of_letters(rows: Rows, draws: np.ndarray) -> Rows:
    letters = np.isin(rows["tokens"] - BYTES, np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", dtype=np.uint8))
    return {"values": ((letters.mean(1) - 0.5) / 0.2).astype(np.float32)[:, None]}


def words_begin(tokens: np.ndarray) -> np.ndarray:
    return tokens == BYTES + ord(" ")


def masked(source: RowSource, *, whole_words: bool = False) -> RowSource:
    return MaskedRows(
        source,
        0,
        vocabulary=VOCABULARY,
        mask_id=MASK,
        special=range(BYTES),
        word_starts=words_begin if whole_words else None,
    )


def turned_round(source: RowSource) -> RowSource:
    return FimRows(source, 0, length=LENGTH + 8, tokens=FimTokens(*FIM, boundary=END))


def spans(source: RowSource) -> RowSource:
    return SpanRows(source, 0, length=LENGTH, sentinels=SENTINELS, eos=END, start=PAD, pad=PAD)


SHAPE = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
DEEPSEEK = {
    **SHAPE, "moe_intermediate_size": 32, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
    "v_head_dim": 8, "first_k_dense_replace": 1, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "num_nextn_predict_layers": 1, "tie_word_embeddings": True,
}  # fmt: skip


def net_of(family: str, **shape: Any) -> Any:
    special = {"bos_token_id": END, "eos_token_id": END, "pad_token_id": PAD}
    config = config_class(family).model_validate(
        {"model_type": family, "vocab_size": VOCABULARY, **special, **(SHAPE | shape)}
    )
    net = any_family_of(family, "test").build(config)
    initialise(net, 0)
    return net


def encoder(head: str, labels: tuple[str, ...] = ()) -> Any:
    return net_of("bert", head=head, labels=labels)


@dataclass(frozen=True)
class Case:
    """net, objective, what is made of a source's rows, and to which share of its beginning the loss is to fall."""

    net: Callable[[], Any]
    objective: Callable[[], Any]
    rows: Callable[[RowSource], RowSource]
    falls_to: float


CASES = {
    "next token, z-loss": Case(lambda: net_of("llama"), lambda: NextToken(z_loss=1e-3), lambda s: s, 0.6),
    "next token, recurrent": Case(
        lambda: net_of("bedplate-mixer", mixers=("lstm", "gated_linear")), NextToken, lambda s: s, 0.6
    ),
    "next token, experts": Case(
        lambda: net_of("mixtral", num_experts=4, num_experts_per_tok=2),
        lambda: Balanced(NextToken(), load=0.01, per="row"), lambda s: s, 0.6,
    ),
    "prefix": Case(
        lambda: net_of("gemma2", head_dim=12, sliding_window=16), NextToken, lambda s: PrefixRows(s, 0), 0.6
    ),
    "fill in the middle": Case(lambda: net_of("qwen3", qk_norm=True), NextToken, turned_round, 0.65),
    "multi-token, bias update": Case(
        lambda: net_of("deepseek_v3", **DEEPSEEK), lambda: Balanced(MultiToken(1), bias_rate=1e-3), lambda s: s, 0.6
    ),
    "masked": Case(lambda: encoder("masked"), Masked, masked, 0.65),
    "masked whole words": Case(
        lambda: net_of("modernbert", head="masked", layer_types=("full_attention", "sliding_attention")),
        Masked, lambda s: masked(s, whole_words=True), 0.65,
    ),
    "span corruption": Case(lambda: net_of("t5", head_dim=12), Seq2Seq, spans, 0.75),
    "replaced tokens": Case(
        lambda: encoder("token-classes", ("replaced",)), ReplacedTokens, lambda s: Made(s, replaced), 0.8
    ),
    "contrastive": Case(lambda: EmbeddingNet(encoder("masked")), InfoNCE, lambda s: Made(s, halves), 0.6),
    "classification": Case(
        lambda: encoder("classes", ("text", "code")), Classes, lambda s: Made(s, mostly_code), 0.8
    ),
    "token classification": Case(
        lambda: encoder("token-classes", ("other", "string", "comment")), TokenClasses,
        lambda s: Made(s, lambda rows, _: {"labels": rows["kinds"]}), 0.8,
    ),
    "regression": Case(lambda: encoder("classes", ("share",)), SquaredError, lambda s: Made(s, share_of_letters), 0.5),
    "regression that tells how sure it is": Case(
        lambda: encoder("classes", ("mean", "log variance")), GaussianLikelihood,
        lambda s: Made(s, share_of_letters), 0.8,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def text():
    return Windows(LEARNT), FirstRows(Windows(HELD_OUT), 4 * BATCH)


def trained(net: Any, objective: Any, learnt: RowSource, held_out: Any, folder: Path) -> tuple[float, float, Any]:
    """Its own loss on rows that it wasn't trained on, before and after."""
    config = TrainConfig(
        steps=STEPS, batch=BATCH, length=LENGTH, seed=0, validate_every=STEPS, checkpoint_every=STEPS,
        optimiser={"learning_rate": 5e-3}, schedule={"warmup": 5},
    )  # fmt: skip
    placement = Placement("cpu", torch.float32, 1, False, 0.0, {})
    data = TrainingData(learnt, MeanLoss(held_out))
    folder.mkdir(exist_ok=True)
    trainer = Trainer(net, objective, data, config, placement, Parallel(), folder, Console.quiet())
    before = trainer.validate()["loss"]
    return before, trainer.train()["loss"], trainer


@pytest.mark.parametrize("name", CASES)
def test_its_loss_falls(text, tmp_path, name):
    case, (learnt, held_out) = CASES[name], text
    rows = FirstRows(case.rows(held_out.source), held_out.count)
    before, after, trainer = trained(case.net(), case.objective(), case.rows(learnt), rows, tmp_path)
    assert after < case.falls_to * before, (before, after)
    assert trainer.metrics.lines()[-1]["loss"] < before


def test_a_student_learns_from_its_teacher(text, tmp_path):
    learnt, held_out = text
    teacher = net_of("llama")
    trained(teacher, NextToken(), learnt, held_out, tmp_path / "teacher")
    kept = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = net_of("gpt2", hidden_size=32, max_position_embeddings=LENGTH)
    before, after, _ = trained(student, Distillation(teacher, temperature=2.0), learnt, held_out, tmp_path / "student")
    assert after < 0.6 * before, (before, after)
    assert all(torch.equal(value, kept[name]) for name, value in teacher.state_dict().items())
