"""Relative position buckets against T5's own function in transformers."""

from __future__ import annotations

import pytest
import torch
from transformers.models.t5.modeling_t5 import T5Attention

from bedplate.nn.relative import RelativeBuckets

DISTANCES = torch.arange(-300, 301)


@pytest.mark.parametrize("two_sided", [True, False])
@pytest.mark.parametrize(("buckets", "furthest"), [(32, 128), (7, 20), (11, 50), (4, 3), (64, 1000)])
def test_every_distance_falls_into_the_bucket_of_transformers(two_sided: bool, buckets: int, furthest: int) -> None:
    expected = T5Attention._relative_position_bucket(DISTANCES, two_sided, buckets, furthest)
    bias = RelativeBuckets(1, buckets, furthest, two_sided=two_sided).build()
    # The last of 301 places sees distances down to -300, the first of them up to 300.
    with torch.no_grad():
        bias.weight.copy_(torch.arange(buckets)[:, None])
    found = bias(301, 301, torch.float32)[0, 0].long()
    for query in (0, 17, 150, 300):
        assert torch.equal(found[query], expected[300 - query : 601 - query])


def test_the_last_queries_are_a_part_of_the_whole() -> None:
    bias = RelativeBuckets(3, 9, 20, two_sided=False).build()
    torch.nn.init.normal_(bias.weight, generator=torch.Generator().manual_seed(0))
    whole = bias(40, 40, torch.float32)
    assert whole.shape == (1, 3, 40, 40)
    assert torch.equal(bias(1, 40, torch.float32), whole[:, :, -1:])
    assert torch.equal(bias(5, 40, torch.float32), whole[:, :, -5:])
