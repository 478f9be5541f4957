"""What a worker does: fit a way, answer every test example once, time single requests, write it all down."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bedplate.adapt.asking import ask_all
from bedplate.adapt.compare.examples import read_examples
from bedplate.adapt.compare.job import Job, Measurement
from bedplate.adapt.dispatch import open_way
from bedplate.adapt.endpoint import Spent, billed
from bedplate.adapt.face import Answerer, Classifier, Face
from bedplate.adapt.stage import ADAPT, AdaptConfig
from bedplate.console import Console
from bedplate.errors import InternalError
from bedplate.generate.params import SamplingParams
from bedplate.ledger.artefact import Artefact, open_artefact
from bedplate.ledger.atomic import atomic_write
from bedplate.ledger.manifest import Resource
from bedplate.ledger.production import produce
from bedplate.ledger.resources import Meter
from bedplate.tasks.examples import Example

AT_ONCE = 64
"""Test examples handed over together: enough to batch, few enough to see how far it is."""
WARM_UP = 2
LATENCY_S = 30.0
FEWEST_TIMED = 5
"""Timing ends after LATENCY_S seconds, but not before this many requests."""


@dataclass(frozen=True)
class Prediction:
    """One test example answered. probability: of the class, where there are classes. sources: documents cited."""

    id: str
    target: str
    answer: str
    probability: float | None = None
    abstained: bool = False
    sources: tuple[str, ...] = ()


def do(job: Job, console: Console) -> None:
    """Fit, answer, time; the measurement is written last and so says that all is there."""
    with billed() as bill:
        _do(job, console, lambda: bill.spent)


def _do(job: Job, console: Console, spent: Callable[[], Spent]) -> None:
    inputs: dict[str, Any] = {role: open_artefact(folder) for role, folder in job.inputs.items()}
    out = Path(job.out)
    tried_before = out.exists() or any(out.parent.glob(f"{out.name}.partial-*"))
    artefact = produce(
        ADAPT,
        AdaptConfig.model_validate(job.adapt),
        inputs,
        job.out,
        name=f"{job.name}, seed {job.seed}" if job.seed else job.name,
        console=console,
    )
    fitting = spent()
    meter = Meter()
    meter.start(lambda figures: None)
    began = time.monotonic()
    face = open_way(artefact)
    open_s = time.monotonic() - began
    before = spent()
    answer = _classes(face, job) if job.kind == "classification" else _texts(face, job)
    began = time.monotonic()
    predictions, prompt_tokens, completion_tokens = _all(answer, read_examples(Path(job.test)), console)
    answer_s = time.monotonic() - began
    answering = spent() - before
    read, written = statistics.fmean(prompt_tokens), statistics.fmean(completion_tokens)
    timed = _timed(face, job)
    figures = meter.stop()
    lines = (json.dumps(asdict(prediction), ensure_ascii=False) + "\n" for prediction in predictions)
    atomic_write(Path(job.predictions), "".join(lines))
    measured = Measurement(
        seed=job.seed,
        digest=artefact.digest,
        kind=artefact.kind,
        open_s=open_s,
        answer_s=answer_s,
        **_asked(answering, len(predictions), read, written),
        **_asked_for_fitting(fitting, known=not (tried_before and job.adapt.get("endpoint"))),
        peak_bytes=_greatest(artefact, figures, "peak_rss_bytes") or 0.0,
        peak_gpu_bytes=_greatest(artefact, figures, "peak_gpu_bytes"),
        **_fitting(artefact, job.kind),
        **timed,
    )
    atomic_write(Path(job.measured), measured.model_dump_json(indent=1) + "\n")


def _asked(spent: Spent, requests: int, read: float, written: float) -> dict[str, float | None]:
    """Tokens of a request: what an endpoint says it was asked, where one was; else what the way itself counted."""
    if spent.unknown:
        return {"prompt_tokens": None, "completion_tokens": None}
    if spent.requests:
        read, written = spent.prompt_tokens / requests, spent.completion_tokens / requests
    return {"prompt_tokens": read, "completion_tokens": written}


def _asked_for_fitting(spent: Spent, *, known: bool) -> dict[str, float | None]:
    """known: False where an earlier attempt, which nobody counted, asked the endpoint too."""
    if spent.unknown or not known:
        return {"fit_prompt_tokens": None, "fit_completion_tokens": None}
    return {"fit_prompt_tokens": spent.prompt_tokens, "fit_completion_tokens": spent.completion_tokens}


def _fitting(artefact: Artefact, kind: str) -> dict[str, Any]:
    """The account of fitting: the ledger's, which is of all attempts and of all that they did, loading included."""
    measures = artefact.measures
    validation = measures.get("validation_accuracy")
    return {
        "validation": float(validation) if isinstance(validation, int | float) else None,
        "chosen": measures,
        "labels_used": int(measures.get("labels_used", 0)),
        "labels_for_choices": _labels_for_choices(measures, kind),
        "fit_s": _resource(artefact, "wall_s") or 0.0,
        "fit_cpu_s": _resource(artefact, "cpu_s") or 0.0,
        "fit_gpu_s": _resource(artefact, "gpu_s") or 0.0,
        "fit_flops": _resource(artefact, "flops"),
        "own_bytes": sum(output.bytes for output in artefact.manifest.outputs),
    }


def _labels_for_choices(measures: Mapping[str, Any], kind: str) -> int:
    """Labelled validation examples that something was chosen by. The commonest class and a prompt for free answers are
    scored on validation, and nothing is chosen there."""
    way = measures.get("way")
    if way == "majority" or (kind == "generation" and way in ("zero-shot", "few-shot")):
        return 0
    return int(measures.get("validation_examples", 0))


def _greatest(artefact: Artefact, figures: Mapping[str, Resource], name: str) -> float | None:
    """The greater of what fitting and what answering took; None where neither says."""
    found = [_resource(artefact, name), figures[name].value if name in figures else None]
    return max((value for value in found if value is not None), default=None)


def _resource(artefact: Artefact, name: str) -> float | None:
    figure = artefact.manifest.resources.get(name)
    return None if figure is None else figure.value


Batch = tuple[list[Prediction], list[int], list[int]]
"""Predictions, prompt tokens and completion tokens, one for each example."""


def _all(answer: Callable[[Sequence[Example]], Batch], examples: Sequence[Example], console: Console) -> Batch:
    predictions: list[Prediction] = []
    read: list[int] = []
    written: list[int] = []
    with console.progress("test", total=len(examples), unit="examples") as progress:
        for start in range(0, len(examples), AT_ONCE):
            some, tokens, answered = answer(examples[start : start + AT_ONCE])
            predictions, read, written = predictions + some, read + tokens, written + answered
            progress.update(len(predictions))
    return predictions, read, written


def _classes(face: Face, job: Job) -> Callable[[Sequence[Example]], Batch]:
    if not isinstance(face, Classifier):
        raise InternalError(f"{job.name}: fitted to classes, and has no classify")
    if tuple(face.classes) != job.classes:
        raise InternalError(f"{job.name}: knows {len(face.classes)} classes, where the task has {len(job.classes)}")

    def answer(examples: Sequence[Example]) -> Batch:
        result = face.classify([example.input for example in examples])
        if len(result.labels) != len(examples):
            raise InternalError(f"{job.name}: {len(result.labels)} labels for {len(examples)} texts")
        column = {name: number for number, name in enumerate(result.classes)}
        predictions = [
            Prediction(example.id, example.target, label, float(row[column[label]]))
            for example, label, row in zip(examples, result.labels, result.scores, strict=True)
        ]
        return predictions, list(result.prompt_tokens), [0] * len(examples)

    return answer


def _texts(face: Face, job: Job) -> Callable[[Sequence[Example]], Batch]:
    if not isinstance(face, Answerer):
        raise InternalError(f"{job.name}: fitted to answers, and has no generate")
    params = SamplingParams(max_tokens=job.answer_tokens)

    def answer(examples: Sequence[Example]) -> Batch:
        answers = ask_all(face, [example.messages() for example in examples], params)
        predictions = [
            Prediction(
                example.id,
                example.target,
                given.text,
                abstained=given.abstained,
                sources=tuple(dict.fromkeys(citation.source for citation in given.citations)),
            )
            for example, given in zip(examples, answers, strict=True)
        ]
        return (
            predictions,
            [given.usage.prompt_tokens for given in answers],
            [given.usage.completion_tokens for given in answers],
        )

    return answer


def _timed(face: Face, job: Job) -> dict[str, Any]:
    """Single requests, one after the other, on examples that aren't the test's."""
    if not job.latency_requests:
        return {"latencies_s": (), "request_cpu_s": None, "request_gpu_s": 0.0}
    examples = read_examples(Path(job.warm))
    params = SamplingParams(max_tokens=job.answer_tokens)

    def ask(example: Example) -> None:
        if isinstance(face, Classifier) and job.kind == "classification":
            face.classify([example.input])
        elif isinstance(face, Answerer):
            face.generate(example.messages(), params)

    for example in examples[:WARM_UP]:
        ask(example)
    latencies: list[float] = []
    began, cpu = time.monotonic(), time.process_time()
    for number in range(job.latency_requests):
        if number >= FEWEST_TIMED and time.monotonic() - began > LATENCY_S:
            break
        start = time.perf_counter()
        ask(examples[(WARM_UP + number) % len(examples)])
        latencies.append(time.perf_counter() - start)
    used = (time.process_time() - cpu) / len(latencies)
    return {
        "latencies_s": tuple(latencies),
        "request_cpu_s": used,
        "request_gpu_s": statistics.fmean(latencies) if _on_accelerator() else 0.0,
    }


def _on_accelerator() -> bool:
    """Whether a model of this process lies on an accelerator, which then is occupied for as long as a request lasts."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()
