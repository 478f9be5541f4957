"""The evaluate stage's work: a model beside its baselines, what it writes, and tasks, as JSON and one page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from bedplate.console import Console
from bedplate.data.best_fit import training_rows
from bedplate.data.tokens import TokenSet
from bedplate.errors import ArtefactError, InternalError, TokenizerError
from bedplate.evaluate import language, samples
from bedplate.evaluate.benchmarks import run_tasks
from bedplate.evaluate.comparison import Contender, compare, standing
from bedplate.evaluate.compression import compress
from bedplate.evaluate.contamination import find_contamination
from bedplate.evaluate.held_out import HeldOut, documents_seen, sample_held_out, training_documents
from bedplate.evaluate.ngram import NgramModel
from bedplate.evaluate.page import evaluation_page
from bedplate.evaluate.scoring import load_for_evaluation
from bedplate.evaluate.stage import EvaluateConfig, check_windows
from bedplate.families.model import Model
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.atomic import atomic_write
from bedplate.ledger.work import Work
from bedplate.tasks.catalogue import data_folder


def evaluate(config: EvaluateConfig, inputs: Mapping[str, Any], work: Work) -> None:
    """Writes evaluation.json, report.html and, where asked for, samples.jsonl and items.jsonl.

    Raises TokenizerError where model and tokens have different tokenizers, ArtefactError where the tokens weren't made
    from the corpus, InputError where nothing is held out.
    """
    run, corpus = inputs["run"], inputs["corpus"]
    tokens = TokenSet.open(inputs["tokens"])
    check_origin(inputs["tokens"], corpus)
    model = load_for_evaluation(run.path, config.compute_dtype)
    check_tokenizer(model, run.path, tokens)
    longest = model.config.max_position_embeddings
    windows = check_windows(config, run.config.get("length") or longest, longest)
    held_out = sample_held_out(tokens, corpus, max_bytes=config.max_bytes, seed=config.seed)

    drawn: list[dict[str, Any]] = []
    result: dict[str, Any] = {"model": _describe(model, run)}
    result["language"] = _language(model, run, inputs["tokens"], tokens, held_out, windows, config, work.console)
    if config.samples:
        result["samples"], drawn = _samples(model, tokens, held_out, config, work.console)
        write_jsonl(work.path / "samples.jsonl", drawn)
    if config.tasks:
        data = data_folder(None if config.task_data is None else Path(config.task_data))
        result["tasks"], items = run_tasks(
            model,
            config.tasks,
            config.task_limit,
            data,
            work.console,
            batch_tokens=config.batch_tokens,
            contamination=find_contamination([corpus], config.tasks, data, work.console),
        )
        write_jsonl(work.path / "items.jsonl", items)
    work.measures.update(_measures(result))
    atomic_write(work.path / "evaluation.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    atomic_write(work.path / "report.html", evaluation_page(result, drawn).html())
    tell(result["language"], work.console)


def tell(part: Mapping[str, Any], console: Console) -> None:
    """The comparison as a small table and one sentence. Fewer bits are better."""
    rows = [
        (
            row["name"],
            f"{row['bits_per_byte']:.3f}",
            " to ".join(f"{end:.3f}" for end in row["interval"]) if "interval" in row else "",
            row.get("against_model", ""),
        )
        for row in part["rows"]
    ]
    console.table(rows, ("held-out text coded by", "bits per byte", "95% interval", "against the model"))
    console.say(standing(part["rows"]))


def check_tokenizer(model: Model, path: Path, tokens: TokenSet) -> None:
    """Raise TokenizerError, naming both, unless the model's tokenizer is the one that made the tokens."""
    if model.tokenizer is None:
        raise TokenizerError(
            f"{path}: no tokenizer beside the model", f"Copy the one in {tokens.tokenizer_folder} there."
        )
    if model.tokenizer.fingerprint != tokens.fingerprint:
        raise TokenizerError(
            f"{path}: its tokenizer ({model.tokenizer.fingerprint[:12]}) isn't the one that made {tokens.folder} "
            f"({tokens.fingerprint[:12]})",
            "Tokenize the corpus with the model's own tokenizer.",
        )


def check_origin(tokens: Artefact, corpus: Artefact) -> None:
    """Raise ArtefactError, naming both, unless the tokens were made from this corpus."""
    origins = [entry.digest for entry in tokens.manifest.inputs if entry.kind == "corpus"]
    if origins and corpus.digest not in origins:
        raise ArtefactError(
            f"{tokens.path}: made from another corpus than {corpus.path}", "Give the corpus that it was made from."
        )


def _language(
    model: Model,
    run: Artefact,
    tokens_artefact: Artefact,
    tokens: TokenSet,
    held_out: HeldOut,
    windows: tuple[int, int],
    config: EvaluateConfig,
    console: Console,
) -> dict[str, Any]:
    context, stride = windows
    count = sum(len(language.windows_of(document, context, stride)) for document in held_out.tokens)
    with console.progress("held-out text", count, "windows") as progress:
        spread = language.score_documents(
            model,
            held_out.tokens,
            context=context,
            stride=stride,
            batch_tokens=config.batch_tokens,
            done=progress.update,
        )
    seen = f"{run.measures['tokens']:,} tokens" if run.manifest.stage == "pretrain" else "unknown"
    contender = Contender("the model", seen, spread.bits, float(spread.bits.sum()))
    console.say("baselines: gzip, xz, n-grams")
    baselines, notes = _ngrams(run, tokens_artefact, tokens, held_out, config)
    compared = compare(contender, baselines + _compressors(held_out), held_out.bytes, config.seed)
    return {
        "rule": language.RULE.format(context=context, stride=stride, least=context - stride),
        "context": context,
        "stride": stride,
        "computed_in": str(model.dtype).removeprefix("torch."),
        "documents": len(held_out.ids),
        "bytes": int(held_out.bytes.sum()),
        "scored_tokens": int(spread.tokens.sum()),
        "sample": held_out.describe(),
        "perplexity": spread.perplexity,
        "notes": notes,
        **compared,
    }


def _ngrams(
    run: Artefact, tokens_artefact: Artefact, tokens: TokenSet, held_out: HeldOut, config: EvaluateConfig
) -> tuple[list[Contender], list[str]]:
    notes: list[str] = []
    contenders = []
    limit = config.ngram_tokens
    # One after the other: neither the documents nor the counts of both are ever in memory together.
    for label, find in (
        ("same tokens", lambda: _seen(run, tokens_artefact, tokens, limit, notes)),
        ("all tokens", lambda: training_documents(tokens, limit)),
    ):
        documents = find()
        if documents is None:
            continue
        ngram = NgramModel.train(documents, tokens.vocab_size, config.ngram_order)
        if limit is not None and ngram.trained_on >= limit:
            notes.append(f"The n-gram model of {label} stopped counting at ngram_tokens = {limit:,}.")
        bits = ngram.bits(held_out.tokens)
        contenders.append(
            Contender(f"{config.ngram_order}-gram ({label})", f"{ngram.trained_on:,} tokens", bits, float(bits.sum()))
        )
    return contenders, notes


def _seen(
    run: Artefact, tokens_artefact: Artefact, tokens: TokenSet, limit: int | None, notes: list[str]
) -> Iterable[Any] | None:
    """The training documents that the model saw, or None with a note where this run can't say."""
    if run.manifest.stage != "pretrain":
        notes.append("The model isn't a pretraining run's, so no n-gram model of the same tokens can be made.")
        return None
    if tokens_artefact.digest not in [entry.digest for entry in run.manifest.inputs]:
        notes.append(
            f"The model wasn't trained on {tokens_artefact.name}: there is no n-gram model of the tokens it saw, and "
            "held-out documents here may have been training documents there."
        )
        return None
    settings = run.config
    rows = training_rows(settings.get("packing", "stream"), tokens, settings["length"], settings["seed"])
    return documents_seen(rows, settings["steps"] * settings["batch"], tokens.boundary_id, limit)


def _compressors(held_out: HeldOut) -> list[Contender]:
    contenders = []
    for compressed in compress(held_out.texts):
        contenders += [
            Contender(compressed.name, "nothing", compressed.bits, float(compressed.bits.sum())),
            Contender(f"{compressed.name} (one stream)", "the documents before", None, compressed.concatenated_bits),
        ]
    return contenders


def _samples(
    model: Model, tokens: TokenSet, held_out: HeldOut, config: EvaluateConfig, console: Console
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if model.tokenizer is None:
        raise InternalError("the tokenizer was checked before, and now there is none")
    console.say(f"writing {config.samples} samples")
    drawn = samples.draw(
        model,
        config.prompts,
        config.samples,
        start=tokens.boundary_id,
        max_tokens=config.sample_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        seed=config.seed,
    )
    real = samples.cut_documents(held_out.texts, model.tokenizer, config.sample_tokens)
    summary = {
        "rule": samples.RULE,
        "max_tokens": config.sample_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "model": samples.summarise([sample.text for sample in drawn]),
        "real_documents_cut_alike": samples.summarise(real),
    }
    return summary, [sample.row() for sample in drawn]


def _describe(model: Model, run: Artefact) -> dict[str, Any]:
    return {
        "name": run.name,
        "kind": run.kind,
        "digest": run.digest,
        "parameters": model.parameter_count(),
        "device": torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else model.device.type,
    }


def _measures(result: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that the manifest carries: what a card quotes."""
    part = result["language"]
    measures: dict[str, Any] = {
        key: part[key] for key in ("rule", "sample", "documents", "bytes", "scored_tokens", "perplexity")
    }
    measures["bits_per_byte"] = {row["name"]: row["bits_per_byte"] for row in part["rows"]}
    measures["bits_per_byte_interval"] = part["rows"][0]["interval"]
    measures["verdict"] = part["verdict"]
    if "samples" in result:
        measures["samples"] = {key: result["samples"][key] for key in ("rule", "model", "real_documents_cut_alike")}
    if "tasks" in result:
        kept = ("items", "shots", "acc", "acc_stderr", "acc_norm", "acc_norm_stderr", "chance", "contamination")
        measures["tasks"] = {task["task"]: {key: task[key] for key in kept} for task in result["tasks"]}
    return measures


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    atomic_write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
