"""The stages of a curation that look at single documents, in their order, out of its configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bedplate.data.curate import CurateConfig
from bedplate.data.curation.step import Step
from bedplate.data.rights.takedown import late_step
from bedplate.ledger.stage import resolve

_STEPS = {
    "extract": "bedplate.data.extract.step:step",
    "rights": "bedplate.data.rights.step:step",
    "privacy": "bedplate.data.privacy.step:step",
    "signals": "bedplate.data.signals.step:step",
    "classify": "bedplate.data.classify.step:step",
    "filters": "bedplate.data.filters.step:step",
    "decontaminate": "bedplate.data.decontaminate.step:step",
}
"""Section -> what makes its step of it, in the order in which documents go through them."""


def make_steps(config: CurateConfig, carried: Mapping[str, str], taken_down: Sequence[str] = ()) -> list[Step]:
    """The stages that look at each document by itself. Models are loaded here, so it is for workers.

    carried: the columns that documents of corpora bring along; taken_down: lists of what was taken out of these and
    of earlier ones. Raises UserError for a rule on a column that nothing makes.
    """
    made: list[Step] = []
    for section, maker in _STEPS.items():
        if wanted := getattr(config, section):
            # Rules are on columns: those that are there by then.
            more = (dict(carried) | columns_of(made),) if section == "filters" else ()
            made.append(resolve(maker)(wanted, *more))
    if config.rights is not None and (late := late_step(config.rights)) is not None:
        made.append(late)
    if taken_down:
        from bedplate.data.provenance.taken_down import TakenDown

        made.append(TakenDown(taken_down))
    if config.deduplicate.images is not None:
        from bedplate.data.deduplicate.images import from_sources, step

        made.append(step(config.deduplicate.images, from_sources(config.sources)))
    return made


def columns_of(steps: list[Step]) -> dict[str, str]:
    """The columns that the steps add, {name: pyarrow's name of the type}."""
    return {name: kind for step in steps for name, kind in step.columns.items()}
