"""What training can be told. No torch here."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bedplate.config import Config, execution
from bedplate.train.architecture import Architecture, architecture_kind, positions_said, stand_in
from bedplate.train.fitting import check_objective
from bedplate.train.objective_config import DEFAULTS, ObjectiveConfig


class OptimiserConfig(Config):
    """AdamW (arXiv 1711.05101) for everything, or Muon (Jordan 2024) for hidden matrices and AdamW for the rest."""

    name: Literal["adamw", "muon"] = Field("adamw", description="adamw, or muon for the hidden matrices")
    learning_rate: float = Field(3e-3, gt=0, description="peak learning rate")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW: decay of the mean of gradients")
    beta2: float = Field(0.95, ge=0, lt=1, description="AdamW: decay of the mean of their squares")
    eps: float = Field(1e-8, gt=0, description="AdamW: added to the root of the second moment")
    weight_decay: float = Field(0.1, ge=0, description="decoupled, on hidden matrices and an untied head only")
    momentum: float = Field(0.95, ge=0, lt=1, description="Muon: Nesterov momentum")
    clip: float | None = Field(1.0, gt=0, description="largest norm of the whole gradient; null for none")


class ScheduleConfig(Config):
    """The learning rate over the run, as a share of the peak."""

    decay: Literal["cosine", "linear", "wsd", "constant"] = Field(
        "cosine", description="shape after the warm-up; wsd: constant, then linear over the last `decay_share`"
    )
    warmup: int = Field(0, ge=0, description="steps of linear rise from zero")
    final: float = Field(0.1, ge=0, le=1, description="share of the peak at the end")
    decay_share: float = Field(0.2, gt=0, le=1, description="wsd: share of the run that decays")


class TrainConfig(Config):
    """How a run trains, whatever its objective."""

    steps: int = Field(gt=0, description="optimiser steps")
    batch: int = Field(16, gt=0, description="rows in a step, over all ranks and micro-batches")
    length: int = Field(256, gt=0, description="tokens in a row")
    seed: int = Field(0, ge=0, description="of initial weights and the order of documents")
    optimiser: OptimiserConfig = Field(default_factory=OptimiserConfig, description="optimiser and clipping")
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig, description="learning rate over time")
    validate_every: int = Field(100, gt=0, description="steps between validations; one is always made at the end")
    validation_tokens: int | None = Field(
        65536, gt=0, description="most tokens of whole validation documents scored each time; null for all"
    )
    micro_batch: int | None = execution(
        None, gt=0, description="rows in one forward pass on one rank; all of the rank's where null"
    )
    checkpoint_every: int = execution(100, gt=0, description="steps between checkpoints")
    keep_checkpoints: int = execution(2, gt=0, description="newest checkpoints that are kept")
    log_every: int = execution(10, gt=0, description="steps between lines of metrics.jsonl")
    device: Literal["auto", "cpu", "cuda", "mps"] = execution("auto", description="where to train")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="what matrix products are computed in; parameters stay float32"
    )
    # YAML reads yes and no as true and false.
    compile: bool | Literal["auto"] = execution(
        "auto",
        description="compile each block: yes, no, or auto: on a GPU, or on a CPU where the run repays it",
    )
    threads: int | None = execution(None, gt=0, description="CPU threads a process; chosen where null")
    tensor_parallel: int = execution(1, gt=0, description="ranks that share each matrix; the rest share the data")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.micro_batch is not None and self.batch % self.micro_batch:
            raise ValueError(f"batch {self.batch} is no multiple of micro_batch {self.micro_batch}")
        if self.schedule.warmup >= self.steps:
            raise ValueError(f"schedule.warmup {self.schedule.warmup} leaves nothing of {self.steps} steps")
        return self


class PretrainConfig(TrainConfig):
    """Train a new model from tokens."""

    architecture: Architecture = Field(
        description="the model's shape, of any family by its model_type; the vocabulary comes from the tokenizer"
    )
    packing: Literal["stream", "best_fit"] = Field(
        "stream",
        description="how documents fill rows: stream, end to end and cut where a row ends; or best_fit, none cut that "
        "fits a row, with a little padding (arXiv 2404.10830)",
    )
    objective: ObjectiveConfig | None = Field(
        None,
        description="what it learns; where absent: decoders the next token, encoders masked tokens, encoder-decoders "
        "spans that were cut out",
    )

    @property
    def learns(self) -> ObjectiveConfig:
        """The objective, said or by default."""
        return self.objective or DEFAULTS[architecture_kind(self.architecture)]

    @model_validator(mode="after")
    def _learnable(self) -> Self:
        check_objective(
            self.learns, architecture_kind(self.architecture), stand_in(self.architecture), self.length,
            positions_said(self.architecture),
        )  # fmt: skip
        return self

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        """Where nobody says max_position_embeddings it grows with the rows; where somebody does they must fit."""
        said = positions_said(self.architecture)
        if said is not None and said < self.length:
            raise ValueError(
                f"length {self.length} is more than architecture.max_position_embeddings {said}: lower the one or "
                "raise the other"
            )
        return self
