"""Every kind of model, pretrained by the verb in a process of its own: killed in the middle and gone on with, what
comes out is what would have, to the last bit."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import yaml
from runs import MODEL, Runner

import bedplate
from bedplate.console import Console
from bedplate.ledger import open_artefact

pytestmark = pytest.mark.slow

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
# name -> specials of the tokenizer, architecture, objective
KINDS = {
    "decoder, fill in the middle": (
        "fill-in-the-middle", {**SHAPE, "model_type": "gpt2"},
        {"name": "next-token", "fill_in_the_middle": {"rate": 0.2}, "z_loss": 1e-4},
    ),
    "prefix": (
        "document", {**SHAPE, "model_type": "gemma2", "head_dim": 8, "sliding_window": 8}, {"name": "prefix"},
    ),
    "experts": (
        "document",
        {
            **SHAPE, "model_type": "deepseek_v3", "moe_intermediate_size": 16, "kv_lora_rank": 8, "qk_nope_head_dim": 4,
            "qk_rope_head_dim": 4, "v_head_dim": 4, "first_k_dense_replace": 0, "n_routed_experts": 4,
            "num_experts_per_tok": 2, "num_nextn_predict_layers": 1,
        },
        {"name": "next-token", "multi_token": 0.3, "bias_update": 0.01, "load_balance": 0.01},
    ),
    "encoder": ("bert", {**SHAPE, "model_type": "bert"}, {"name": "masked", "whole_words": True}),
    "encoder-decoder": ("t5", {**SHAPE, "model_type": "t5", "head_dim": 8}, None),
    "mixer": (
        "document", {**SHAPE, "model_type": "bedplate-mixer", "mixers": ["lstm", "gated_linear"]}, None,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def tokens_of(tmp_path_factory, tokens):
    """Specials -> the tokens of the tiny corpus by a tokenizer with these."""
    made: dict[str, Path] = {}

    def make(specials: str) -> Path:
        if specials not in made:
            folder = tmp_path_factory.mktemp(specials)
            stages = {
                "tokenizer": {
                    "do": "train-tokenizer", "inputs": {"corpus": str(tokens.parent / "corpus")}, "vocabulary": 400,
                    "specials": specials, "out": str(folder / "tokenizer"),
                },
                "tokens": {
                    "do": "tokenize", "out": str(folder / "tokens"),
                    "inputs": {"corpus": str(tokens.parent / "corpus"), "tokenizer": "tokenizer"},
                },
            }  # fmt: skip
            recipe = folder / "tiny.yaml"
            recipe.write_text(yaml.safe_dump({"name": "tiny", "stages": stages}))
            bedplate.run(recipe, console=Console.quiet())
            made[specials] = folder / "tokens"
        return made[specials]

    return make


def curve(runner: Runner) -> list[dict[str, object]]:
    """The lines without speeds and times."""
    measured = {"tokens_per_s", "mfu", "time_s"}
    return [{name: value for name, value in row.items() if name not in measured} for row in runner.metrics()]


@pytest.mark.parametrize("name", KINDS)
def test_killed_and_gone_on_with(tmp_path, tokens_of, name):
    specials, architecture, objective = KINDS[name]
    options = MODEL | {
        "architecture": architecture, "steps": 60, "length": 40, "checkpoint_every": 7, "validate_every": 25,
    }  # fmt: skip
    if objective is not None:
        options["objective"] = objective
    whole = Runner(tmp_path / "whole", tokens_of(specials), options)
    whole.complete()
    killed = Runner(tmp_path / "killed", tokens_of(specials), options)
    process = killed.start()
    killed.wait_for(process, 21)
    process.kill()
    code, said = killed.finish(process)
    assert code == -signal.SIGKILL, said
    assert "going on from step" in killed.complete()
    assert curve(killed) == curve(whole)
    assert killed.weights() == whole.weights()
    ours, theirs = open_artefact(killed.out), open_artefact(whole.out)
    assert ours.digest == theirs.digest
    for measure in ("train", "validation", "flops", "parameters"):
        assert ours.measures[measure] == theirs.measures[measure]
    model = bedplate.load(killed.out, device="cpu")
    assert json.loads((killed.out / "model" / "config.json").read_text())["model_type"] == architecture["model_type"]
    assert model.tokenizer is not None
    losses = [row["loss"] for row in whole.metrics()]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["experts", "encoder-decoder"])
def test_micro_batches_make_the_same_run(tmp_path, tokens_of, name):
    """micro_batch says how, not what: losses of the routers too are the same however a batch is cut."""
    specials, architecture, objective = KINDS[name]
    found = []
    for micro_batch in (4, 2):
        options = MODEL | {
            "architecture": architecture, "steps": 12, "length": 40, "objective": objective, "micro_batch": micro_batch,
        }  # fmt: skip
        runner = Runner(tmp_path / str(micro_batch), tokens_of(specials), options)
        runner.complete()
        found.append([row["loss"] for row in runner.metrics()])
    assert found[1] == pytest.approx(found[0], rel=1e-5)
