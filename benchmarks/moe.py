"""Step time of a mixture of experts beside a dense model that does the same arithmetic for each token.

    python benchmarks/moe.py [--dtype bfloat16|float32] [--threads N] [--rounds N] [--experts 8] [--active 2]

Both are decoders of train_step.py's shape (width 256, 6 layers, vocabulary 8,192, tied). The dense one's feed-forward
is 704 wide; the other has `experts` of 704 / `active` each, of which a token takes `active`: the same active parameters
but for the router. One step is forward, loss, backward, clipping and AdamW on 16 x 256 random tokens, fp32 parameters;
the mixture's loss includes load balancing. Both live in this process and take turns, who begins alternating, so that a
disturbance meets both. The result is the median over rounds of the ratio of the two times, with quartiles and range:
of the time on the clock, and of processor time, which doesn't tell idle threads but isn't disturbed by other processes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from bedplate.families import llama, mixtral
from bedplate.families.llama_config import LlamaConfig
from bedplate.families.mixtral_config import MixtralConfig
from bedplate.machine.probe import processor
from bedplate.nn.decoder import Decoder
from bedplate.nn.initialise import initialise
from bedplate.objectives.load_balance import Balanced
from bedplate.objectives.next_token import NextToken
from bedplate.objectives.term import Objective
from bedplate.scaling.flops import matrix_parameters

ROWS, LENGTH, VOCABULARY, INNER = 16, 256, 8192, 704
SHAPE = {
    "hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2,
    "vocab_size": VOCABULARY, "tie_word_embeddings": True,
}  # fmt: skip

Times = tuple[float, float]
"""Seconds on the clock and of the processor."""


def stepper(net: Decoder, objective: Objective[Decoder], dtype: torch.dtype) -> Callable[[], Times]:
    """A function that takes one step and says how long it took."""
    initialise(net, 0)
    net.train()
    net.compute_dtype = dtype
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)
    generator = torch.Generator().manual_seed(0)

    def step() -> Times:
        tokens = torch.randint(0, VOCABULARY, (ROWS, LENGTH + 1), generator=generator)
        batch = {
            "tokens": tokens[:, :-1],
            "targets": tokens[:, 1:],
            "segments": torch.zeros(ROWS, LENGTH, dtype=torch.int64),
            "positions": torch.arange(LENGTH).repeat(ROWS, 1),
            "keep": torch.ones(ROWS, LENGTH, dtype=torch.bool),
        }
        start, start_cpu = time.perf_counter(), time.process_time()
        optimiser.zero_grad(set_to_none=True)
        terms = objective(net, batch)
        torch.stack([t.coefficient * t.sum / (ROWS * LENGTH) for t in terms.values()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        return time.perf_counter() - start, time.process_time() - start_cpu

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--active", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dense = llama.build(LlamaConfig(**SHAPE, intermediate_size=INNER))
    sparse = mixtral.build(
        MixtralConfig(
            **SHAPE, intermediate_size=INNER // options.active, num_experts=options.experts,
            num_experts_per_tok=options.active,
        )
    )  # fmt: skip
    dtype = getattr(torch, options.dtype)
    steps = {
        "dense": stepper(dense, NextToken(), dtype),
        "experts": stepper(sparse, Balanced(NextToken(), load=0.01), dtype),
    }
    for _ in range(2):
        for step in steps.values():
            step()
    rounds = []
    for number in range(options.rounds):
        order = list(steps) if number % 2 else list(reversed(steps))
        rounds.append({name: steps[name]() for name in order})
    result = {
        "machine": processor().name,
        "torch": torch.__version__,
        "dtype": options.dtype,
        "threads": options.threads,
        "experts": options.experts,
        "active": options.active,
        "parameters": {"dense": count(dense), "experts": count(sparse)},
        "active_matrix_parameters": {"dense": matrix_parameters(dense), "experts": matrix_parameters(sparse)},
        "median_ms": {name: round(1e3 * statistics.median(r[name][0] for r in rounds), 1) for name in steps},
        "rounds": len(rounds),
        "ratio": spread([r["experts"][0] / r["dense"][0] for r in rounds]),
        "processor_ratio": spread([r["experts"][1] / r["dense"][1] for r in rounds]),
    }
    print(json.dumps(result, indent=2))


def spread(ratios: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(ratios, n=4)
    found = {"median": middle, "lower_quartile": low, "upper_quartile": high, "least": min(ratios), "most": max(ratios)}
    return {name: round(value, 3) for name, value in found.items()}


def count(net: Decoder) -> int:
    return sum(p.numel() for p in net.parameters())


if __name__ == "__main__":
    main()
