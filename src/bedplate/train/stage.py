"""The pretrain stage's declaration."""

from __future__ import annotations

from bedplate.ledger import Stage
from bedplate.train.config import PretrainConfig

PRETRAIN = Stage(
    name="pretrain",
    version=1,
    kind="run",
    config=PretrainConfig,
    inputs={"tokens": "tokens"},
    run="bedplate.train.pretrain:run",
    every_rank=True,
)
