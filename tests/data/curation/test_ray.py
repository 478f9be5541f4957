"""The same recipe on a Ray cluster gives the same corpus, to the byte."""

from __future__ import annotations

import pytest

from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.ledger import produce


@pytest.mark.slow
def test_a_local_cluster_of_two_workers_gives_the_same_documents(mingled, tmp_path):
    ray = pytest.importorskip("ray")
    config = mingled(400)
    here = produce(CURATE, CurateConfig(**config, workers=1), {}, tmp_path / "here", name="c", console=Console.quiet())
    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        there = produce(
            CURATE, CurateConfig(**config, engine="ray"), {}, tmp_path / "there", name="c", console=Console.quiet()
        )
    finally:
        ray.shutdown()
    assert there.digest == here.digest
    assert there.measures["kept"] == here.measures["kept"] > 250
    assert there.key == here.key
