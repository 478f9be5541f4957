"""What can't be trained is refused by name: while the recipe is read where the recipe says it, and before anything is
written where the tokenizer does."""

from __future__ import annotations

import os

import pytest
from runs import MODEL

from bedplate.codecs.text import TextTokenizer
from bedplate.config import build
from bedplate.config.recipe import StageEntry
from bedplate.console import Console
from bedplate.data.tokens import TokenSet
from bedplate.errors import RecipeError, TokenizerError
from bedplate.families.configs import (
    config_class,
    depths_ahead,
    expert_layers,
    has_routing_bias,
    kind_of,
    model_types,
    recurrent_layers,
)
from bedplate.families.registry import ENCODER_DECODERS, ENCODERS, FAMILIES
from bedplate.pipeline.describe import describe_verb
from bedplate.train.architecture import with_vocabulary
from bedplate.train.config import PretrainConfig
from bedplate.train.pretrain import train

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
BERT, GPT2 = {**SHAPE, "model_type": "bert"}, {**SHAPE, "model_type": "gpt2"}
MIXTRAL = {**SHAPE, "model_type": "mixtral", "num_experts": 4, "num_experts_per_tok": 2}
MIXER = {**SHAPE, "model_type": "bedplate-mixer", "mixers": ["lstm", "attention"]}
T5 = {**SHAPE, "model_type": "t5", "head_dim": 8}
BART = {
    "model_type": "bart", "hidden_size": 32, "num_hidden_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
}  # fmt: skip
DEEPSEEK = {
    **SHAPE, "model_type": "deepseek_v3", "moe_intermediate_size": 16, "kv_lora_rank": 8, "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 4, "v_head_dim": 4, "first_k_dense_replace": 0, "n_routed_experts": 4, "num_experts_per_tok": 2,
}  # fmt: skip


def next_token(**options):
    return {"name": "next-token", **options}


def refused(architecture, objective=None, **options):
    """What reading a recipe says."""
    said = MODEL | {"architecture": architecture} | ({"objective": objective} if objective else {}) | options
    with pytest.raises(RecipeError) as error:
        build(PretrainConfig, StageEntry("model", "pretrain", {}, None, said))
    return str(error.value)


RECIPES = {
    "objective next-token isn't for bert, which is an encoder: use masked": (BERT, next_token()),
    "objective masked isn't for gpt2, which is a decoder: use next-token or prefix": (GPT2, {"name": "masked"}),
    "objective masked isn't for t5, which is an encoder-decoder: use span-corruption": (T5, {"name": "masked"}),
    "unknown model_type 'brt'; nearest: bert": ({**BERT, "model_type": "brt"},),
    "hiden_size: unknown key; expected one of": ({**BERT, "hiden_size": 3},),
    "nearest: hidden_size": ({**BERT, "hiden_size": 3},),
    "nearest: num_experts": ({**MIXTRAL, "num_local_experts": 4},),
    "num_experts: missing; feed-forwards in a layer of experts": (
        {k: v for k, v in MIXTRAL.items() if k != "num_experts"},
    ),
    "rope_scaling.factr: unknown key": ({**MIXTRAL, "rope_scaling": {"rope_type": "linear", "factor": 2, "factr": 2}},),
    "num_attention_heads: must be greater than 0; got 0": ({**BERT, "num_attention_heads": 0},),
    "vocab_size: the tokenizer decides": ({**BERT, "vocab_size": 3},),
    "head: the objective decides": ({**BERT, "head": "masked"},),
    "load_balance 0.1 balances experts, and this gpt2 has none": (GPT2, next_token(load_balance=0.1)),
    "bias_update 0.1 moves a bias that mixtral's routers don't have": (MIXTRAL, next_token(bias_update=0.1)),
    "multi_token 0.3, and no layer foresees further tokens: leave it out": (GPT2, next_token(multi_token=0.3)),
    "further tokens: say architecture.num_nextn_predict_layers": (DEEPSEEK, next_token(multi_token=0.3)),
    "num_nextn_predict_layers 1, and nothing would train them": ({**DEEPSEEK, "num_nextn_predict_layers": 1},),
    "1 of bedplate-mixer's layers read one way only": (MIXER, {"name": "prefix"}),
    "leave 78 to write, more than architecture.max_position_embeddings 40": (
        {**BART, "max_position_embeddings": 40}, {"name": "span-corruption", "density": 0.8},
    ),
}  # fmt: skip


@pytest.mark.parametrize("problem", RECIPES)
def test_recipes(problem):
    said = refused(*RECIPES[problem])
    assert problem in said
    assert "Extra inputs" not in said


def test_lengths():
    assert "length 65 is more than" in refused({**GPT2, "max_position_embeddings": 64}, length=65)
    fim = next_token(fill_in_the_middle={"rate": 0.5})
    assert "length 16 is too short to turn documents round" in refused(GPT2, fim, length=16)
    assert "Use at least 3 tokens" in refused(T5, length=2)


def test_a_llama_names_the_nearest_key_too():
    assert "nearest: hidden_size" in refused({**MODEL["architecture"], "hiden_size": 3})


TOKENIZERS = {
    "the tokenizer has no mask token": (BERT, None, {}),
    "lacks sentinels": (T5, None, {}),
    "lacks <|fim_prefix|>, <|fim_suffix|>, <|fim_middle|>": (GPT2, next_token(fill_in_the_middle={}), {"length": 64}),
}


@pytest.mark.parametrize("problem", TOKENIZERS)
def test_tokenizers(tmp_path, tokens, problem):
    architecture, objective, options = TOKENIZERS[problem]
    said = MODEL | {"architecture": architecture, "objective": objective} | options
    with pytest.raises(TokenizerError) as error:
        train(PretrainConfig(**said), tokens, tmp_path, Console.quiet())
    assert problem in str(error.value)
    assert "Train one with specials" in str(error.value)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("pad", [0, 9])
def test_positions_that_begin_later_still_reach_the_end_of_a_row(pad):
    """RoBERTa's first position has the row after the padding token's number."""
    shape = {**SHAPE, "model_type": "roberta"}
    config = PretrainConfig(**MODEL | {"architecture": shape, "length": 600})
    made = with_vocabulary(config.architecture, 600, vocab_size=64, pad_token_id=pad)
    assert made.positions == 600
    config = PretrainConfig(**MODEL | {"architecture": {**shape, "max_position_embeddings": 600}, "length": 600})
    with pytest.raises(RecipeError, match=rf"leaves roberta {599 - pad} positions.*\n.*Raise it to {601 + pad}"):
        with_vocabulary(config.architecture, 600, vocab_size=64, pad_token_id=pad)


def test_what_the_tokenizer_makes_impossible_is_no_traceback():
    config = PretrainConfig(**MODEL | {"architecture": {**SHAPE, "model_type": "roberta"}})
    with pytest.raises(RecipeError, match="positions are counted from it, and there is none"):
        with_vocabulary(config.architecture, 32, vocab_size=64, pad_token_id=None)


def test_the_tables_of_families_are_one():
    kinds = {"decoder": FAMILIES, "encoder": ENCODERS, "encoder-decoder": ENCODER_DECODERS}
    assert model_types() == {name: kind for kind, table in kinds.items() for name in table}
    for kind, table in kinds.items():
        for name, family in table.items():
            assert kind_of(name) == kind
            assert family.read_config.__self__ is config_class(name)


def test_what_configurations_say_of_layers_is_what_is_built():
    from bedplate.nn.multi_token import MultiTokenDecoder
    from bedplate.nn.router import GroupLimitedLayer

    for shape in (GPT2, MIXTRAL, MIXER, DEEPSEEK, {**DEEPSEEK, "num_nextn_predict_layers": 2}):
        config = config_class(shape["model_type"]).model_validate({**shape, "vocab_size": 64})
        net = FAMILIES[shape["model_type"]].build(config)
        assert (expert_layers(config) > 0) == net.has_experts
        assert has_routing_bias(config) == any(isinstance(m, GroupLimitedLayer) for m in net.modules())
        assert depths_ahead(config) == (len(net.ahead) if isinstance(net, MultiTokenDecoder) else 0)
        assert recurrent_layers(config) == (1 if shape is MIXER else 0)


def test_the_manual_shows_what_each_objective_takes():
    names = {field.name for field in describe_verb("pretrain").fields}
    for name in ("load_balance", "bias_update", "multi_token", "fill_in_the_middle.rate", "whole_words", "mean_span"):
        assert f"objective.{name}" in names


def test_a_configuration_says_the_same_however_it_is_spelt():
    """What is already made stays valid: defaults written out, and the order of keys, change nothing."""
    plain = PretrainConfig(**MODEL | {"architecture": BERT})
    spelt = PretrainConfig(**MODEL | {"architecture": dict(reversed(({"hidden_act": "gelu", **BERT}).items()))})
    assert plain.semantic() == spelt.semantic()
    again = PretrainConfig.model_validate(plain.model_dump(mode="json"))
    assert again.semantic() == plain.semantic()
    assert plain.semantic() != PretrainConfig(**MODEL | {"architecture": {**BERT, "hidden_act": "relu"}}).semantic()


def test_too_few_sentinels_for_the_rows(tmp_path, tokens, monkeypatch):
    """Found before training, with what would work."""
    config = PretrainConfig(**MODEL | {"architecture": T5, "length": 200})
    tokenizer = TextTokenizer.load(TokenSet.open(tokens).tokenizer_folder)
    monkeypatch.setitem(tokenizer.__dict__, "sentinel_ids", (3, 4, 5))
    from bedplate.train.learning import learning

    model = with_vocabulary(config.architecture, 200, vocab_size=320, pad_token_id=0)
    with pytest.raises(RecipeError, match=r"\d\d spans cut out, and the tokenizer has 3 sentinels"):
        learning(config, TokenSet.open(tokens), tokenizer, model)
