"""One stage of datatrove's pipeline on one worker; prints a line of JSON with its CPU time and counts.

    datatrove_stages.py extract IN OUT --extractor trafilatura|resiliparse    WARC files to JSON Lines
    datatrove_stages.py filters IN OUT       JSON Lines through Gopher repetition and quality, C4 and FineWeb
    datatrove_stages.py minhash IN OUT       JSON Lines through the four steps of MinHash, 14 bands of 8

`cpu_s` leaves out imports and the warm-up (spaCy's tokenizer, a first page); reading and writing JSON Lines are in it,
as they are in every datatrove stage. `steps` is the CPU time of parts: of `filters` each filter's own, without reading
and writing; of `minhash` its four steps. Extraction runs in datatrove's sandbox, a child process, with a patience of
60 s in place of one second: on a busy machine its default drops pages that have nothing wrong with them. Language
identification is off, as its model has to be downloaded. Trafilatura is the version that datatrove asks for, with
its settings (precision, no comments, deduplicated). datatrove has no step for resiliparse: the one here is what a user
would write: main content as formatted text, without alternative texts, links and comments.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trafilatura
from datatrove.data import Document, DocumentsPipeline
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.extractors.base import BaseExtractor
from datatrove.pipeline.filters.base_filter import BaseFilter, get_filter_result
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove_rules_table import filters
from loguru import logger
from resiliparse.extract.html2text import extract_plain_text

PATIENCE = 60.0
WARM_UP = (
    "<html><body><article>"
    + "<p>The end of the day was not that far, he said to them.</p>" * 20
    + "</article></body></html>"
)
CONFIG = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)


class Resiliparse(BaseExtractor):
    """Main content as plain text."""

    name = "Resiliparse"

    def __init__(self, timeout: float = PATIENCE) -> None:
        super().__init__(timeout)

    def extract(self, text: str) -> str:
        return extract_plain_text(
            text, preserve_formatting=True, main_content=True, alt_texts=False, links=False, comments=False
        )


def cpu() -> float:
    """Seconds so far, of this process and of its children that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


class Clock:
    """CPU time of named parts, in seconds."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}

    def of(self, name: str, work: Callable[[], None]) -> None:
        began = cpu()
        work()
        self.parts[name] = self.parts.get(name, 0.0) + cpu() - began


@dataclass
class Count:
    """What one filter took and let through. The executor copies its pipeline; this stays one."""

    seconds: float = 0.0
    given: int = 0
    kept: int = 0

    def __deepcopy__(self, memo: dict[int, object]) -> Count:
        return self


class Timed(PipelineStep):
    """A filter whose own CPU time is counted, with the documents that it was given and kept."""

    name = "timed filter"

    def __init__(self, judge: BaseFilter) -> None:
        super().__init__()
        self.judge, self.count = judge, Count()

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        for document in data:
            began = time.process_time()
            kept, _ = get_filter_result(self.judge.filter(document))
            self.count.seconds += time.process_time() - began
            self.count.given += 1
            if kept:
                self.count.kept += 1
                yield document


def execute(pipeline: list[PipelineStep], logs: Path, tasks: int = 1) -> None:
    LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(logs), skip_completed=False).run()


def keep_url(self, document: Document) -> dict[str, object]:
    """A line of JSON: the text and the address alone (the `adapter` of datatrove's writer)."""
    return {"url": document.metadata["url"], "text": document.text}


def reader(source: Path) -> JsonlReader:
    return JsonlReader(
        str(source),
        id_key="url",
        glob_pattern="*.jsonl",
        compression=None,
        adapter=lambda self, row, path, number: {
            "text": row["text"],
            "id": row["url"],
            "metadata": {"url": row["url"]},
        },
    )


def writer(out: Path) -> JsonlWriter:
    return JsonlWriter(str(out), output_filename="${rank}.jsonl", compression=None, adapter=keep_url)


def extract(source: Path, out: Path, extractor: str) -> dict[str, object]:
    step = Trafilatura(timeout=PATIENCE) if extractor == "trafilatura" else Resiliparse()
    step.extract(WARM_UP)
    clock = Clock()
    pages = WarcReader(str(source), glob_pattern="*.warc.gz")
    clock.of("extract", lambda: execute([pages, step, writer(out)], out.parent / "logs"))
    return {"cpu_s": clock.parts["extract"], "steps": clock.parts}


def judge(source: Path, out: Path) -> dict[str, object]:
    steps = [Timed(each) for each in filters()]
    for each in filters():
        each.filter(Document(text="The end of the day was not that far, he said to them.\n" * 20, id=""))
    clock = Clock()
    clock.of("filters", lambda: execute([reader(source), *steps, writer(out)], out.parent / "logs"))
    return {
        "cpu_s": clock.parts["filters"],
        "steps": {type(step.judge).__name__: step.count.seconds for step in steps},
        "given": {type(step.judge).__name__: step.count.given for step in steps},
        "left": {type(step.judge).__name__: step.count.kept for step in steps},
    }


def minhash(source: Path, out: Path) -> dict[str, object]:
    folders = {name: str(out.parent / f"minhash-{name}") for name in ("signatures", "buckets", "removed")}
    signature = MinhashDedupSignature(folders["signatures"], config=CONFIG)
    signature.get_shingles("The end of the day was not that far, he said to them.")
    clock = Clock()
    plan: list[tuple[str, list[PipelineStep], int]] = [
        ("signature", [reader(source), signature], 1),
        (
            "buckets",
            [MinhashDedupBuckets(folders["signatures"], folders["buckets"], config=CONFIG)],
            CONFIG.num_buckets,
        ),
        ("cluster", [MinhashDedupCluster(folders["buckets"], folders["removed"], config=CONFIG)], 1),
        ("filter", [reader(source), MinhashDedupFilter(folders["removed"]), writer(out)], 1),
    ]
    for name, pipeline, tasks in plan:
        clock.of(name, lambda p=pipeline, n=name, t=tasks: execute(p, out.parent / "logs" / n, t))
    return {"cpu_s": sum(clock.parts.values()), "steps": clock.parts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("extract", "filters", "minhash"))
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--extractor", choices=("trafilatura", "resiliparse"), default="trafilatura")
    options = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    logging.getLogger("trafilatura").setLevel(logging.ERROR)
    shutil.rmtree(options.out.parent, ignore_errors=True)
    options.out.mkdir(parents=True)
    if options.stage == "extract":
        report = extract(options.source, options.out, options.extractor)
    else:
        report = {"filters": judge, "minhash": minhash}[options.stage](options.source, options.out)
    report["kept"] = sum(1 for file in options.out.glob("*.jsonl") for _ in file.open())
    report["total_cpu_s"] = cpu()
    report["versions"] = {"trafilatura": trafilatura.__version__}
    print("\n" + json.dumps(report))


if __name__ == "__main__":
    main()
