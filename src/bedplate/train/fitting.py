"""Whether a model can learn what it is told to: found while a recipe is read. No torch here."""

from __future__ import annotations

from bedplate.errors import InputError
from bedplate.families.configs import Kind, depths_ahead, expert_layers, has_routing_bias, recurrent_layers
from bedplate.families.family_config import FamilyConfig
from bedplate.train import objective_config as told

LEAST_FIM_LENGTH = 32
"""Places of a row below which nothing is left of a document once its parts are marked."""


def check_objective(
    objective: told.ObjectiveConfig, kind: Kind, model: FamilyConfig, length: int, positions: int | None
) -> None:
    """Raise ValueError where a model of this kind and shape can't learn this objective from rows of `length` tokens.

    positions: how many it is said to have, None where they grow with the rows. What depends on the tokenizer is checked
    when there is one (`train.learning`).
    """
    fitting = told.FITS[kind]
    if objective.name not in fitting:
        article = "an" if kind.startswith("e") else "a"
        raise ValueError(
            f"objective {objective.name} isn't for {model.model_type}, which is {article} {kind}: "
            f"use {' or '.join(fitting)}"
        )
    match objective:
        case told.NextToken():
            _experts(objective, model)
            _ahead(objective, model)
            if objective.fill_in_the_middle is not None and length < LEAST_FIM_LENGTH:
                raise ValueError(
                    f"length {length} is too short to turn documents round: use {LEAST_FIM_LENGTH} or more, or "
                    "objective.fill_in_the_middle=null"
                )
        case told.Prefix():
            if found := recurrent_layers(model):
                raise ValueError(
                    f"objective prefix reads a document's beginning both ways, and {found} of {model.model_type}'s "
                    "layers read one way only: use next-token"
                )
        case told.SpanCorruption():
            _spans(objective, model, length, positions)


def _experts(said: told.NextToken, model: FamilyConfig) -> None:
    if expert_layers(model) == 0:
        for name in ("load_balance", "bias_update"):
            if getattr(said, name):
                raise ValueError(
                    f"objective.{name} {getattr(said, name)} balances experts, and this {model.model_type} has none: "
                    "leave it out, or take a mixture of experts (mixtral, qwen3_moe, deepseek_v3)"
                )
    if said.bias_update and not has_routing_bias(model):
        raise ValueError(
            f"objective.bias_update {said.bias_update} moves a bias that {model.model_type}'s routers don't have: use "
            "objective.load_balance, or deepseek_v3"
        )


def _ahead(said: told.NextToken, model: FamilyConfig) -> None:
    depths = depths_ahead(model)
    if said.multi_token and not depths:
        fix = (
            "say architecture.num_nextn_predict_layers"
            if "num_nextn_predict_layers" in type(model).model_fields
            else "leave it out, or take deepseek_v3 with num_nextn_predict_layers"
        )
        raise ValueError(f"objective.multi_token {said.multi_token}, and no layer foresees further tokens: {fix}")
    if depths and not said.multi_token:
        raise ValueError(
            f"architecture.num_nextn_predict_layers {depths}, and nothing would train them: say objective.multi_token "
            "(0.3 in DeepSeek-V3), or leave them out"
        )


def longest_row(objective: told.ObjectiveConfig, length: int) -> int:
    """The most tokens that a model has to find positions for, read or written, where rows have `length`."""
    if not isinstance(objective, told.SpanCorruption):
        return length
    from bedplate.data.span_corruption import Spans

    spans = Spans(objective.density, objective.mean_span)
    return max(length, *spans.lengths(spans.tokens_for(length)))


def _spans(said: told.SpanCorruption, model: FamilyConfig, length: int, positions: int | None) -> None:
    try:
        longest = longest_row(said, length)
    except InputError as error:
        raise ValueError(f"length {length}: {error.problem}: {error.fix}") from error
    # T5's positions are relative, and nothing ends them.
    if positions is not None and getattr(model, "longest", None) is not None and longest > max(positions, length):
        raise ValueError(
            f"with density {said.density} and mean_span {said.mean_span} rows of {length} tokens to read leave "
            f"{longest} to write, more than architecture.max_position_embeddings {positions}: raise that, or lower the "
            "density"
        )
