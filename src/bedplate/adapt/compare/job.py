"""One way with one seed: what its process is told, and what it writes when it has finished."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class Job(BaseModel):
    """What a worker does: fit one way, answer the test examples once, time single requests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="what reports call the way")
    seed: int = Field(description="its seed")
    adapt: dict[str, Any] = Field(description="the adapt stage's configuration")
    inputs: dict[str, str] = Field(description="role -> folder of the input")
    out: str = Field(description="where the fitted artefact goes")
    kind: Literal["classification", "generation"] = Field(description="what the task asks for")
    classes: tuple[str, ...] = Field(description="the task's classes")
    test: str = Field(description="file of the test examples")
    warm: str = Field(description="file of the examples that are timed, none of them test examples")
    latency_requests: int = Field(description="single requests to time; 0 for none")
    answer_tokens: int = Field(description="longest answer")
    predictions: str = Field(description="file that the answers go to")
    measured: str = Field(description="file that the measurement goes to, last of all")


class Measurement(BaseModel):
    """What one way with one seed cost. Its answers are in a file of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = Field(SCHEMA_VERSION, description="version of this schema")
    seed: int = Field(description="the seed")
    digest: str = Field(description="of the fitted artefact")
    kind: str = Field(description="of the fitted artefact: prompt, probe, adapter, model, baseline")
    validation: float | None = Field(description="the way's own score on validation, by which choices were made")
    chosen: dict[str, Any] = Field(description="what the way measured and chose, as its manifest says")
    labels_used: int = Field(description="labelled training examples that it used")
    labels_for_choices: int = Field(0, description="labelled validation examples that it chose its settings by")
    fit_s: float = Field(description="seconds of fitting in all attempts, loading and the search for settings included")
    fit_cpu_s: float = Field(description="processor seconds of the same, all cores together")
    fit_gpu_s: float = Field(description="accelerator seconds of the same")
    fit_flops: float | None = Field(
        description="floating-point operations of fitting, search included; null: uncounted"
    )
    peak_bytes: float = Field(description="greatest memory of its process, fitting and answering")
    peak_gpu_bytes: float | None = Field(description="greatest accelerator memory; null where there is none")
    own_bytes: int = Field(description="size of the fitted artefact")
    open_s: float = Field(description="seconds until the artefact is ready to be asked")
    answer_s: float = Field(description="seconds for all test examples together, in batches")
    prompt_tokens: float | None = Field(
        description="tokens that a model read for a request, on average; null: an endpoint's replies didn't all say"
    )
    completion_tokens: float | None = Field(
        description="tokens that a model wrote for a request, on average, where it is an endpoint or answers freely; "
        "null likewise"
    )
    fit_prompt_tokens: float | None = Field(
        0.0,
        description="tokens that an endpoint read for fitting; null: its replies didn't all say, or an earlier "
        "attempt asked it too",
    )
    fit_completion_tokens: float | None = Field(0.0, description="tokens that it wrote for fitting; null likewise")
    latencies_s: tuple[float, ...] = Field(description="seconds of single requests, one after the other, warmed up")
    request_cpu_s: float | None = Field(description="processor seconds of a single request; null where none was timed")
    request_gpu_s: float = Field(description="accelerator seconds of a single request")


def slugs(names: Sequence[str]) -> list[str]:
    """Folder names for the ways: letters, digits and hyphens, all different."""
    made: list[str] = []
    for name in names:
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "way"
        slug, number = plain, 2
        while slug in made:
            slug, number = f"{plain}-{number}", number + 1
        made.append(slug)
    return made


def place(folder: Path, slug: str, seed: int) -> tuple[Path, Path, Path]:
    """(fitted artefact, its answers, its measurement) in the comparison's folder."""
    name = f"{slug}-seed-{seed}"
    return (
        folder / "ways" / slug / f"seed-{seed}",
        folder / "predictions" / f"{name}.jsonl",
        folder / "measured" / f"{name}.json",
    )
