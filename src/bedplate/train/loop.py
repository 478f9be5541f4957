"""The one training loop: every objective, every size, one process or many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import torch
from torch import Tensor, nn

from bedplate.console import Console
from bedplate.data.row_sources import RowSource
from bedplate.errors import InternalError, RecipeError
from bedplate.nn.parameters import parameter_table
from bedplate.objectives.hooks import ActsAfterStep, Coupled, Reports, Resumes
from bedplate.objectives.term import Batch, Net, Objective
from bedplate.train import optimiser as optimisers
from bedplate.train.checkpoint import Checkpoints, Saved
from bedplate.train.config import TrainConfig
from bedplate.train.coupled import coupled_backward
from bedplate.train.loader import Loader
from bedplate.train.metrics import Metrics, Outcome, Unlogged
from bedplate.train.parallel import Parallel, blocks_of
from bedplate.train.placement import Placement
from bedplate.train.schedule import share
from bedplate.train.signals import StopSignals
from bedplate.train.step import Step
from bedplate.train.validation import Validation

Judge = Callable[[int, dict[str, Any]], bool]
"""(steps done, validation scores) -> whether the run is to end here."""


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and is checked against, if against anything.

    pairs_per_byte: supervised tokens for each byte of training text, which turns nats a token into bits a byte; None
    where the loss has no such meaning.
    """

    rows: RowSource
    validation: Validation | None
    pairs_per_byte: float | None = None


class Trainer(Generic[Net]):
    """Trains `net` in place; what it writes goes under `folder`.

    net: whole, on CPU, with `blocks` and `compute_dtype` as `nn.stack.Decoder` has them. Parameters that require
    gradients are trained, clipped and checkpointed, and must be fp32. Those of role "state" are checkpointed with them,
    but set by the objective alone; the others stay as they are, in their dtype.
    flops_per_token: operations of a step for one token, for MFU; 0 where it isn't wanted.
    """

    def __init__(
        self,
        net: Net,
        objective: Objective[Net],
        data: TrainingData,
        config: TrainConfig,
        placement: Placement,
        parallel: Parallel,
        folder: Path,
        console: Console,
        flops_per_token: float = 0.0,
    ) -> None:
        self.config, self.data, self.placement, self.parallel = config, data, placement, parallel
        self.console = console if parallel.leads else Console.quiet()
        self.device = torch.device(placement.device)
        self.peak = placement.flops_per_second
        """The highest matrix rate measured so far: what MFU is a share of. 0 where none is measured."""
        self.folder = folder
        self.table = parameter_table(net)
        self.flops_per_token = flops_per_token
        if config.batch % parallel.data_ranks:
            raise RecipeError(
                f"batch {config.batch} can't be shared evenly by {parallel.data_ranks} data ranks",
                "Use a multiple of them, or start fewer processes.",
            )
        net.to(self.device)
        net.compute_dtype = placement.dtype  # type: ignore[assignment]  # torch types attributes as tensors
        self.net, self.step = net, Step(net, objective)
        parallel.apply(self.step, net, placement.dtype)
        if placement.compiled:
            for block in blocks_of(net):
                block.compile(dynamic=False)
        self.states = {name: p for name, p in net.named_parameters() if self.table[name].role == "state"}
        for p in self.states.values():
            p.requires_grad_(False)
        self.parameters = _trained(net)
        self._names = {id(p): name for name, p in (self.parameters | self.states).items()}
        self.optimisers = optimisers.build(
            self.parameters, self.table, config.optimiser, self._gathered, self._scattered, placement.dtype
        )
        self.loader = Loader(data.rows, config.batch, parallel, self.device)
        self.checkpoints = Checkpoints(folder / "checkpoints", config.keep_checkpoints, self.console.warn)
        self.metrics: Metrics | None = None

    def train(
        self,
        until: int | None = None,
        *,
        judge: Judge | None = None,
        before_step: Callable[[int], None] | None = None,
    ) -> dict[str, Any]:
        """Run to the last step, from the newest checkpoint if there is one. Returns the last validation's scores.

        until: stop after this many steps of the whole, and leave a checkpoint to go on from. judge: asked after each
        validation whether to end early. before_step: told the number of each step, counted from 0, before it is taken:
        what is drawn at random in it must be a function of that number.
        """
        end = min(until or self.config.steps, self.config.steps)
        unlogged, clock = self._resume()
        scores: dict[str, Any] = {}
        self.step.train()
        stops = StopSignals(self.console.say)
        with self.metrics or nullcontext(), self.checkpoints, self._progress() as progress, stops:
            for step in range(unlogged.step, end):
                rate = optimisers.set_learning_rate(
                    self.optimisers, share(self.config.schedule, step, self.config.steps)
                )
                if before_step is not None:
                    before_step(step)
                unlogged.add(self.update(self.loader.batch(step)))
                done = step + 1
                last = done == end
                stopped = self.parallel.largest(stops.received, self.device) if self._due(done) else 0
                validates = last or done % self.config.validate_every == 0
                if last or validates or done % self.config.log_every == 0:
                    line = self._line(unlogged, rate, clock)
                    if validates and self.data.validation is not None:
                        scores = self.validate()
                        line["validation"] = scores
                        last |= judge is not None and judge(done, scores)
                    if validates and self.peak:
                        self.peak = max(self.peak, self.placement.measured_again())
                    self._report(line, progress)
                    clock.restart()
                if last or stopped or done % self.config.checkpoint_every == 0:
                    with clock.excluding():
                        self._save(unlogged, clock.seconds())
                if stopped and not last:
                    self.checkpoints.wait()
                    stops.act(stopped)
                if last:
                    break
            self.checkpoints.wait()
        # Resumed after the last step, the checkpoint is the finished model.
        return scores or self.validate()

    def update(self, batch: Batch) -> Outcome:
        """One optimiser step on this rank's rows."""
        weights = self.step.objective.weights(batch)
        weights = {name: self.parallel.sum_over_data(w.clone()) for name, w in weights.items()}
        for o in self.optimisers:
            o.zero_grad(set_to_none=True)
        loss = self._backward(self.micro_batches(batch), weights)
        self.parallel.complete(self.parameters, self.table)
        norm = self.parallel.clip(self.parameters, self.table, self.config.optimiser.clip)
        for o in self.optimisers:
            o.step()
        if isinstance(self.step.objective, ActsAfterStep):
            with torch.no_grad():
                self.step.objective.after_step(self.net, self.parallel.sum_over_data)
        tokens = batch["tokens"].numel() * self.parallel.data_ranks
        return Outcome(loss, norm, weights, tokens)

    def _backward(self, parts: list[Batch], weights: dict[str, Tensor]) -> Tensor:
        """Gradients of this rank's micro-batches; returns the loss of the global batch."""
        objective = self.step.objective
        if isinstance(objective, Coupled):
            return coupled_backward(self.step, objective, parts, weights, self.parallel)
        total = torch.zeros((), device=self.device)
        for part in parts:
            loss = self.step.share(part, weights)
            loss.backward()
            total += loss.detach()
        return self.parallel.sum_over_data(total)

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        """The scores of the net as it stands; none where there is nothing to check it against."""
        if self.data.validation is None:
            return {}
        self.step.eval()
        # A CPU's compiler takes attention without gradients for a pattern of its own and fails at it; and the blocks
        # would be compiled a second time for little.
        eager = self.placement.compiled and self.device.type == "cpu"
        with torch.compiler.set_stance("force_eager") if eager else nullcontext():
            scores = self.data.validation.scores(self)
        self.step.train()
        return scores

    @property
    def micro_size(self) -> int:
        """Rows in one forward pass on one rank."""
        return min(self.config.micro_batch or self.loader.share, self.loader.share)

    def micro_batches(self, batch: Batch) -> list[Batch]:
        """This rank's rows of a step in pieces for one forward pass each."""
        starts = range(0, self.loader.share, self.micro_size)
        return [{name: value[a : a + self.micro_size] for name, value in batch.items()} for a in starts]

    def _due(self, done: int) -> bool:
        """Whether ranks look whether one of them was told to stop: each step alone, now and then together."""
        return self.parallel.mesh is None or done % self.config.log_every == 0

    def _line(self, unlogged: Unlogged, rate: float, clock: Clock) -> dict[str, Any]:
        losses, tokens = unlogged.take()
        # Exact sums, so that a line is the same whether or not a resumed run had its first losses from a checkpoint.
        loss = math.fsum(losses) / len(losses)
        seconds = clock.seconds()
        speed = tokens / seconds
        line: dict[str, Any] = {"step": unlogged.step, "loss": loss}
        if self.data.pairs_per_byte is not None:
            line["bits_per_byte"] = loss / math.log(2) * self.data.pairs_per_byte
        if isinstance(self.step.objective, Reports):
            line |= self.step.objective.report()
        line["tokens_per_s"] = _figures(speed)
        if self.flops_per_token:
            peak = self.peak * self.parallel.ranks
            line["mfu"] = _figures(speed * self.flops_per_token / peak) if peak else None
        return line | {"lr": rate, "grad_norm": unlogged.norm, "time_s": _figures(seconds), "steps": len(losses)}

    def _report(self, line: dict[str, Any], progress: Any) -> None:
        if self.metrics is None:
            return
        left = (self.config.steps - line["step"]) * line["time_s"] / line.pop("steps")
        self.metrics.write(line)
        shown = {"loss": f"{line['loss']:.3f}"}
        if "bits_per_byte" in line:
            shown["bits/byte"] = f"{line['bits_per_byte']:.3f}"
        shown["tok/s"] = f"{line['tokens_per_s']:,.0f}"
        if line.get("mfu") is not None:
            shown["MFU"] = f"{line['mfu']:.0%}"
        if "validation" in line and self.data.validation is not None:
            shown |= self.data.validation.shown(line["validation"])
        progress.update(line["step"], **shown, left=f"{int(left) // 60}:{int(left) % 60:02d}")

    def _resume(self) -> tuple[Unlogged, Clock]:
        """Take up the newest checkpoint where there is one, and the metrics that it knows of."""
        saved: Saved | None = None
        if self.parallel.leads:
            self.checkpoints.clean()
            saved = self.checkpoints.newest()
        step = self.parallel.from_leader(saved.step if saved else 0, self.device)
        if step and saved is None:
            saved = self.checkpoints.at(step)
        rest: dict[str, Any] = saved.rest if saved else {"metrics_bytes": 0, "losses": [], "tokens": 0, "seconds": 0.0}
        if saved:
            self.console.say(f"going on from step {step}")
            self.load_state(saved.model(), saved.optimiser())
            if isinstance(self.step.objective, Resumes):
                self.step.objective.resume(rest.get("gathered", []))
        if self.parallel.leads:
            self.metrics = Metrics(self.folder / "metrics.jsonl", rest["metrics_bytes"])
        return Unlogged(step, rest["losses"], rest["tokens"]), Clock(rest["seconds"])

    def load_state(self, model: dict[str, Tensor], moments: dict[str, Tensor]) -> None:
        """Put whole tensors in the place of parameters, of the states that are among them, and of optimiser moments,
        each rank its part."""
        states = {name: p for name, p in self.states.items() if name in model}
        with torch.no_grad():
            for name, p in (self.parameters | states).items():
                p.copy_(self._scattered(model[name].to(self.device), p))
        for o in self.optimisers:
            for group in o.param_groups:
                for p in group["params"]:
                    prefix = self._names[id(p)] + "/"
                    for key in (k for k in moments if k.startswith(prefix)):
                        whole = moments[key].to(p.device if moments[key].ndim or group.get("fused") else "cpu")
                        o.state[p][key.removeprefix(prefix)] = self._scattered(whole, p)

    def whole_model(self) -> dict[str, Tensor]:
        """Copies of the whole trained parameters and of the states, on CPU. Every rank takes part."""
        return {name: self._copied(p.detach(), p) for name, p in (self.parameters | self.states).items()}

    def whole_optimiser(self) -> dict[str, Tensor]:
        """Copies of the whole optimiser moments, on CPU, as "parameter/moment". Every rank takes part."""
        return {
            f"{self._names[id(p)]}/{key}": self._copied(value, p)
            for o in self.optimisers
            for p, state in o.state.items()
            for key, value in state.items()
        }

    def _save(self, unlogged: Unlogged, seconds: float) -> None:
        unlogged.settle()
        model, moments = self.whole_model(), self.whole_optimiser()
        if self.metrics is not None:
            rest = {
                "metrics_bytes": self.metrics.bytes(),
                "losses": list(unlogged.losses),  # a copy: it is written while training goes on
                "tokens": unlogged.tokens,
                "seconds": seconds if unlogged.losses else 0.0,
            }
            if isinstance(self.step.objective, Resumes):
                rest["gathered"] = self.step.objective.gathered()
            self.checkpoints.save(unlogged.step, model, moments, rest)

    def _copied(self, part: Tensor, p: Tensor) -> Tensor:
        return self._gathered(part, p).to("cpu", copy=True).contiguous()

    def _gathered(self, part: Tensor, p: Tensor) -> Tensor:
        return self.parallel.gather(part, p, self.table[self._names[id(p)]].shard)

    def _scattered(self, whole: Tensor, p: Tensor) -> Tensor:
        return self.parallel.scatter(whole, p, self.table[self._names[id(p)]].shard)

    @contextmanager
    def _progress(self) -> Iterator[Any]:
        context: Any = nullcontext()
        if self.parallel.leads:
            context = self.console.progress("training", total=self.config.steps, unit="steps")
        with context as progress:
            yield progress


class Clock:
    """Seconds of training since the last line, without what is excluded."""

    def __init__(self, before: float = 0.0) -> None:
        """before: seconds of an interrupted attempt that no line has told of."""
        self.restart()
        self._excluded = -before

    def restart(self) -> None:
        self._start, self._excluded = time.perf_counter(), 0.0

    def seconds(self) -> float:
        return max(time.perf_counter() - self._start - self._excluded, 1e-9)

    @contextmanager
    def excluding(self) -> Iterator[None]:
        """What happens inside doesn't count."""
        start = time.perf_counter()
        yield
        self._excluded += time.perf_counter() - start


def _trained(net: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that a run changes, by name."""
    found = {name: p for name, p in net.named_parameters() if p.requires_grad}
    if not found:
        raise InternalError("nothing to train: no parameter requires gradients")
    for name, p in found.items():
        if p.dtype != torch.float32:
            raise InternalError(f"{name} is to be trained in {p.dtype}; small updates would be rounded away")
    return found


def _figures(value: float) -> float:
    """Six figures: enough to read, and never rounded to nothing."""
    return float(f"{value:.6g}")
