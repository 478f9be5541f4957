"""`python tuning_process.py REQUEST.json`: one run of the adapt stage in a process of its own, to be killed.

The request: {"config", "inputs": role -> folder, "out", "checkpoint_flops"}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from bedplate.adapt.stage import ADAPT, AdaptConfig
from bedplate.adapt.tuning import tune
from bedplate.console import Console
from bedplate.ledger import open_artefact, produce


def main(request: Path) -> None:
    asked = json.loads(request.read_text())
    # Tiny models would never get as far as a checkpoint within a run.
    tune.CHECKPOINT_FLOPS = asked["checkpoint_flops"]
    torch.set_num_threads(1)
    inputs = {role: open_artefact(folder) for role, folder in asked["inputs"].items()}
    config = AdaptConfig.model_validate(asked["config"])
    produce(ADAPT, config, inputs, Path(asked["out"]), name="it", console=Console.quiet())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
