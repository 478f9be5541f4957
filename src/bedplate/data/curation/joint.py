"""The joint stages of a curation, in their order, out of its configuration."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedplate.data.curate import CurateConfig
from bedplate.data.curation.shards import Decision, Shards
from bedplate.data.deduplicate.config import ClusterConfig, MinHashConfig
from bedplate.data.deduplicate.pictures import WithoutPictures
from bedplate.data.engine.tasks import Run
from bedplate.data.mix.mixing import MixSection
from bedplate.ledger.stage import resolve

_DEDUPLICATE = {
    "exact": "bedplate.data.deduplicate.exact:run_it",
    "minhash": "bedplate.data.deduplicate.minhash:run_it",
    "substring": "bedplate.data.deduplicate.substring:run_substring",
    "embeddings": "bedplate.data.deduplicate.semantic:run_semantic",
    "images": "bedplate.data.deduplicate.images:run_it",
}
"""Section of `deduplicate` -> its joint step, in their order: the cheap ones leave less to the dear ones."""
_OWN_PREFERENCE = ("substring", "embeddings")
"""Those that say by themselves which copy stays, and that don't get to see documents with pictures."""
_INDEXED = ("exact", "minhash")


@dataclass(frozen=True)
class JointStep:
    """A stage that looks at all documents together, with its own part of the configuration."""

    name: str
    run: Callable[[Shards, Any, Run], Decision]
    config: Any


def joint_steps(config: CurateConfig, earlier: Path | None = None) -> list[JointStep]:
    """The stages that look at all documents together; `earlier`: the index of a corpus whose documents always stay."""
    steps = []
    mixture = _mixture(config)
    if mixture is not None and mixture.mix.leaves_some_out:
        steps.append(JointStep("mix_sources", resolve("bedplate.data.mix.leaving_out:leave_out"), mixture))
    if labels := tuple(source.label for source in config.sources if source.id_field is not None):
        ids = functools.partial(resolve("bedplate.data.deduplicate.ids:run_it"), earlier=earlier)
        steps.append(JointStep("ids", ids, labels))
    for section, function in _DEDUPLICATE.items():
        if (wanted := getattr(config.deduplicate, section)) is not None:
            step = resolve(function)
            if section in _OWN_PREFERENCE:
                step = functools.partial(_without_pictures, step)
            else:
                step = functools.partial(step, keep=config.deduplicate.keep)
            if earlier is not None and section in _INDEXED:
                step = functools.partial(step, earlier=earlier)
            steps.append(JointStep(section, step, wanted))
    if config.clusters is not None:
        clusters = functools.partial(_clusters, config.deduplicate.minhash, config.validation)
        steps.append(JointStep("clusters", clusters, config.clusters))
    if mixture is not None:
        steps.append(JointStep("mix", resolve("bedplate.data.mix.mixing:mix"), mixture))
    return steps


def _without_pictures(
    step: Callable[[Shards, Any, Run], Decision], shards: Shards, config: object, run: Run
) -> Decision:
    return step(WithoutPictures.of(shards), config, run)


def _mixture(config: CurateConfig) -> MixSection | None:
    labels = tuple(source.label for source in config.sources if source.corpus is None)
    return None if config.mix is None else MixSection(config.mix, config.validation, labels)


def _clusters(
    minhash: MinHashConfig | None, validation: float, shards: Shards, config: ClusterConfig, run: Run
) -> Decision:
    """Clusters, by the signatures that were made for near duplicates where there are any."""
    from bedplate.data.deduplicate.clusters import run_it

    signed = (minhash, run.folder / "minhash-keys") if minhash else None
    return run_it(shards, config, run, validation=validation, signed=signed)
