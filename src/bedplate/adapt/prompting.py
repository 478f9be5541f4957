"""Prompts: an instruction, with or without examples, for classes or for free answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bedplate.adapt.asking import ask_all, is_right
from bedplate.adapt.bases import LocalBase
from bedplate.adapt.calibration import candidates, choose
from bedplate.adapt.embedding import Embedder, check_encoder
from bedplate.adapt.endpoint import EndpointBase
from bedplate.adapt.examples import Chooser, Floats, Shown, fixed_examples
from bedplate.adapt.face import Answer, Base, Classification, Message, Prepared
from bedplate.adapt.fitting import Fitting
from bedplate.adapt.inputs import input_base, input_folder
from bedplate.adapt.label_prompts import Scored, fit_messages, parse_labels, score_labels, warn_dropped
from bedplate.adapt.probing import unit
from bedplate.adapt.prompt_file import FILE, Examples, LabelScoring, Prompt, default_prompt, with_listed_labels
from bedplate.adapt.ways import FewShot, ZeroShot
from bedplate.errors import InputError
from bedplate.generate.params import SamplingParams
from bedplate.ledger.artefact import Artefact
from bedplate.tasks.examples import Task

if TYPE_CHECKING:
    from bedplate.families.encoder_model import EncoderModel

CONTENT_FREE = ("N/A", "[MASK]", "")
"""Texts that say nothing, as Zhao et al. 2021 have them."""
VECTORS = "examples.safetensors"
SCORING = "2 * matrix parameters, per token that is read"


class PromptClassifier:
    """Classes by a prompt. unparsed: answers so far that named no class (where labels are parsed)."""

    def __init__(self, name: str, base: Base, prompt: Prompt, chooser: Chooser | None) -> None:
        self.name, self.base, self.prompt = name, base, prompt
        self.classes = prompt.classes
        self.unparsed = 0
        self._chooser = chooser

    def classify(self, texts: Sequence[str]) -> Classification:
        K = len(self.classes)
        if not texts:
            return Classification(self.classes, (), np.zeros((0, K), dtype=np.float32), ())
        shown = _shown(self._chooser, texts)
        if self.prompt.scoring == "parse":
            parsed = parse_labels(self.base, self.prompt, texts, shown)
            self.unparsed += int((parsed.columns < 0).sum())
            scores, read = parsed_scores(parsed.columns, K, self.prompt.sure), parsed.read
        else:
            scored = score_labels(self.base, self.prompt, texts, shown)
            warn_dropped(scored.dropped, len(texts))
            assert self.prompt.calibration is not None
            scores, read = self.prompt.calibration.probabilities(scored.sums), scored.read
        labels = tuple(self.classes[k] for k in scores.argmax(axis=1))
        return Classification(self.classes, labels, scores.astype(np.float32), read)


class PromptAnswerer:
    """Free answers by a prompt: the last message is the question, what stood before it stays before it, after the
    examples; a system message adds to the instruction."""

    def __init__(self, name: str, base: Base, prompt: Prompt, chooser: Chooser | None) -> None:
        self.name, self.base, self.prompt = name, base, prompt
        self._chooser = chooser

    def prepare(self, messages: Sequence[Message]) -> Prepared:
        """Raises InputError where the last message isn't a text from the user."""
        last = messages[-1] if messages else {}
        text = last.get("content")
        if last.get("role") != "user" or not isinstance(text, str):
            raise InputError("messages: the last isn't a text from the user", "End with a question.")
        told = [str(m.get("content", "")) for m in messages if m.get("role") == "system"]
        prompt = replace(self.prompt, instruction="\n\n".join([self.prompt.instruction, *told]))
        history = [m for m in messages[:-1] if m.get("role") != "system"]

        def put(examples: Sequence[Shown]) -> list[Message]:
            full = prompt.messages(text, examples)
            return [*full[:-1], *history, full[-1]]

        shown = _shown(self._chooser, [text])[0]
        if isinstance(self.base, LocalBase):
            _, dropped = fit_messages(self.base, put, shown, prompt.max_tokens)
            warn_dropped(dropped, 1)
            shown = shown[dropped:]
        return Prepared(put(shown))

    def finish(self, prepared: Prepared, answer: Answer) -> Answer:
        return answer

    def generate(self, messages: Sequence[Message], params: SamplingParams | None = None) -> Answer:
        prepared = self.prepare(messages)
        params = params or SamplingParams(max_tokens=self.prompt.max_tokens)
        return self.finish(prepared, self.base.generate(prepared.messages, params))


def parsed_scores(columns: npt.NDArray[np.int64], classes: int, sure: float) -> npt.NDArray[np.float64]:
    """Probabilities [N, K] of parsed answers: `sure` for the class that is named and the rest in equal parts; equal
    for all where none is named (-1)."""
    scores = np.full((len(columns), classes), 1 / classes)
    named = columns >= 0
    if classes > 1:
        scores[named] = (1 - sure) / (classes - 1)
        scores[named, columns[named]] = sure
    return scores


def fit(way: ZeroShot | FewShot, fitting: Fitting) -> None:
    """Make the prompt; choose on validation how labels' likelihoods become classes; write it."""
    task, base = fitting.task, fitting.base
    prompt = default_prompt(task, way.instruction, list_labels=way.list_labels)
    prompt = replace(prompt, system=_takes_system(base), max_tokens=_answer_tokens(task, base))
    chooser = None
    if isinstance(way, FewShot):
        prompt, chooser = _with_examples(way, prompt, fitting)
    if task.kind == "generation":
        prompt.save(fitting.work.path, way.way)
        _score_answers(PromptAnswerer("", base, prompt, chooser), fitting)
        return
    prompt = replace(prompt, scoring=_scoring(base))
    if prompt.scoring == "parse":
        prompt = _fit_parsing(prompt if way.list_labels else with_listed_labels(prompt), chooser, fitting)
    else:
        prompt = _fit_scoring(prompt, chooser, fitting)
    prompt.save(fitting.work.path, way.way)


def open_prompt(artefact: Artefact, *, base: Path | None = None) -> PromptClassifier | PromptAnswerer:
    """The face of a prompt artefact. base: where its base is now, if it was moved.

    Raises ArtefactError for another base or encoder than it was made with, and for a broken folder.
    """
    prompt = Prompt.load(artefact.file(FILE))
    asked = input_base(artefact, base)
    chooser = None
    if (examples := prompt.examples) is not None:
        if examples.encoder is None:
            chooser = Chooser(examples.how, examples.kept, examples.shots, examples.seed)
        else:
            from safetensors.numpy import load_file

            folder = input_folder(artefact, "encoder")
            check_encoder(examples.encoder, folder, artefact.path)
            chooser = Chooser(
                examples.how,
                examples.kept,
                examples.shots,
                examples.seed,
                vectors=load_file(artefact.file(VECTORS))["vectors"],
                embed=_Vectors(folder),
            )
    face = PromptClassifier if prompt.classes else PromptAnswerer
    return face(artefact.name, asked, prompt, chooser)


class _Vectors:
    """Vectors of length 1 by the encoder in a folder, which is loaded when it is first asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _encoder(self) -> EncoderModel:
        from bedplate.families.encoder_model import EncoderModel

        return EncoderModel.load(self._folder)

    def __call__(self, texts: Sequence[str]) -> Floats:
        return unit(self._encoder.embed(texts))


def _shown(chooser: Chooser | None, texts: Sequence[str]) -> list[list[Shown]]:
    return [[] for _ in texts] if chooser is None else chooser.choose(texts)


def _takes_system(base: Base) -> bool:
    """Whether the base's chat template knows system messages."""
    if not isinstance(base, LocalBase):
        return True
    base.check_chat()
    try:
        base.prompt_tokens([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}])
    except InputError:
        return False
    return True


def _scoring(base: Base) -> LabelScoring:
    if not isinstance(base, EndpointBase):
        return "local"
    wanted = base.config.label_scores
    return ("logprobs" if base.echoes() else "parse") if wanted == "auto" else wanted


def _answer_tokens(task: Task, base: Base) -> int:
    """Tokens that a free answer may have: half as many again as the longest of the training examples, and a few."""
    if task.kind == "classification" or not task.train:
        return 64
    if isinstance(base, LocalBase) and base.model.tokenizer is not None:
        longest = max(len(ids) for ids in base.model.tokenizer.encode_batch([e.target for e in task.train]))
    else:
        longest = max(len(e.target) for e in task.train) // 3
    return longest + longest // 2 + 8


def _with_examples(way: FewShot, prompt: Prompt, fitting: Fitting) -> tuple[Prompt, Chooser]:
    task = fitting.task
    kept = tuple((e.input, e.target) for e in task.train)
    if way.examples == "fixed":
        kept = tuple(fixed_examples(task, way.shots, fitting.seed))
    if way.examples != "nearest":
        examples = Examples(way.examples, way.shots, fitting.seed, kept)
        return replace(prompt, examples=examples), Chooser(way.examples, kept, way.shots, fitting.seed)
    from safetensors.numpy import save_file

    embedder = Embedder(fitting)
    vectors = unit(embedder.embed([question for question, _ in kept]))
    save_file({"vectors": vectors}, fitting.work.path / VECTORS)
    examples = Examples("nearest", way.shots, fitting.seed, kept, embedder.facts())
    chooser = Chooser(
        "nearest", kept, way.shots, fitting.seed, vectors=vectors, embed=lambda texts: unit(embedder.embed(texts))
    )
    return replace(prompt, examples=examples), chooser


def _fit_scoring(prompt: Prompt, chooser: Chooser | None, fitting: Fitting) -> Prompt:
    texts, targets = _validation(fitting.task)
    scored = _scored(prompt, chooser, [*texts, *CONTENT_FREE], fitting)
    sums, free = scored.sums[: len(texts)], scored.sums[len(texts) :]
    calibration, tried, right = choose(candidates(sums, scored.tokens, free), sums, prompt.classes, targets)
    fitting.work.measures |= {
        "label_scores": prompt.scoring,
        "rule": calibration.rule,
        "tried": tried,
        "validation_right": right,
        "examples_dropped": scored.dropped,
    }
    return replace(prompt, calibration=calibration)


def _scored(prompt: Prompt, chooser: Chooser | None, texts: Sequence[str], fitting: Fitting) -> Scored:
    scored = score_labels(fitting.base, prompt, texts, _shown(chooser, texts))
    if scored.flops:
        fitting.work.add_flops(scored.flops, SCORING)
    if scored.dropped:
        fitting.work.console.warn(f"{scored.dropped} examples were left out of prompts: the base's context is full")
    return scored


def _fit_parsing(prompt: Prompt, chooser: Chooser | None, fitting: Fitting) -> Prompt:
    """How sure a parsed label is: as often as one was right on validation."""
    texts, targets = _validation(fitting.task)
    parsed = parse_labels(fitting.base, prompt, texts, _shown(chooser, texts))
    right = [k >= 0 and prompt.classes[k] == t for k, t in zip(parsed.columns, targets, strict=True)]
    unparsed = int((parsed.columns < 0).sum())
    # Laplace's rule keeps it off 0 and 1, which a few examples don't prove.
    sure = max((sum(right) + 1) / (len(texts) - unparsed + 2), 1 / len(prompt.classes) + 1e-3)
    fitting.work.measures |= {
        "label_scores": "parse",
        "unparsed": unparsed,
        "validation_right": right,
    }
    if unparsed:
        fitting.work.console.warn(f"{unparsed} of {len(texts)} answers on validation name no class")
    return replace(prompt, sure=sure)


def _validation(task: Task) -> tuple[list[str], list[str]]:
    return [e.input for e in task.validation], [e.target for e in task.validation]


def _score_answers(face: PromptAnswerer, fitting: Fitting) -> None:
    texts, targets = _validation(fitting.task)
    params = SamplingParams(max_tokens=face.prompt.max_tokens)
    answers = ask_all(face, [[{"role": "user", "content": text}] for text in texts], params)
    right = [is_right(a.text, t) for a, t in zip(answers, targets, strict=True)]
    fitting.work.measures["validation_right"] = right
