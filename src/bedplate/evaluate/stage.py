"""The evaluate stage: its configuration and declaration. The work is in `evaluation`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from bedplate.config import Config, execution
from bedplate.config.nearest import expected_one_of
from bedplate.errors import RecipeError
from bedplate.families.configs import config_class
from bedplate.ledger.stage import Stage
from bedplate.tasks.catalogue import TASKS, is_task

PROMPTS = ("import ", "from ", "def ", "class ", '"""', "#")


class EvaluateConfig(Config):
    """What is scored, on how much, and beside what."""

    seed: int = Field(0, description="Seed of the held-out sample, the generated samples and the bootstrap.")
    max_bytes: int | None = Field(
        600_000, gt=0, description="Held-out text to score, in bytes; null for all of it. Model and baselines share it."
    )
    context: int | None = Field(
        None, gt=0, description="Tokens in a window; null for the length that the run was trained on."
    )
    stride: int | None = Field(
        None, gt=0, description="How far apart windows start; null for half the context. Smaller is slower and fairer."
    )
    compute_dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="What the model computes in; auto is bfloat16 where the hardware has it."
    )
    ngram_order: int = Field(5, ge=1, le=8, description="Tokens in an n-gram of the counting baseline.")
    ngram_tokens: int | None = Field(
        50_000_000,
        gt=0,
        description="Most training tokens that the n-gram baseline counts; it needs about 130 bytes for each.",
    )
    samples: int = Field(
        0, ge=0, description="Samples of Python to generate, for a model of Python: how many of them parse; 0 for none."
    )
    sample_tokens: int = Field(192, gt=0, description="Longest sample, in tokens.")
    temperature: float = Field(0.8, ge=0, description="Temperature of the samples.")
    top_p: float = Field(0.95, gt=0, le=1, description="Nucleus that samples are drawn from.")
    prompts: tuple[str, ...] = Field(PROMPTS, min_length=1, description="How samples begin, taken in turn.")
    tasks: tuple[str, ...] = Field((), description="Multiple-choice tasks: arc_easy, arc_challenge, piqa, mmlu.")
    task_limit: int | None = Field(None, gt=0, description="Items of each task; null for all of them.")
    task_data: str | None = Field(
        None, description="Folder with the tasks' data; null for the one that BEDPLATE_DATA names."
    )
    batch_tokens: int = execution(4096, description="Tokens that one forward pass takes.", gt=0)

    @field_validator("tasks")
    @classmethod
    def _known(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        """A wrong name is told before anything is trained for its sake."""
        for task in tasks:
            if not is_task(task):
                raise ValueError(f"unknown task {task!r}; {expected_one_of(task, TASKS)}")
        return tasks


def check_context(config: EvaluateConfig, made_from: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise RecipeError if the windows can't fit the run that is to be evaluated, going by the run's configuration."""
    run = made_from.get("run", {})
    if "length" in run and "architecture" in run:
        shape = run["architecture"]
        # Where the recipe doesn't say it, the family's own, which grows with the rows.
        usual = config_class(shape.get("model_type", "llama")).model_fields["max_position_embeddings"].default
        check_windows(config, run["length"], max(run["length"], shape.get("max_position_embeddings", usual)))


def check_windows(config: EvaluateConfig, trained: int, longest: int) -> tuple[int, int]:
    """Context and stride of the windows, for a model trained on `trained` tokens at a time and meant for `longest`.

    Raises RecipeError for a context beyond the model or a stride beyond the context.
    """
    context = config.context or trained
    if context > longest:
        raise RecipeError(
            f"context {context}: the model is made for at most {longest} tokens",
            "Lower `context`, or train with a larger architecture.max_position_embeddings.",
        )
    stride = config.stride or max(1, context // 2)
    if stride > context:
        raise RecipeError(f"stride {stride} with context {context}", "The stride must be from 1 to the context.")
    return context, stride


EVALUATE = Stage(
    name="evaluate",
    version=2,
    kind="report",
    config=EvaluateConfig,
    inputs={"run": "run|model|release", "tokens": "tokens", "corpus": "corpus"},
    run="bedplate.evaluate.evaluation:evaluate",
    sources="bedplate.evaluate.sources:task_sources",
    check="bedplate.evaluate.stage:check_context",
    resumes=False,
)
