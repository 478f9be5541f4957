"""The raw inputs of an evaluation. Apart from the work itself, so that finding one made doesn't cost loading torch."""

from __future__ import annotations

from pathlib import Path

from bedplate.evaluate.stage import EvaluateConfig
from bedplate.ledger.digests import sha256_file
from bedplate.ledger.stage import SourceInput
from bedplate.tasks.catalogue import data_folder, task_files


def task_sources(config: EvaluateConfig) -> list[SourceInput]:
    """The tasks' files: raw inputs, so that changed data means a new evaluation."""
    if not config.tasks:
        return []
    folder = data_folder(None if config.task_data is None else Path(config.task_data))
    return [
        SourceInput(path=file, digest=sha256_file(file), bytes=file.stat().st_size)
        for name in config.tasks
        for file in task_files(name, folder)
    ]
