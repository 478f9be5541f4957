"""What a corpus was before documents were taken out of it: `origin.json`, which outlives those folders."""

from __future__ import annotations

import json
from typing import Any

from bedplate.errors import ArtefactError
from bedplate.ledger import Artefact

ORIGIN = "origin.json"
REMOVE_STAGE = "remove"


def origin_of(corpus: Artefact) -> list[dict[str, Any]]:
    """The corpus's earlier versions, the newest first: digest, key, stage, stage_version, created, config, inputs.

    Empty for one that nothing was taken out of. Raises ArtefactError for a damaged file.
    """
    path = corpus.path / ORIGIN
    if corpus.manifest.stage != REMOVE_STAGE:
        return []
    try:
        found = json.loads(path.read_bytes())
        return [dict(version) for version in found["earlier"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{path}: can't be read: {error}", "Restore the folder from a copy.") from error


def with_version(corpus: Artefact) -> str:
    """`origin.json` of what is made of this corpus by removal."""
    m = corpus.manifest
    this = {
        "digest": m.digest,
        "key": m.key,
        "stage": m.stage,
        "stage_version": m.stage_version,
        "created": m.created,
        "config": m.config,
        "inputs": [item.model_dump(mode="json") for item in m.inputs],
    }
    return json.dumps({"earlier": [this, *origin_of(corpus)]}, indent=1, ensure_ascii=False) + "\n"


def curation_of(corpus: Artefact) -> dict[str, Any]:
    """The configuration that the corpus was curated with, whatever was taken out since."""
    for version in origin_of(corpus):
        if version["stage"] != REMOVE_STAGE:
            return dict(version["config"])
    return corpus.config
