"""The release stage's work: store the model, read it back, prove that it answers alike, and write its documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bedplate.errors import ArtefactError, TokenizerError
from bedplate.families.encoder_certificate import EncoderCertificate
from bedplate.families.encoder_model import EncoderModel
from bedplate.families.imports import certified
from bedplate.families.model import DTYPES
from bedplate.families.opening import load_any
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.atomic import atomic_write
from bedplate.ledger.lineage import Ancestor
from bedplate.ledger.work import Work
from bedplate.release.card import model_card
from bedplate.release.facts import gather
from bedplate.release.kinds import Released
from bedplate.release.stage import ReleaseConfig


def release(config: ReleaseConfig, inputs: Mapping[str, Any], work: Work) -> None:
    """Writes a Hugging Face folder with README.md, provenance.json and certificate.json.

    Raises ArtefactError where the evaluation is of another model, TokenizerError for a model without a tokenizer,
    WeightsError where what was stored doesn't answer as its source does.
    """
    run: Artefact = inputs["run"]
    evaluation: Artefact | None = inputs.get("evaluation")
    if evaluation is not None:
        check_evaluation(evaluation, run)
    source = load_any(run.path, device="cpu")
    if not (source.has_tokenizer if isinstance(source, EncoderModel) else source.tokenizer):
        raise TokenizerError(f"{run.path}: no tokenizer beside the model", "Put its tokenizer.json into the folder.")
    facts = gather(config, source, run, evaluation)
    _store(source, config, run, work)
    atomic_write(work.path / "README.md", model_card(config, config.title or run.name, facts))
    provenance = {
        "model": _node(facts.ancestors),
        "evaluation": None if evaluation is None else {"name": evaluation.name, "digest": evaluation.digest},
        "attested": {key: value for key, value in config.model_dump().items() if key != "dtype" and value is not None},
    }
    atomic_write(work.path / "provenance.json", json.dumps(provenance, indent=1, ensure_ascii=False) + "\n")
    work.volatile("README.md", "provenance.json", "certificate.json")  # times and energy differ from run to run
    absent = [fact.label for _, section in facts.sections for fact in section if fact.status == "missing"]
    work.measures["missing_facts"] = absent
    if absent:
        work.console.say(f"the card lists as missing: {', '.join(absent)}")


def check_evaluation(evaluation: Artefact, run: Artefact) -> None:
    """Raise ArtefactError, naming both, unless the evaluation is of this very model."""
    if run.digest not in [entry.digest for entry in evaluation.manifest.inputs]:
        raise ArtefactError(
            f"{evaluation.path}: an evaluation of another model than {run.path}", "Evaluate the model that is released."
        )


def _store(source: Released, config: ReleaseConfig, run: Artefact, work: Work) -> None:
    stored = config.dtype or str(source.net.embed.weight.dtype).removeprefix("torch.")
    source.save(work.path, dtype=DTYPES[stored])
    parameters = source.parameter_count()
    certificate = certified(source, work.path, stored=stored, what=str(run.path))
    certificate.save(work.path)
    work.measures |= {"parameters": parameters, "certificate": certificate.facts()}
    if isinstance(certificate, EncoderCertificate):
        found = f"greatest error of a hidden state {certificate.greatest_hidden_error:.2g}"
    else:
        found = f"greatest logit error {certificate.greatest_logit_error:.2g}"
    work.console.say(f"read back and compared with its source: {found} over {certificate.positions} positions")


def _node(ancestor: Ancestor) -> dict[str, Any]:
    """One artefact or raw source of the lineage, with what it was made from."""
    node: dict[str, Any] = {key: getattr(ancestor, key) for key in ("role", "kind", "name", "digest", "state")}
    if ancestor.remark:
        node["remark"] = ancestor.remark
    if ancestor.artefact is not None:
        manifest = ancestor.artefact.manifest
        kept = {"stage", "stage_version", "key", "created", "config", "code", "environment", "resources", "measures"}
        node |= manifest.model_dump(mode="json", include=kept)
    node["made_from"] = [_node(parent) for parent in ancestor.parents]
    return node
