"""How often each source is seen, out of what it holds and what is asked for: the whole mixture before it is made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bedplate.config.nearest import expected_one_of
from bedplate.data.mix.config import MixConfig
from bedplate.errors import InputError


@dataclass(frozen=True)
class Portion:
    """What an epoch takes of a source. tokens: estimated, by bytes_per_token; capped: it can't give its share."""

    bytes: int
    tokens: float
    epochs: float
    mixed_tokens: float
    share: float
    capped: bool

    def measures(self) -> dict[str, Any]:
        return asdict(self)


def plan_mixture(sizes: Mapping[str, int], config: MixConfig) -> dict[str, Portion]:
    """The portions of sources that hold `sizes` bytes of training text. A source that would be seen more than
    most_epochs times is seen that often, and the others make up for it in proportion to their shares.

    sizes has every source, those that hold nothing as 0: their share goes to the others. Raises InputError for a weight
    or bytes_per_token of a source that isn't there, or where nothing is left.
    """
    check_labels(config, sizes)
    tokens = {label: size / config.rate(label) for label, size in sizes.items()}
    shares = _shares(tokens, config)
    wanted = {label for label, share in shares.items() if share > 0 and tokens[label] > 0}
    if not wanted:
        raise InputError(
            "mix: no source with a weight holds any training text",
            "Give one of them a weight that holds some after what was left out of it.",
        )
    left = config.budget if config.budget is not None else sum(tokens[label] for label in wanted)
    taken: dict[str, float] = {}
    while open_ := wanted - set(taken):
        total = sum(shares[label] for label in open_)
        over = [
            label
            for label in sorted(open_)
            if left * shares[label] / total > config.most_epochs * tokens[label] * (1 + 1e-12)
        ]
        if not over:
            taken.update({label: left * shares[label] / total for label in open_})
            break
        for label in over:
            taken[label] = config.most_epochs * tokens[label]
            left -= taken[label]
    mixed = sum(taken.values())
    return {
        label: Portion(
            bytes=sizes[label],
            tokens=tokens[label],
            epochs=taken.get(label, 0.0) / tokens[label] if tokens[label] else 0.0,
            mixed_tokens=taken.get(label, 0.0),
            share=taken.get(label, 0.0) / mixed,
            capped=label in taken and taken[label] >= config.most_epochs * tokens[label] * (1 - 1e-9),
        )
        for label in sizes
    }


def check_labels(config: MixConfig, labels: Collection[str]) -> None:
    """Raises InputError for a weight or bytes_per_token of what isn't among the labels of the sources."""
    rates = config.bytes_per_token if isinstance(config.bytes_per_token, dict) else {}
    for what, given in (("a weight", config.weights or {}), ("bytes_per_token", rates)):
        for label in given:
            if label not in labels:
                raise InputError(
                    f"mix: {what} for {label!r}, which is no source; {expected_one_of(label, labels)}",
                    "Name the sources as the recipe does.",
                )


def _shares(tokens: Mapping[str, float], config: MixConfig) -> dict[str, float]:
    if config.temperature is not None:
        return {label: count ** (1 / config.temperature) if count else 0.0 for label, count in tokens.items()}
    if config.weights is None:
        return dict(tokens)
    if config.rest == "drop":
        return {label: config.weights.get(label, 0.0) for label in tokens}
    # What isn't named keeps the share that it has; what is named, and holds anything, divides the rest among itself.
    named = {label: weight for label, weight in config.weights.items() if tokens[label]}
    unit = sum(tokens[label] for label in named) / (sum(named.values()) or 1)
    return {
        label: config.weights[label] * unit if label in config.weights else count for label, count in tokens.items()
    }
