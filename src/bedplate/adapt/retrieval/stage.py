"""The `index` stage: documents and an encoder -> an `index` artefact. Heavy imports come when it runs."""

from __future__ import annotations

from pathlib import Path

from bedplate.adapt.retrieval.index_config import IndexConfig
from bedplate.console import Console
from bedplate.ledger import Artefact, Stage, open_artefact, produce

__all__ = ["INDEX", "IndexConfig", "index_documents"]

INDEX = Stage(
    name="index",
    version=1,
    kind="index",
    config=IndexConfig,
    inputs={"encoder": "model|release|run", "corpus": "corpus?", "task": "task?"},
    run="bedplate.adapt.retrieval.building:run",
    sources="bedplate.adapt.retrieval.documents:raw_inputs",
    check="bedplate.adapt.retrieval.index_config:check_index",
)


def index_documents(
    documents: Path | str,
    encoder: Path | str,
    out: Path | str,
    *,
    console: Console | None = None,
    replace: bool = False,
) -> Artefact:
    """Index a folder or file of text, Markdown, HTML or JSON Lines with the encoder in a model artefact, into `out`.

    Raises InputError for documents that are missing, empty or can't be read, ArtefactError for what is no encoder's
    artefact, and what `produce` raises.
    """
    config = IndexConfig.model_validate({"documents": str(documents)})
    inputs: dict[str, Artefact | list[Artefact]] = {"encoder": open_artefact(encoder, "model|release|run")}
    out = Path(out)
    return produce(INDEX, config, inputs, out, name=out.name, console=console or Console(), replace=replace)
