"""Curation: `bedplate curate` against datatrove on the same input, with both extractors.

    python benchmarks/curate.py [--pages 2000] [--documents 5000] [--rounds 3] [--work FOLDER]

Three stages, each with the same input for both: `extract`, WARC files to texts, once with Trafilatura and once with
resiliparse; `filters`, the texts of either through the rules of Gopher, C4 and FineWeb; `minhash`, made texts with
planted copies through MinHash with 14 bands of 8. One worker each. Input is `curate_input.py`'s; datatrove runs in an
environment of its own, made on first use from curate_peers/datatrove.txt (about 0.9 GB), or in --peer-python's.

Each measurement is a fresh process, contestants take turns, the order rotates by round. What counts is CPU time, of
the process with all its children. `stage` is the work alone: ours is what the manifest counts for the stages that do it
(`bedplate_recipes.STAGES`); datatrove's leaves out imports and a warm-up, and for the filters reading and writing as
well. `command` is all that the command took, from the interpreter's start. Memory is the tree's peak (process_tree.py).
Agreement is counted document by document: every rule of datatrove by itself against our column and its threshold.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from curate_input import DATA, SHARES, write_texts
from curate_peers import bedplate_recipes as bedplate
from curate_peers import process_tree, scores
from curate_peers.input_pages import write_pages
from curate_peers.planted import copies_found
from curate_peers.tables import Measurement, command_ms, markdown, stage_ms
from train_step import CACHE, wait_until_quiet

from bedplate.machine.load import LoadWatch
from bedplate.machine.probe import processor

HERE = Path(__file__).resolve().parent
PEERS = HERE / "curate_peers"
EXTRACTORS = ("trafilatura", "resiliparse")
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "DO_NOT_TRACK": "true",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Case:
    """One stage with one input: `extractor` is whose, or whose texts they are; None for made texts."""

    stage: str
    extractor: str | None

    @property
    def name(self) -> str:
        return self.stage if self.extractor is None else f"{self.stage}, {self.extractor}"


CASES = (
    *(Case(stage, extractor) for stage in ("extract", "filters") for extractor in EXTRACTORS),
    Case("minhash", None),
)


@dataclass(frozen=True)
class Bench:
    """Where things are."""

    work: Path
    peer_python: Path
    documents: dict[str, int]
    """Of each case's input, filled in as the first round goes."""
    options: argparse.Namespace

    def source(self, case: Case) -> Path:
        """The input of both; the filters read what datatrove's extraction left."""
        if case.stage == "extract":
            return self.work / "input" / "pages"
        if case.stage == "filters":
            return self.work / "datatrove" / f"extract-{case.extractor}" / "out"
        return self.work / "input" / "texts"

    def folder(self, contestant: str, case: Case) -> Path:
        return self.work / contestant / (case.stage if case.extractor is None else f"{case.stage}-{case.extractor}")

    def run(self, contestant: str, case: Case, command: list[str | Path]) -> tuple[process_tree.Usage, float | None]:
        wait_until_quiet(self.options.quiet, self.options.patience)
        watch = LoadWatch()
        log = self.work / f"{contestant}.log"
        usage = process_tree.run(command, log, environment={**os.environ, **ONE_THREAD})
        if usage.returncode:
            raise SystemExit(f"{contestant}, {case.name}, failed ({usage.returncode}):\n{usage.output}")
        load = watch.load()
        return usage, None if load is None else load.foreign + load.stolen


def environment() -> Path:
    """The Python of datatrove's environment, made unless it was made from these very requirements."""
    folder, wanted = CACHE / "datatrove", PEERS / "datatrove.txt"
    python, stamp = folder / "bin" / "python", folder / "requirements.installed"
    if not (stamp.is_file() and stamp.read_text() == wanted.read_text()):
        print(f"setting up {folder} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, "--requirement", wanted], check=True)
        stamp.write_text(wanted.read_text())
    return python


def prepare(bench: Bench) -> None:
    """Make the input unless it is there as asked."""
    folder, options = bench.work / "input", bench.options
    wanted = json.dumps({"pages": options.pages, "megabytes": options.megabytes, "seed": options.seed})
    stamp = folder / "made.json"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    for old in (*folder.glob("pages/*"), *folder.glob("texts/*")):
        old.unlink()
    write_pages(folder, options.data, options.pages, options.seed)
    write_texts(folder, options.data, options.megabytes, options.seed, SHARES)
    stamp.write_text(wanted)


def count(source: Path, case: Case) -> int:
    """Documents of a case's input."""
    if case.stage == "extract":
        return sum(1 for _ in (source.parent / "pages.jsonl").open())
    return sum(1 for file in source.glob("*.jsonl") for _ in file.open())


def datatrove(bench: Bench, case: Case, number: int) -> Measurement:
    out = bench.folder("datatrove", case) / "out"
    command = [bench.peer_python, PEERS / "datatrove_stages.py", case.stage, bench.source(case), out]
    if case.stage == "extract" and case.extractor:
        command += ["--extractor", case.extractor]
    usage, foreign = bench.run("datatrove", case, command)
    report = json.loads(next(line for line in reversed(usage.output.splitlines()) if line.startswith("{")))
    stage = sum(report["steps"].values())
    return Measurement(
        case.name, "datatrove", number, bench.documents[case.name], report["kept"], stage, usage.cpu_s, usage.wall_s,
        usage.peak, usage.measured, foreign, report["steps"],
    )  # fmt: skip


def ours(bench: Bench, case: Case, number: int) -> Measurement:
    folder, source = bench.folder("bedplate", case), bench.source(case)
    made = (
        bedplate.extract(source, case.extractor or "")
        if case.stage == "extract"
        else getattr(bedplate, case.stage)(source)
    )
    shutil.rmtree(folder, ignore_errors=True)  # what is made already would only be found again
    recipe = bedplate.written(made, folder, workers=1)
    command: list[str | Path] = [sys.executable, "-m", "bedplate", "curate", recipe]
    usage, foreign = bench.run("bedplate", case, command)
    measures = bedplate.measures(folder / "corpus")
    steps = bedplate.stage_cpu(measures, case.stage)
    if measures["read"] != bench.documents[case.name]:
        raise SystemExit(f"{case.name}: {measures['read']} documents read of {bench.documents[case.name]}")
    return Measurement(
        case.name, "bedplate", number, measures["read"], measures["kept"], sum(steps.values()), usage.cpu_s,
        usage.wall_s, usage.peak, usage.measured, foreign, steps,
    )  # fmt: skip


CONTESTANTS: dict[str, Callable[[Bench, Case, int], Measurement]] = {"datatrove": datatrove, "bedplate": ours}


def compare(bench: Bench, cases: list[Case]) -> dict[str, Any]:
    """What both made of the same documents, after the last round."""
    found: dict[str, Any] = {}
    variants = scores.lines(bench.work / "input" / "pages.jsonl")
    article = {row["url"]: row["article"] for row in variants if row["variant"] == 0}
    for case in cases:
        corpus = bench.folder("bedplate", case) / "corpus"
        theirs = {row["url"]: row["text"] for row in scores.lines(bench.folder("datatrove", case) / "out")}
        if case.stage == "extract":
            mine = {row["url"]: row["text"] for row in bedplate.kept(corpus, ["url", "text"])}
            texts = {"bedplate": mine, "datatrove": theirs}
            found[case.name] = {
                name: scores.extraction({article[u]: t for u, t in made.items() if u in article}, bench.options.data)
                for name, made in texts.items()
            }
            continue
        kept = {row["url"] for row in bedplate.kept(corpus, ["url"])}
        every = {row["url"] for row in scores.lines(bench.source(case))}
        found[case.name] = {"documents": scores.same_documents(kept, set(theirs), every)}
        if case.stage == "filters":
            found[case.name]["rules"] = scores.agreement(columns(corpus), verdicts(bench, case))
        else:
            truth = scores.lines(bench.work / "input" / "truth.jsonl")
            copies = {"bedplate": kept, "datatrove": set(theirs)}
            found[case.name]["copies"] = {name: copies_found(s, every - s, truth) for name, s in copies.items()}
    return found


def columns(corpus: Path) -> dict[str, dict[str, Any]]:
    """{url: our signals}, of documents kept and dropped."""
    wanted = ["url", *scores.COLUMNS]
    return {row["url"]: row for rows in (bedplate.kept, bedplate.dropped) for row in rows(corpus, wanted)}


def verdicts(bench: Bench, case: Case) -> dict[str, dict[str, bool | None]]:
    """{url: {rule: whether datatrove's objects}}, untimed."""
    out = bench.folder("datatrove", case) / "rules.jsonl"
    subprocess.run([bench.peer_python, PEERS / "datatrove_rules.py", bench.source(case), out], check=True)
    return {row["url"]: row["rules"] for row in scores.lines(out)}


def race(bench: Bench, cases: list[Case], contestants: list[str]) -> list[Measurement]:
    """All rounds. datatrove's extraction goes first in the first one, as its texts are the filters' input."""
    rounds: list[Measurement] = []
    for number in range(1, bench.options.rounds + 1):
        for case in cases:
            bench.documents[case.name] = count(bench.source(case), case)
            turn = (number - 1) % len(contestants)
            for name in contestants[turn:] + contestants[:turn]:
                m = CONTESTANTS[name](bench, case, number)
                others = "unknown" if m.foreign is None else format(m.foreign, ".0%")
                print(
                    f"  round {number}  {name:>10} {case.name:<22} {stage_ms(m):8.3f} ms/document, "
                    f"{command_ms(m):8.3f} the whole command, {m.peak / 1e6:6.0f} MB, others {others}",
                    flush=True,
                )
                rounds.append(m)
    return rounds


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=CACHE / "curate")
    parser.add_argument("--pages", type=int, default=2000, help="web pages, for extraction and filters")
    parser.add_argument("--megabytes", type=float, default=30, help="of made texts, for MinHash; about 350 texts a MB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=[*CONTESTANTS], help="these contestants alone")
    parser.add_argument("--stages", nargs="*", choices=["extract", "filters", "minhash"], help="these stages alone")
    parser.add_argument("--peer-python", type=Path, help="a Python that has datatrove; default: made from the pins")
    parser.add_argument("--quiet", type=float, default=0.08, help="others' share of the machine that is disturbing")
    parser.add_argument("--patience", type=float, default=120, help="seconds to wait for a quiet machine")
    parser.add_argument("--out", type=Path, default=CACHE / "curate.json", help="JSON; the Markdown lies beside it")
    options = parser.parse_args()
    if not (options.data / "article_extraction").is_dir():
        sys.exit(f"{options.data}: no article_extraction there; --data or BEDPLATE_DATA names the folder of real data")
    return options


def main() -> None:
    options = parse()
    contestants = [name for name in CONTESTANTS if not options.only or name in options.only]
    cases = [case for case in CASES if not options.stages or case.stage in options.stages]
    bench = Bench(options.work, options.peer_python or environment(), {}, options)
    prepare(bench)
    rounds = race(bench, cases, contestants)
    comparison = compare(bench, cases) if len(contestants) == len(CONTESTANTS) else {}
    disturbed = [m.foreign for m in rounds if m.foreign is not None and m.foreign > options.quiet]
    text = markdown(rounds, comparison)
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(processor()),
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
        "peer": (PEERS / "datatrove.txt").read_text().split(),
        "rounds": [asdict(m) for m in rounds],
        "disturbed": len(disturbed),
        "comparison": comparison,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(text)
    print(
        f"\n{text}\n{len(disturbed)} of {len(rounds)} measurements: others took over {options.quiet:.0%} of the machine"
    )
    print(f"written: {options.out} and {options.out.with_suffix('.md').name}")


if __name__ == "__main__":
    main()
