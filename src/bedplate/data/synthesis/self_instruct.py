"""Self-Instruct (Wang et al. 2022, arXiv 2212.10560): new tasks after the example of old ones, and their answers.

A document is a task: its first paragraph, which a blank line or the end closes, is the instruction, and what follows
its answer. The rows that come out have the same form. Other than in the paper the model, which follows instructions, is
simply asked for tasks and then given each; neither needs the paper's examples with answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bedplate.config import fold_in
from bedplate.data.synthesis import judging, prompts
from bedplate.data.synthesis.asking import Journal, Request, Unanswered, Writer
from bedplate.data.synthesis.config import SynthesizeConfig
from bedplate.data.synthesis.output import Output, Seed
from bedplate.data.synthesis.similarity import TextPool, words
from bedplate.errors import InputError

METHOD = "self-instruct"
_SEEDS_SHOWN, _OWN_SHOWN, _NEW = 6, 2, 8
"""Examples of people and of the model in a request, as in the paper, and tasks to be proposed."""
_ROUND = 16
"""Requests whose examples come from the same pool: those of a round may be answered in any order."""
_BARREN_ROUNDS = 3
_BLANK = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class _Task:
    instruction: str
    of: tuple[Seed, ...]


def self_instruct(
    seeds: Iterable[Seed], config: SynthesizeConfig, writer: Writer, journal: Journal, output: Output
) -> None:
    """Propose tasks until there are enough, or three rounds on end bring none; answer each. Raises InputError where the
    documents hold no tasks."""
    given = [_Task(instruction, (seed,)) for seed in seeds if (instruction := _instruction(seed.text))]
    if not given:
        raise InputError("synthesize: no document to take as an example of a task", "Give a corpus of tasks.")
    pool = TextPool()
    for task in given:
        pool.add(words(task.instruction))
    own: list[_Task] = []
    barren = number = 0
    while output.kept < config.instructions and barren < _BARREN_ROUNDS:
        new = _proposed(given, own, number, pool, config, writer, journal, output)
        own += new
        before = output.kept
        _answer(new, config, writer, journal, output)
        barren = barren + 1 if output.kept == before else 0
        number += 1


def _instruction(text: str) -> str:
    return " ".join(_BLANK.split(text.strip(), maxsplit=1)[0].split())


def _proposed(
    given: list[_Task],
    own: list[_Task],
    number: int,
    pool: TextPool,
    config: SynthesizeConfig,
    writer: Writer,
    journal: Journal,
    output: Output,
) -> list[_Task]:
    """A round's new tasks, in order, each unlike all before it."""
    shown = [_drawn(given, own, fold_in(config.seed, METHOD, number, i)) for i in range(_ROUND)]
    requests = [
        Request(prompts.new_tasks([task.instruction for task in tasks], _NEW), _number(config.seed, number, i))
        for i, tasks in enumerate(shown)
    ]
    answers = writer.answers(requests, journal)
    output.asked(answers)
    found: list[_Task] = []
    for i, (tasks, answer) in enumerate(zip(shown, answers, strict=True)):
        name = f"synthetic/{METHOD}/round{number}-{i}"
        if isinstance(answer, Unanswered):
            output.fail(name, answer)
            continue
        text = answer.text.strip()
        proposals = prompts.read_tasks(text)
        if answer.cut and proposals:
            proposals.pop()  # the one that was being written
        if not proposals:
            output.drop(name, judging.whole(answer, text) or "malformed", text)
        of = tuple(dict.fromkeys(seed for task in tasks for seed in task.of))
        for j, proposal in enumerate(proposals):
            reason = judging.instruction(proposal)
            tokens = words(proposal)
            if reason is None and pool.holds_similar(tokens, config.similar):
                reason = "similar"
            if reason is None and output.kept + len(found) >= config.instructions:
                reason = "not_needed"
            if reason is not None:
                output.drop(f"{name}#{j}", reason, proposal)
                continue
            pool.add(tokens)
            found.append(_Task(proposal, of))
    return found


def _drawn(given: list[_Task], own: list[_Task], seed: int) -> list[_Task]:
    random = np.random.Generator(np.random.PCG64(seed))
    of_own = min(_OWN_SHOWN, len(own))
    of_given = min(_SEEDS_SHOWN + _OWN_SHOWN - of_own, len(given))
    drawn = [given[i] for i in random.choice(len(given), of_given, replace=False)]
    drawn += [own[i] for i in random.choice(len(own), of_own, replace=False)] if of_own else []
    return [drawn[i] for i in random.permutation(len(drawn))]


def _answer(tasks: list[_Task], config: SynthesizeConfig, writer: Writer, journal: Journal, output: Output) -> None:
    requests = [
        Request(prompts.task(task.instruction), _number(config.seed, "answer", task.instruction)) for task in tasks
    ]
    answers = writer.answers(requests, journal)
    output.asked(answers)
    for task, answer in zip(tasks, answers, strict=True):
        name = f"synthetic/{METHOD}/{fold_in(0, task.instruction):016x}"
        if isinstance(answer, Unanswered):
            output.fail(name, answer)
            continue
        text = answer.text.strip()
        reason = judging.whole(answer, text)
        if reason is not None:
            output.drop(name, reason, f"{task.instruction}\n\n{text}")
            continue
        split = (
            "validation" if fold_in(0, "validation split", task.instruction) / 2**63 < config.validation else "train"
        )
        output.keep(f"{task.instruction}\n\n{text}", name, METHOD, task.of, split, [(task.instruction, text)])


def _number(seed: int, *names: int | str) -> int:
    return fold_in(seed, "synthesize", METHOD, *names) >> 32
