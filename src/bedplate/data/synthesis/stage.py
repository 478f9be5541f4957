"""Carrying out `synthesize`: read the documents, have a model write, and account for every answer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from bedplate.data.corpus import read_corpus
from bedplate.data.synthesis.asking import Journal, Writer
from bedplate.data.synthesis.config import SynthesizeConfig, check
from bedplate.data.synthesis.output import Output, Seed
from bedplate.data.synthesis.rewriting import rewrite
from bedplate.data.synthesis.self_instruct import self_instruct
from bedplate.data.synthesis.writers import LocalWriter, ServedWriter
from bedplate.errors import InputError

if TYPE_CHECKING:
    from bedplate.ledger import Artefact, Work

ANSWERS = "answers.jsonl"
"""The journal, in the unfinished folder only."""


def run(config: SynthesizeConfig, inputs: dict[str, Artefact], work: Work) -> None:
    """Write the corpus, `dropped.parquet` and the conversations. Answers of an interrupted attempt are taken over.

    Rows are a pure function of the documents, the configuration and the answers, whatever order these came in.
    Raises UserError where the model can't be asked, InputError where too many requests fail or nothing is kept.
    """
    check(config, inputs)
    writer = _writer(config, inputs)
    journal = Journal(work.path / ANSWERS)
    try:
        if len(journal):
            work.console.say(f"{len(journal)} answers are there already")
        with Output(work.path, generator=writer.name, license=config.license, most_failed=config.most_failed) as output:
            seeds = islice(_seeds(inputs["corpus"], work), config.documents)
            way = self_instruct if config.method == "self-instruct" else rewrite
            way(seeds, config, writer, journal, output)
    finally:
        journal.close()
    work.measures.update(output.measures())
    if not output.kept:
        why = ", ".join(f"{reason} {n:,}" for reason, n in (work.measures["dropped"] | work.measures["failed"]).items())
        raise InputError(
            f"synthesize: nothing that {writer.name} wrote was kept ({why or 'no documents'})",
            "Look at dropped.parquet's reasons; try another model, or other passages.",
        )
    if config.method == "self-instruct" and output.kept < config.instructions:
        work.console.warn(f"only {output.kept} of {config.instructions} tasks: the model proposes no new ones any more")
    journal.remove()


def _writer(config: SynthesizeConfig, inputs: dict[str, Artefact]) -> Writer:
    return LocalWriter(inputs["model"], config) if config.endpoint is None else ServedWriter(config.endpoint, config)


def _seeds(corpus: Artefact, work: Work) -> Iterator[Seed]:
    columns = ["id", "text", "language", "license", "split", "bytes"]
    done = 0
    with work.console.progress("synthesize", total=sum(corpus.measures["bytes"].values()), unit="B") as progress:
        for batch in read_corpus(corpus, columns):
            for id, text, language, license, split, size in zip(*(batch[name] for name in columns), strict=True):
                done += size
                progress.update(done)
                yield Seed(id, text, language, license, split)
