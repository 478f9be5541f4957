"""Which scheduler carries out a curation: this process, processes of this machine, or Ray."""

from __future__ import annotations

import os

from bedplate.data.curate import CurateConfig
from bedplate.data.engine.local import LocalProcesses
from bedplate.data.engine.tasks import InProcess, Scheduler
from bedplate.data.reading import find

SMALL = 64 << 20
"""Bytes of sources below which starting workers takes longer than they save."""
_HARMLESS = ("python_stdlib", "folder", "jsonl", "parquet", "text", "fasta")
"""Kinds of sources whose reading can't end the process."""


def scheduler_for(config: CurateConfig) -> Scheduler:
    """The scheduler that the configuration asks for; by itself, one process for a little plain text."""
    if config.engine == "ray":
        from bedplate.data.engine.ray import RayCluster

        return RayCluster(config.workers, patience_s=config.patience_s)
    if config.workers is None and all(source.place in _HARMLESS for source in config.sources):
        size = 0
        for source in config.sources:
            size += sum(file.bytes for file in find(source))
        if size <= SMALL:
            return InProcess()
    return LocalProcesses(config.workers or len(os.sched_getaffinity(0)), patience_s=config.patience_s)
