"""What a curation is made from beside its documents: the models, filters and lists that its configuration names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bedplate.data.curate import CurateConfig
from bedplate.data.extract.config import ExtractConfig
from bedplate.data.filters.rules import required_columns
from bedplate.data.reading import raw_inputs as raw_sources
from bedplate.data.signals.config import PerplexityConfig, with_columns
from bedplate.data.source import Source
from bedplate.errors import InputError
from bedplate.ledger import Artefact, SourceInput
from bedplate.ledger.digests import sha256_json

PAGES = ("warc", "html", "epub", "documents")
"""Kinds of sources that hold pages."""


def raw_inputs(config: CurateConfig) -> list[SourceInput]:
    """What `curate` is going to read: one entry a source, and one a file or folder that a stage of it needs, with a
    digest over (name, size, time). So a filter that is trained again makes another corpus.

    Raises InputError for a path that isn't there, and as `reading.raw_inputs`.
    """
    return [*raw_sources(config.sources, config.on_error), *map(_reference, referred(config))]


def referred(config: CurateConfig) -> list[str]:
    """The paths that stages other than reading need."""
    return list(dict.fromkeys(path for path in _paths(config) if path))


def resolved(config: CurateConfig, inputs: Mapping[str, Artefact | list[Artefact]]) -> CurateConfig:
    """The configuration with its inputs' places in it: corpora as the first sources, and models, encoders and filters
    where it names them. Signals that its filters need are turned on, and pages are extracted where there are any.

    Raises InputError for an input that nothing in the configuration uses.
    """
    update: dict[str, Any] = {}
    corpora = _many(inputs.get("corpus"))
    if corpora:
        names = [artefact.name for artefact in corpora]
        update["sources"] = (
            *(
                Source(corpus=str(artefact.path), name=name if names.count(name) == 1 else f"{name}-{number}")
                for number, (artefact, name) in enumerate(zip(corpora, names, strict=True))
            ),
            *config.sources,
        )
    signals = config.signals
    if config.filters is not None:
        signals = with_columns(signals, required_columns(config.filters))
    for artefact in _many(inputs.get("model")):
        if signals is None:
            raise _unused("model", "`signals.perplexity`")
        signals = signals.model_copy(update={"perplexity": _named(signals.perplexity, "model", artefact)})
    update["signals"] = signals
    for artefact in _many(inputs.get("encoder")):
        embeddings = config.deduplicate.embeddings
        if embeddings is None:
            raise _unused("encoder", "`deduplicate.embeddings`")
        update["deduplicate"] = config.deduplicate.model_copy(
            update={"embeddings": embeddings.model_copy(update={"encoder": str(artefact.path)})}
        )
    filters = {artefact.name: artefact for artefact in _many(inputs.get("filter"))}
    if filters:
        classify = dict(config.classify or {})
        for column, classifier in classify.items():
            if classifier.filter in filters:
                path = str(filters.pop(classifier.filter).path)
                classify[column] = classifier.model_copy(update={"filter": path})
        if filters:
            raise _unused("filter", f"`classify`, as {{COLUMN: {{filter: {next(iter(filters))}}}}}")
        update["classify"] = classify
    for column, classifier in (update.get("classify") or config.classify or {}).items():
        if _may_be_an_input(classifier.filter):
            raise InputError(
                f"curate: classify.{column}: {classifier.filter!r} is neither an input `filter` nor a folder",
                "Name a stage that makes a filter in the inputs too, `filter: NAME`, or give a filter's folder.",
            )
    if "earlier" in inputs and "clusters" not in config.model_fields_set:
        update["clusters"] = None  # they would have to see the earlier documents
    if config.extract is None and any(source.place in PAGES for source in config.sources):
        update["extract"] = ExtractConfig()
    return config.model_copy(update=update)


def _many(given: Artefact | list[Artefact] | None) -> list[Artefact]:
    return [] if given is None else given if isinstance(given, list) else [given]


def _may_be_an_input(name: str) -> bool:
    """Whether it is the name of an artefact among the inputs, for all that can be told without them."""
    return Path(name).name == name and not Path(name).exists()


def _named(section: PerplexityConfig | None, field: str, artefact: Artefact) -> PerplexityConfig:
    path = str(artefact.path / "model" if artefact.kind == "run" else artefact.path)
    return PerplexityConfig(model=path) if section is None else section.model_copy(update={field: path})


def _unused(role: str, section: str) -> InputError:
    return InputError(f"curate: the input {role!r} is given, and nothing uses it", f"Give {section}, or leave it out.")


def _paths(config: CurateConfig) -> Iterator[str | None]:
    if config.signals is not None and config.signals.perplexity is not None:
        yield config.signals.perplexity.model
    for classifier in (config.classify or {}).values():
        if not _may_be_an_input(classifier.filter):
            yield classifier.filter
    if config.deduplicate.embeddings is not None:
        yield config.deduplicate.embeddings.encoder
    if config.rights is not None:
        rights = config.rights
        yield from (*rights.site_files, *rights.blocked, *rights.opted_out, *rights.taken_down)
    if config.decontaminate is not None:
        yield config.decontaminate.index
        yield from (file.path for file in config.decontaminate.files)


def _reference(path: str) -> SourceInput:
    place = Path(path).expanduser()
    if not place.exists():
        raise InputError(f"{place}: no such file or folder", "Correct the path in the recipe.")
    inside = (Path(folder, name) for folder, _, names in os.walk(place) for name in names)
    files = [place] if place.is_file() else list(inside)
    states = {file.relative_to(place).as_posix(): file.stat() for file in sorted(files)}
    digest = sha256_json([[name, state.st_size, state.st_mtime_ns] for name, state in states.items()])
    return SourceInput(
        path=place, digest=digest, bytes=sum(state.st_size for state in states.values()), count=len(states)
    )
