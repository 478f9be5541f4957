"""Learning-rate schedules: the share of the peak at each step."""

from __future__ import annotations

import math

from bedplate.train.config import ScheduleConfig


def share(config: ScheduleConfig, step: int, steps: int) -> float:
    """The share of the peak for step `step` of `steps`, counted from 0. The first step of a warm-up isn't zero."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    begin = config.warmup
    if config.decay == "constant":
        return 1.0
    if config.decay == "wsd":
        begin = max(begin, steps - math.ceil(config.decay_share * steps))
        if step < begin:
            return 1.0
    done = (step - begin) / max(1, steps - 1 - begin)
    fall = (1 + math.cos(math.pi * done)) / 2 if config.decay == "cosine" else 1 - done
    return config.final + (1 - config.final) * fall
