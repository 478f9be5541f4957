"""The server under 1, 4 and 16 streams at once: tokens a second in all, and how long each client waits.

    python benchmarks/serving.py MODEL [--streams 1,4,16] [--rounds 3] [--tokens 128]

MODEL is a model's folder with a chat template (`bedplate import` makes one). The script starts `bedplate serve` on a
free port of the loopback, in bfloat16 unless --dtype says otherwise, and asks it as its users do: the official `openai`
client, streams of /v1/chat/completions, exactly --tokens each (end tokens ignored), questions of about 60 tokens that
differ from each other. A measurement waits until other processes take less than 8% of the machine (for --patience
seconds at most), records what they take while the clock runs, and is marked where that is above 8%.

Of each number of streams: tokens/s summed over all streams, from the first request to the last token; time to the
first token and time between two tokens, as the clients see them. Medians over the rounds, with the range.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import openai
import torch

from bedplate.machine.load import LoadWatch, foreign_cpu_share
from bedplate.machine.probe import processor

QUIET = 0.08
TOPICS = ("bridges", "bread", "tides", "maps", "clocks", "glass", "bees", "salt", "kites", "rivers", "ink", "wool",
          "lenses", "gears", "harbours", "chess")  # fmt: skip


@dataclass(frozen=True)
class Measurement:
    """first_s: time to the first token of each stream. between_s: times between two tokens, all streams together.
    foreign: share of the machine that others took meanwhile."""

    streams: int
    tokens_per_s: float
    first_s: list[float]
    between_s: list[float]
    foreign: float | None

    @property
    def disturbed(self) -> bool:
        return self.foreign is None or self.foreign > QUIET


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--streams", default="1,4,16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--patience", type=float, default=120)
    parser.add_argument("--json", help="where to keep every figure")
    options = parser.parse_args()
    counts = [int(n) for n in options.streams.split(",")]
    with Server(options.model, options.dtype) as server:
        asyncio.run(measure(server.url, 2, 16))  # first passes through the code are slower
        found = []
        for round_ in range(options.rounds):
            for count in counts[round_ % len(counts) :] + counts[: round_ % len(counts)]:
                wait_for_quiet(options.patience)
                watch = LoadWatch()
                tokens_per_s, first, between = asyncio.run(measure(server.url, count, options.tokens))
                load = watch.load()
                # The server is a child of this process: what both take is ours.
                foreign = None if load is None else min(1.0, load.foreign + load.stolen)
                found.append(Measurement(count, tokens_per_s, first, between, foreign))
    report(found, counts)
    if options.json:
        about = {"processor": processor().name, "python": platform.python_version(), "torch": torch.__version__}
        with open(options.json, "w") as file:
            json.dump({**about, "dtype": options.dtype, "measurements": [asdict(m) for m in found]}, file, indent=1)
    return 0


class Server:
    """`bedplate serve` as a process, from `with` to its end."""

    def __init__(self, model: str, dtype: str) -> None:
        self._command = [sys.executable, "-m", "bedplate", "serve", f"model={model}", "--port", "0", "--dtype", dtype]

    def __enter__(self) -> Server:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if found := re.search(r"serving on (http://\S+)", line):
                self.url = found.group(1)
                return self
        raise SystemExit("the server didn't start:\n" + "".join(said))

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)


async def measure(url: str, streams: int, tokens: int) -> tuple[float, list[float], list[float]]:
    """Tokens/s in all, seconds to each stream's first token, seconds between tokens."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", timeout=600, max_retries=0) as client:
        began = time.perf_counter()
        each = await asyncio.gather(*(stream(client, i, tokens) for i in range(streams)))
        seconds = time.perf_counter() - began
    between = [b - a for times in each for a, b in pairwise(times[1:])]
    return streams * tokens / seconds, [times[1] - times[0] for times in each], between


async def stream(client: openai.AsyncOpenAI, number: int, tokens: int) -> list[float]:
    """When the request was sent, and when each piece of its answer came."""
    topic = TOPICS[number % len(TOPICS)]
    question = (
        f"{number}. Tell me in plain words about {topic}: what they are, who made the first, and why they matter."
    )
    times = [time.perf_counter()]
    answer = await client.chat.completions.create(
        model="model",
        messages=[{"role": "user", "content": question}],
        temperature=0,
        max_tokens=tokens,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"ignore_eos": True},
    )
    written = 0
    async for chunk in answer:
        if chunk.choices and chunk.choices[0].delta.content:
            times.append(time.perf_counter())
        if chunk.usage:
            written = chunk.usage.completion_tokens
    if written != tokens:
        raise SystemExit(f"a stream of {written} tokens where {tokens} were asked for: not comparable")
    return times


def wait_for_quiet(patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        share = foreign_cpu_share(1.0)
        if share is None or share < QUIET:
            return


def report(found: Sequence[Measurement], counts: Sequence[int]) -> None:
    print("| streams | tokens/s in all | first token, ms, p50 / p95 | between tokens, ms, p50 / p95 | disturbed |")
    print("|---|---|---|---|---|")
    for count in counts:
        here = [m for m in found if m.streams == count]
        speeds = [m.tokens_per_s for m in here]
        first = [1000 * s for m in here for s in m.first_s]
        between = [1000 * s for m in here for s in m.between_s]
        print(
            f"| {count} | {statistics.median(speeds):.0f} ({min(speeds):.0f} - {max(speeds):.0f}) | "
            f"{quantile(first, 0.5):.0f} / {quantile(first, 0.95):.0f} | "
            f"{quantile(between, 0.5):.0f} / {quantile(between, 0.95):.0f} | "
            f"{sum(m.disturbed for m in here)} of {len(here)} |"
        )


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    sys.exit(main())
