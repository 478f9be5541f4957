"""The page of a training run, finished or still going: its curves from `metrics.jsonl`, and what they add up to.

Each line of the file is one logged step: {"step", "loss" (nats per token), "bits_per_byte", "tokens_per_s", "mfu",
"lr", "grad_norm", "time_s", "validation": {"loss", "bits_per_byte"}?}. A curve whose figure no line has is left out.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from bedplate.console.figures import duration
from bedplate.errors import InputError
from bedplate.report.page import Cell, Page
from bedplate.report.plots import Series, line_plot
from bedplate.report.quantities import number_text

Metrics = list[dict[str, object]]
"""One dict a logged step, in order of steps."""


def training_page(metrics_path: Path, *, title: str, steps: int | None = None, finished: bool = True) -> str:
    """The run's page as HTML.

    `steps`: how many are planned. `finished=False`: the run is still at work in its partial folder. Raises InputError,
    naming the line, where the file is missing or corrupt.
    """
    metrics = read_metrics(metrics_path)
    last = _last_step(metrics)
    of = f" of {steps:,}" if steps is not None else ""
    page = Page(title, f"Step {last:,}{of}; {'finished' if finished else 'still training'}.")
    add_training(page, metrics)
    return page.html()


def read_metrics(path: Path) -> Metrics:
    """The lines of a metrics file. A last line cut off by a kill is left out; any other broken one is an InputError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}", "Give the folder of a training run.") from error
    lines = raw.split(b"\n")
    metrics: Metrics = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or not _is_figure(row.get("step")):
                raise ValueError("not an object with a step")
        except ValueError as error:
            if number == len(lines):  # no newline follows: it was being written
                break
            raise InputError(
                f"{path} line {number}: not a line of metrics ({error})",
                "Resume the run: it writes the file anew from its checkpoint.",
            ) from error
        metrics.append(row)
    return metrics


def add_training(page: Page, metrics: Metrics) -> None:
    """The curves of a run and what they add up to, below what the page has."""
    if not metrics:
        page.text("No step has been logged yet.")
        return
    page.heading("Training")
    page.facts(_summary(metrics))
    steps, losses = _column(metrics, "loss")
    broken = [step for step, loss in zip(steps, losses, strict=True) if not math.isfinite(loss)]
    if broken:
        page.warning(f"The loss was not a finite number at {len(broken)} logged steps, first at step {broken[0]:,.0f}.")
    _loss_plot(page, metrics, "loss", "Loss", "nats per token", "Cross-entropy of the next token.")
    _loss_plot(page, metrics, "bits_per_byte", "Bits per byte", "bits per byte",
               "The same in bits per byte of text, which compares between tokenizers: lower is better.")  # fmt: skip
    _plot(page, metrics, "tokens_per_s", "Speed", "tokens per second", "Tokens trained on each second.")
    _plot(page, metrics, "mfu", "Model FLOP utilisation", "share of the matrix rate",
          "Share of the machine's measured matrix rate that went into the model's own arithmetic.")  # fmt: skip
    _plot(page, metrics, "lr", "Learning rate", "learning rate", "The schedule, as it was applied.")
    _plot(page, metrics, "grad_norm", "Gradient norm", "norm before clipping",
          "Length of the whole gradient before it was clipped. A spike is a batch worth looking at.")  # fmt: skip
    rows = [
        [_whole(row["step"]), *(_cell(validation.get(key)) for key in ("loss", "bits_per_byte"))]
        for row in metrics
        if isinstance(validation := row.get("validation"), dict)
    ]
    if rows:
        inside = Page("")
        inside.table(["step", "loss (nats per token)", "bits per byte"], rows)
        page.fold(f"All {len(rows)} validations in figures", inside)


def _summary(metrics: Metrics) -> dict[str, Cell]:
    facts: dict[str, Cell] = {"steps": _last_step(metrics)}
    for key, name in (("loss", "last training loss, nats per token"), ("bits_per_byte", "last training bits per byte")):
        _, values = _column(metrics, key)
        if values:
            facts[name] = values[-1]
    steps, values = _validation(metrics, "bits_per_byte")
    what = "validation bits per byte"
    if not values:
        steps, values = _validation(metrics, "loss")
        what = "validation loss, nats per token"
    finite = [(value, step) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    if finite:
        best, at = min(finite)
        facts[f"last {what}"] = values[-1]
        facts[f"best {what}"] = f"{number_text(best)} at step {number_text(int(at))}"
    speeds = [v for v in _column(metrics, "tokens_per_s")[1] if math.isfinite(v)]
    if speeds:
        facts["median speed"] = f"{statistics.median(speeds):,.0f} tokens/s"
    shares = [v for v in _column(metrics, "mfu")[1] if math.isfinite(v)]
    if shares:
        facts["median model FLOP utilisation"] = f"{statistics.median(shares):.1%}"
    times = [v for v in _column(metrics, "time_s")[1] if math.isfinite(v)]
    if times:
        facts["time in training"] = duration(times[-1])
    return facts


def _loss_plot(page: Page, metrics: Metrics, key: str, title: str, unit: str, caption: str) -> None:
    """Training as a line, validation as dots on a line of its own."""
    x, y = _column(metrics, key)
    vx, vy = _validation(metrics, key)
    series = [Series("training", x, y)] if x else []
    if vx:
        series.append(Series("validation", vx, vy, marks=True))
    if series:
        page.figure(line_plot(series, title=title, x_label="step", y_label=unit), f"{title}. {caption}")


def _plot(page: Page, metrics: Metrics, key: str, title: str, unit: str, caption: str) -> None:
    x, y = _column(metrics, key)
    if not x:
        return
    positive = [v for v in y if math.isfinite(v) and v > 0]
    # A gradient norm that explodes would flatten everything else into a line on the floor.
    wide = key == "grad_norm" and len(positive) == len(y) and max(positive) > 50 * min(positive)
    picture = line_plot(
        [Series(title.lower(), x, y)], title=title, x_label="step", y_label=unit, log_y=wide, height=220
    )
    page.figure(picture, f"{title}. {caption}")


def _column(metrics: Metrics, key: str) -> tuple[Sequence[float], Sequence[float]]:
    """(steps, values) of the lines that have a figure under `key`."""
    pairs = [(_float(row["step"]), _float(row[key])) for row in metrics if _is_figure(row.get(key))]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _validation(metrics: Metrics, key: str) -> tuple[Sequence[float], Sequence[float]]:
    found = [{"step": row["step"], **v} for row in metrics if isinstance(v := row.get("validation"), dict)]
    return _column([{**row, "step": _float(row["step"])} for row in found], key)


def _last_step(metrics: Metrics) -> int:
    return _whole(metrics[-1]["step"]) if metrics else 0


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _float(value: object) -> float:
    """A figure from JSON as a float; a whole number too large for one becomes infinite."""
    assert isinstance(value, int | float)
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _whole(value: object) -> int:
    number = _float(value)
    return int(number) if math.isfinite(number) else 0


def _cell(value: object) -> Cell:
    return _float(value) if _is_figure(value) else None
