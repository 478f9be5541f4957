"""`DecontaminateConfig`: which evaluations a corpus must not hold, and what becomes of documents that do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bedplate.config import Config


class EvaluationFile(Config):
    """A file of evaluation items that isn't one of the tasks."""

    path: str = Field(
        description="A JSON Lines, JSON, CSV, TSV or Parquet file, where each row is an item; or a text file (*.txt, "
        "*.md), where each paragraph is one."
    )
    fields: tuple[str, ...] = Field(
        (), description="The fields of a row to look for: its question, its answer, ...; none for a text file."
    )
    id_field: str | None = Field(None, description="The field that names an item; null: its line, row or paragraph.")
    name: str | None = Field(
        None, min_length=1, pattern=r"^[^:;]+$", description="What the task is called; null: the file's name."
    )


class DecontaminateConfig(Config):
    """Documents that share runs of words with evaluation items (Brown et al. 2020, appendix C)."""

    tasks: tuple[str, ...] = Field((), description="Tasks of this program, as `bedplate evaluate` knows them.")
    task_data: str | None = Field(
        None, description="The folder with the tasks' data; null: what the variable BEDPLATE_DATA names."
    )
    files: tuple[EvaluationFile, ...] = Field((), description="Further items.")
    index: str | None = Field(
        None,
        description="An index that was saved before, instead of tasks and files: it brings its own words and least.",
    )
    words: int = Field(13, ge=5, le=100, description="A document is contaminated that shares so many words in a row.")
    least: int = Field(
        8,
        ge=1,
        description="Items of fewer than `words` words, but at least so many, count where a document has them whole; "
        "shorter ones aren't looked for.",
    )
    action: Literal["drop", "remove", "mark"] = Field(
        "drop",
        description="drop: leave contaminated documents out; remove: cut the shared words out, with what is around "
        "them; mark: only say so, in columns.",
    )
    margin: int = Field(200, ge=0, description="With `remove`: characters before and after that are cut out too.")
    least_piece: int = Field(
        200, ge=0, description="With `remove`: a piece between cuts with fewer characters goes as well."
    )
    most_pieces: int = Field(
        10, ge=1, description="With `remove`: a document that the cuts part into more pieces is dropped."
    )

    @model_validator(mode="after")
    def _something_to_look_for(self) -> DecontaminateConfig:
        if self.index is not None and (self.tasks or self.files):
            raise ValueError("give `index`, or `tasks` and `files`, not both")
        if self.index is None and not self.tasks and not self.files:
            raise ValueError("nothing to look for: give `tasks`, `files` or `index`")
        if self.least > self.words:
            raise ValueError(f"least={self.least} is more than words={self.words}")
        return self
