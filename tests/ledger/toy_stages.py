"""Small real stages for the tests of the ledger, the runner and the command line. Imported by name, also by processes
that the tests start.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from pydantic import Field

from bedplate.config import Config, execution
from bedplate.ledger import SourceInput, Stage, Work


class WriteConfig(Config):
    text: str = Field(description="What to write.")
    copies: int = Field(1, ge=1, description="How many times.")
    workers: int = execution(1, description="How many at once.", ge=1)


def write(config: WriteConfig, inputs, work: Work) -> None:
    (work.path / "text.txt").write_text(config.text * config.copies)
    (work.path / "more").mkdir(exist_ok=True)
    (work.path / "more" / "date.txt").write_text(str(time.time_ns()))
    work.volatile("more/*")
    work.add_flops(1000, "one a letter")
    work.measures["letters"] = len(config.text) * config.copies


WRITE = Stage("write", 1, "toy", WriteConfig, {}, "toy_stages:write")
WRITE_2 = Stage("write", 2, "toy", WriteConfig, {}, "toy_stages:write")


class JoinConfig(Config):
    separator: str = Field(" ", description="Between the parts.")


def join(config: JoinConfig, inputs, work: Work) -> None:
    parts = [inputs["first"], *inputs.get("others", [])]
    text = config.separator.join(part.file("text.txt").read_text() for part in parts)
    (work.path / "text.txt").write_text(text)
    work.measures.update(parts=len(parts), letters=len(text))


JOIN = Stage(
    "join", 1, "joined", JoinConfig, {"first": "toy|joined", "others": "toy*", "aside": "toy?"}, "toy_stages:join"
)


class SlowConfig(Config):
    parts: int = Field(description="How many files to write.")
    pause_s: float = execution(0.05, description="Time for each.")


def slow(config: SlowConfig, inputs, work: Work) -> None:
    """Writes part after part and skips what an earlier attempt finished; tells of each part that it wrote itself."""
    from bedplate.ledger import atomic_write

    with work.console.progress("parts", config.parts) as progress:
        for index in range(config.parts):
            path = work.path / f"part-{index}.txt"
            if not path.exists():
                time.sleep(config.pause_s)
                atomic_write(path, f"part {index}")
                work.console.say(f"wrote {index}")
            progress.update(index + 1)
    work.measures["parts"] = config.parts


SLOW = Stage("slow", 1, "toy", SlowConfig, {}, "toy_stages:slow")


class FillConfig(Config):
    megabytes: int = Field(description="How much to write.")


def fill(config: FillConfig, inputs, work: Work) -> None:
    for index in range(config.megabytes):
        path = work.path / f"{index:04}.bin"
        if not path.exists():
            path.with_suffix(".part").write_bytes(bytes(1 << 20))
            path.with_suffix(".part").rename(path)


FILL = Stage("fill", 1, "toy", FillConfig, {}, "toy_stages:fill")


class ReadConfig(Config):
    path: Path = Field(description="A file.")


def read(config: ReadConfig, inputs, work: Work) -> None:
    (work.path / "text.txt").write_bytes(config.path.read_bytes())


def read_sources(config: ReadConfig) -> list[SourceInput]:
    data = config.path.read_bytes()
    return [SourceInput(config.path, hashlib.sha256(data).hexdigest(), len(data), data.count(b"\n"))]


READ = Stage("read", 1, "toy", ReadConfig, {}, "toy_stages:read", sources="toy_stages:read_sources")


class FailConfig(Config):
    how: str = Field(description="What goes wrong.")


def fail(config: FailConfig, inputs, work: Work) -> None:
    (work.path / "before.txt").write_text("written before it went wrong")
    match config.how:
        case "bug":
            raise ValueError("a bug of ours")
        case "nothing":
            (work.path / "before.txt").unlink()
        case "link":
            (work.path / "link").symlink_to("before.txt")
        case "measure":
            work.measures["bad"] = object()
        case "rust":
            raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
        case "odd figures":
            work.measures.update(loss=float("nan"), peak=float("inf"), where=Path("a/b"), pair=(1, 2))


FAIL = Stage("fail", 1, "toy", FailConfig, {}, "toy_stages:fail")


class TogetherConfig(Config):
    word: str = Field(description="What every rank writes.")


def together(config: TogetherConfig, inputs, work: Work) -> None:
    import os

    rank = os.environ["RANK"]
    (work.path / f"rank-{rank}.txt").write_text(config.word)
    deadline = time.monotonic() + 30
    while not (work.path / "rank-1.txt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    work.measures["rank"] = int(rank)


TOGETHER = Stage("together", 1, "toy", TogetherConfig, {}, "toy_stages:together", every_rank=True)
