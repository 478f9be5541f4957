"""What to do with what has just been made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bedplate.families.configs import Kind, model_types
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
    encoder = _best(artefacts, "encoder")
    if model is not None:
        if has_chat_template(model.path):
            commands.append((["bedplate", "chat", str(model.path)], "talk to it"))
        else:
            commands.append((["bedplate", "chat", str(model.path), "--raw"], "let it continue a text that you begin"))
    elif encoder is not None:
        commands.append((["bedplate", "serve", str(encoder.path)], "its vectors of texts over HTTP"))
    trained = _last(artefacts, "pretrain")
    if trained is not None:
        commands.append((["bedplate", "show", str(trained.path), "--open"], "the training curve"))
    report = _last(artefacts, "evaluate")
    if report is not None:
        commands.append((["bedplate", "show", str(report.path), "--open"], "the evaluation's page"))
    last = artefacts[-1]
    if last is not trained and last is not report:
        commands.append((["bedplate", "show", str(last.path)], "what it is, where it came from, what it cost"))
    written = model or encoder or _best(artefacts, "encoder-decoder")
    if written is not None and (export := _export(written)) is not None:
        commands.append(export)
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
    return _best(artefacts, "decoder")


def _best(artefacts: Sequence[Artefact], kind: Kind) -> Artefact | None:
    """The artefact of a model of this kind that is furthest on."""
    for of in CHATTABLE:
        for artefact in reversed(artefacts):
            if artefact.kind == of and _kind(artefact) == kind:
                return artefact
    return None


def _kind(artefact: Artefact) -> Kind:
    """Of what kind its model is, as far as its files say."""
    known = model_types()
    return known.get(_model_type(artefact.path), artefact.measures.get("architecture") or "decoder")


def _export(artefact: Artefact) -> Command | None:
    """How other tools get it: as GGUF where that can say it; None where no other library knows its family."""
    from bedplate.families.gguf_names import ARCHITECTURES

    model_type, source = _model_type(artefact.path), str(artefact.path)
    if model_type.startswith("bedplate-"):
        return None
    if _kind(artefact) == "decoder" and model_type in {"", *ARCHITECTURES}:
        return ["bedplate", "export", source, f"{source}-gguf", "--format", "gguf"], "a file for llama.cpp"
    return ["bedplate", "export", source, f"{source}-hf", "--format", "hf"], "a folder for transformers"


def _model_type(folder: Path) -> str:
    """Of the model in an artefact's folder; empty where there is none that can be read."""
    for place in (folder, folder / "model"):
        try:
            found = json.loads((place / "config.json").read_bytes())
        except (OSError, ValueError):
            continue
        named = found.get("model_type") if isinstance(found, dict) else None
        return named if isinstance(named, str) else ""
    return ""


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
