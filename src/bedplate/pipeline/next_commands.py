"""What to do with what has just been made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bedplate.ledger.artefact import Artefact

CHATTABLE = ("release", "model", "run")
ANSWERING = ("retrieval",)
"""Ways of adapting whose artefacts answer questions, whatever the task."""

Command = tuple[list[str], str]


def next_commands(artefacts: Sequence[Artefact]) -> list[Command]:
    """Commands worth trying now, each with its purpose, for artefacts in the order they were made."""
    if not artefacts:
        return []
    if any(artefact.manifest.stage in ("adapt", "compare", "index") for artefact in artefacts):
        return _after_adapting(artefacts)
    return _after_building(artefacts)


def _after_building(artefacts: Sequence[Artefact]) -> list[Command]:
    commands: list[Command] = []
    model = _best_model(artefacts)
    if model is not None:
        if has_chat_template(model.path):
            commands.append((["bedplate", "chat", str(model.path)], "talk to it"))
        else:
            commands.append((["bedplate", "chat", str(model.path), "--raw"], "let it continue a text that you begin"))
    trained = _last(artefacts, "pretrain")
    if trained is not None:
        commands.append((["bedplate", "show", str(trained.path), "--open"], "the training curve"))
    report = _last(artefacts, "evaluate")
    if report is not None:
        commands.append((["bedplate", "show", str(report.path), "--open"], "the evaluation's page"))
    last = artefacts[-1]
    if last is not trained and last is not report:
        commands.append((["bedplate", "show", str(last.path)], "what it is, where it came from, what it cost"))
    if model is not None:
        target = f"{model.path}-gguf"
        commands.append((["bedplate", "export", str(model.path), target, "--format", "gguf"], "a file for llama.cpp"))
    return commands


def _after_adapting(artefacts: Sequence[Artefact]) -> list[Command]:
    commands: list[Command] = []
    model, report = _best_model(artefacts), _last(artefacts, "compare")
    adapted = [artefact for artefact in artefacts if artefact.manifest.stage == "adapt"]
    answering = [artefact for artefact in adapted if artefact.config["way"]["way"] in ANSWERING]
    if report is not None:
        commands.append((["bedplate", "show", str(report.path), "--open"], "the comparison's page"))
    if answering:
        commands.append((["bedplate", "chat", str(answering[-1].path)], "ask your documents"))
    elif model is not None and has_chat_template(model.path):
        commands.append((["bedplate", "chat", str(model.path)], "talk to the base"))
    index = _last(artefacts, "index")
    if index is not None and not answering and model is not None:
        asked = ["bedplate", "chat", str(index.path), "--base", str(model.path)]
        commands.append((asked, "ask your documents"))
    served = [str(artefact.path) for artefact in [*([model] if model else []), *adapted]]
    if served:
        commands.append((["bedplate", "serve", *served], "over HTTP, with a page to chat on"))
    if adapted:
        commands.append((["bedplate", "show", str(adapted[-1].path)], "what it is, where it came from, what it cost"))
    return commands


def _last(artefacts: Sequence[Artefact], verb: str) -> Artefact | None:
    return next((artefact for artefact in reversed(artefacts) if artefact.manifest.stage == verb), None)


def _best_model(artefacts: Sequence[Artefact]) -> Artefact | None:
    """The artefact that can be talked to best; encoders write nothing, and encoder-decoders hold no conversations."""
    for kind in CHATTABLE:
        for artefact in reversed(artefacts):
            if artefact.kind == kind and artefact.measures.get("architecture") not in ("encoder", "encoder-decoder"):
                return artefact
    return None


def has_chat_template(folder: Path) -> bool:
    """Whether the model in an artefact's folder brings a chat template, in the newer place or the older."""
    for place in (folder, folder / "model"):
        if (place / "chat_template.jinja").is_file():
            return True
        try:
            settings = json.loads((place / "tokenizer_config.json").read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(settings, dict) and settings.get("chat_template"):
            return True
    return False
