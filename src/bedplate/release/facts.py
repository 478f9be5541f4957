"""Facts about a model for its documents, each with how it is known and which artefact it comes from.

Nothing is inferred: a fact was measured by a stage, derived from something measured by a stated formula, attested by
whoever wrote the recipe, or it is missing and the card says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bedplate.console.figures import bytes_text, duration
from bedplate.families.encoder_model import EncoderModel
from bedplate.families.seq2seq_model import Seq2SeqModel
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.lineage import Ancestor, lineage
from bedplate.ledger.manifest import Resource
from bedplate.release.kinds import CardKind, Released, card_kind
from bedplate.release.stage import ReleaseConfig

Status = Literal["measured", "derived", "attested", "missing"]
Section = tuple[str, list["Fact"]]


@dataclass(frozen=True)
class Fact:
    """One line of a document. origin: "recipe", or name and shortened digest of the artefact whose manifest says it."""

    label: str
    value: str
    status: Status
    origin: str


@dataclass(frozen=True)
class DataSource:
    """One source of the corpus. The licence is attested by whoever wrote the recipe; the counts are measured."""

    name: str
    license: str
    read: int
    kept: int
    bytes: int


@dataclass(frozen=True)
class Facts:
    """All that a card needs. kind: what the model is; ancestors: the run with everything that it was made from."""

    kind: CardKind

    sections: list[Section]
    sources: list[DataSource]
    evaluation: Mapping[str, Any] | None
    ancestors: Ancestor


def gather(config: ReleaseConfig, model: Released, run: Artefact, evaluation: Artefact | None) -> Facts:
    """Facts from the run, its lineage, the evaluation and the recipe."""
    tree = lineage(run)
    corpora, tokens = _of_kind(tree, "corpus"), _of_kind(tree, "tokens")
    trained_on = _inputs_of(tokens, corpora) or corpora
    sections: list[Section] = [
        ("Model", _model(model, run)),
        ("Training data", [*_data(corpora, tokens), *map(_synthetic, trained_on)]),
        ("Training", _training(run)),
        ("Attested by the releaser", _attested(config)),
    ]
    if evaluation is not None and evaluation.manifest.stage == "evaluate":
        measures = evaluation.measures
    else:
        measures = None
        sections.insert(3, ("Evaluation", [missing("evaluation", "no evaluation was given to the release stage")]))
    return Facts(
        card_kind(model), sections, [source for corpus in trained_on for source in data_sources(corpus)], measures, tree
    )


def missing(label: str, why: str) -> Fact:
    return Fact(label, why, "missing", "")


def origin(artefact: Artefact) -> str:
    return f"{artefact.name} {artefact.digest[:12]}"


def data_sources(corpus: Artefact) -> list[DataSource]:
    """The corpus's sources in its own order, with the licence that each was declared under."""
    sources: Mapping[str, Mapping[str, Any]] = corpus.measures.get("sources", {})
    return [
        DataSource(name, source.get("license", "see the corpus"), source["read"], source["kept"], source["bytes"])
        for name, source in sources.items()
    ]


def _of_kind(tree: Ancestor, kind: str) -> list[Artefact]:
    found = {a.digest: a.artefact for a in tree.walk() if a.kind == kind and a.artefact is not None}
    return [artefact for artefact in found.values() if artefact is not None]


def _inputs_of(tokens: Sequence[Artefact], corpora: Sequence[Artefact]) -> list[Artefact]:
    """The corpora that were tokenised; the others are what those were made from."""
    digests = {entry.digest for artefact in tokens for entry in artefact.manifest.inputs}
    return [corpus for corpus in corpora if corpus.digest in digests]


_SHAPE = {
    "num_attention_heads": "{} heads",
    "kv_heads": "{} for keys and values",
    "intermediate_size": "feed-forward {}",
    "num_local_experts": "{} experts",
    "num_experts": "{} experts",
    "n_routed_experts": "{} experts",
    "num_decoder_layers": "{} layers in the decoder",
}
"""What is said of a model's shape, where its family has it."""


def _model(model: Released, run: Artefact) -> list[Fact]:
    c, source, kind = model.config, origin(run), card_kind(model)
    longest = model.max_length if isinstance(model, EncoderModel) else c.max_position_embeddings
    limit = "tokens by its configuration"
    if isinstance(model, Seq2SeqModel) and model.config.longest is None:
        limit = "tokens in training by its configuration; its positions are relative and end nowhere"
    shape = f"{c.model_type}: {c.num_hidden_layers} layers, width {c.hidden_size}" + "".join(
        f", {said.format(value)}" for key, said in _SHAPE.items() if (value := getattr(c, key, None)) is not None
    )
    return [
        Fact("architecture", shape, "measured", source),
        Fact("parameters", f"{model.parameter_count():,}", "derived", f"{source}: counted in the weights"),
        Fact("vocabulary", f"{c.vocab_size:,} rows", "measured", source),
        Fact("longest input", f"{longest:,} {limit}", "measured", source),
        Fact("modality", kind.modality, "derived", f"{source}: {kind.article} {kind.noun}"),
    ]


def _data(corpora: Sequence[Artefact], tokens: Sequence[Artefact]) -> list[Fact]:
    if not corpora:
        return [missing("corpus", "the run's lineage doesn't lead to a corpus that is still there")]
    facts = []
    for corpus in corpora:
        m, source = corpus.measures, origin(corpus)
        facts += [
            Fact("documents read", f"{m['read']:,}", "measured", source),
            Fact("documents kept", f"{m['kept']:,}", "measured", source),
            Fact("documents dropped", _reasons(m["dropped"]), "measured", source),
            Fact("documents failed", _reasons(m["failed"]), "measured", source),
            Fact("documents by split", _counts(m["documents"]), "measured", source),
            Fact("bytes by split", _counts(m["bytes"]), "measured", source),
            Fact("documents by licence", _counts(m["licenses"]), "attested", f"{source}: licences as the recipe says"),
        ]
    for artefact in tokens:
        if "tokens" in artefact.measures:
            facts.append(Fact("tokens by split", _counts(artefact.measures["tokens"]), "measured", origin(artefact)))
    return facts


def _synthetic(corpus: Artefact) -> Fact:
    """How much of what was trained on a model wrote."""
    label, m = "training text that a model wrote", corpus.measures.get("synthetic")
    if m is None:
        return missing(label, f"not recorded by {corpus.name}")
    documents, seen = m["documents"]["train"], m["seen_bytes"]
    value = f"none of {corpus.measures['documents']['train']:,} documents is marked so"
    if documents:
        value = (
            f"{documents:,} of {corpus.measures['documents']['train']:,} documents, "
            f"{seen['synthetic'] / seen['all']:.1%} of the bytes that an epoch sees; by {_counts(m['generators'])}"
        )
    return Fact(label, value, "measured", origin(corpus))


def _training(run: Artefact) -> list[Fact]:
    if run.manifest.stage != "pretrain":
        return [missing("training", f"the model was made by {run.manifest.stage}, which doesn't train")]
    source, m, environment = origin(run), run.measures, run.manifest.environment
    steps = f"{run.config['steps']:,} of {run.config['batch']} rows of {run.config['length']} tokens"
    facts = [
        Fact("tokens seen", f"{m['tokens']:,}", "measured", source),
        Fact("steps", steps, "measured", source),
        _resource(run, "flops", "floating-point operations", lambda v: f"{v:.3g}"),
        _resource(run, "wall_s", "time", duration),
        _resource(run, "cpu_s", "processor time", duration),
        _resource(run, "gpu_s", "accelerator time", duration),
        _resource(run, "peak_rss_bytes", "peak memory", bytes_text),
        _resource(run, "energy_kwh", "energy", lambda v: f"{v:.3g} kWh"),
        Fact(
            "hardware",
            f"{environment.device}: {environment.processor}, {environment.threads} threads",
            "measured",
            source,
        ),
        Fact("software", _software(run), "measured", source),
    ]
    return [fact for fact in facts if fact is not None]


def _resource(run: Artefact, name: str, label: str, shown: Any) -> Fact | None:
    found: Resource | None = run.manifest.resources.get(name)
    if found is None:
        # Where no accelerator was used there is nothing to miss.
        return None if name == "gpu_s" else missing(label, "not recorded by the run")
    status: Status = "measured" if found.method == "measured" else "derived"
    return Fact(label, shown(found.value), status, origin(run) + (f": {found.note}" if found.note else ""))


def _software(run: Artefact) -> str:
    code, environment = run.manifest.code, run.manifest.environment
    commit = f" ({code.commit[:12]}{', with changes' if code.dirty else ''})" if code.commit else ""
    return f"bedplate {code.version}{commit}, Python {environment.python}, torch {environment.torch}"


def _attested(config: ReleaseConfig) -> list[Fact]:
    given = {
        "licence": config.license,
        "intended use": config.intended_use,
        "limitations": config.limitations,
        "contact": config.contact,
    }
    return [
        Fact(label, value, "attested", "recipe") if value else missing(label, "nobody has said it")
        for label, value in given.items()
    ]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _reasons(counts: Mapping[str, int]) -> str:
    return f"{sum(counts.values()):,}" + (f" ({_counts(counts)})" if counts else "")
