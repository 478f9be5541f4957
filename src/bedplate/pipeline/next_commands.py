"""What to do with what has just been made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bedplate.ledger.artefact import Artefact

CHATTABLE = ("release", "model", "run")


def next_commands(artefacts: Sequence[Artefact]) -> list[tuple[list[str], str]]:
    """Commands worth trying now, each with its purpose, for artefacts in the order they were made."""
    commands: list[tuple[list[str], str]] = []
    if not artefacts:
        return commands
    model = _best_model(artefacts)
    if model is not None:
        if has_chat_template(model.path):
            commands.append((["bedplate", "chat", str(model.path)], "talk to it"))
        else:
            commands.append((["bedplate", "chat", str(model.path), "--raw"], "let it continue a text that you begin"))
    trained = next((artefact for artefact in reversed(artefacts) if artefact.kind == "run"), None)
    if trained is not None:
        commands.append((["bedplate", "show", str(trained.path), "--open"], "the training curve"))
    report = next((artefact for artefact in reversed(artefacts) if artefact.kind == "report"), None)
    if report is not None:
        commands.append((["bedplate", "show", str(report.path), "--open"], "the evaluation's page"))
    last = artefacts[-1]
    if last is not trained and last is not report:
        commands.append((["bedplate", "show", str(last.path)], "what it is, where it came from, what it cost"))
    if model is not None:
        target = f"{model.path}-gguf"
        commands.append((["bedplate", "export", str(model.path), target, "--format", "gguf"], "a file for llama.cpp"))
    return commands


def _best_model(artefacts: Sequence[Artefact]) -> Artefact | None:
    for kind in CHATTABLE:
        for artefact in reversed(artefacts):
            if artefact.kind == kind:
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
