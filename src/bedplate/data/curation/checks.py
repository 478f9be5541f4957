"""What can be known to be wrong before a document is read: an error after hours is a worse one."""

from __future__ import annotations

from collections.abc import Mapping

from bedplate.config.nearest import expected_one_of
from bedplate.data.corpus import CORPUS_SCHEMA, DROPPED_SCHEMA
from bedplate.data.curate import CurateConfig
from bedplate.data.curation.earlier import Earlier, earlier_parts
from bedplate.data.curation.evaluations import check_same_evaluations
from bedplate.data.engine.tasks import Run, Task, perform
from bedplate.data.mix.plan import check_labels
from bedplate.errors import InputError

_OF_JOINT_STEPS = ("exact_copies", "near_copies", "cluster", "copies", "phase")


def check_settings(
    config: CurateConfig, carried: Mapping[str, str], taken_down: tuple[str, ...], earlier: Earlier | None, run: Run
) -> None:
    """Have the steps made once. Raises UserError for a model that can't be loaded, a list that can't be read, a rule or
    an order by a column that nothing makes, a weight of no source, an earlier corpus of other columns."""
    task = Task(0, {"config": config, "carried": dict(carried), "taken_down": taken_down, "run": str(run.folder)})
    (found,) = perform("settings", "bedplate.data.curation.mapping:describe_steps", [task], run)
    columns = found["columns"]
    labels = [source.label for source in config.sources]
    mix = config.mix
    if mix is not None:
        # Documents of a corpus go by the labels of the sources that they first came from.
        if all(source.corpus is None for source in config.sources):
            check_labels(mix, labels)
        if mix.curriculum is not None and mix.curriculum.by not in (*columns, "bytes", "date"):
            raise InputError(
                f"mix.curriculum.by: no column {mix.curriculum.by!r}; {expected_one_of(mix.curriculum.by, columns)}",
                "Name a column that `signals` or `classify` makes.",
            )
    if earlier is not None:
        _check_same_columns(columns, earlier)
        check_same_evaluations(config, earlier)


def _check_same_columns(columns: Mapping[str, str], earlier: Earlier) -> None:
    import pyarrow.parquet as pq

    known = {*CORPUS_SCHEMA, *DROPPED_SCHEMA, *_OF_JOINT_STEPS}
    for path in earlier_parts(earlier)[:1]:
        there = {name for name in pq.read_schema(path).names if name not in known}
        here = {name for name in columns if name not in known}
        if there != here:
            only = sorted(there - here) or sorted(here - there)
            whose = "it has" if there - here else "this curation gives"
            raise InputError(
                f"{earlier.artefact.path}: it has other columns than this curation gives: {whose} {only[0]} alone",
                "Go on with a corpus of the same stages, or curate everything again.",
            )
