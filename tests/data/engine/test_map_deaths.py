"""The map of a curation whose workers are killed: by chance, which changes nothing, or by what they read, again and
again, which costs just that."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time

import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.curate import CurateConfig
from bedplate.data.engine.journal import READING, last_place
from bedplate.data.engine.local import LocalProcesses
from bedplate.data.engine.tasks import InProcess, Run, Task, perform
from bedplate.data.reading import find, pieces
from bedplate.errors import InputError

FRAGILE = '''
import os, signal

from bedplate.data.curation import mapping
from bedplate.data.documents import Document

read = mapping.read


def fragile_read(source, part, limits):
    """What reads DEADLY (a file's end of name and a record's number) ends its process."""
    name, number = os.environ["DEADLY"].split()
    for place, item in enumerate(read(source, part, limits)):
        if part.files[0].name.endswith(name) and place == int(number):
            os.kill(os.getpid(), signal.SIGSEGV)
        yield item


def fragile(arguments, folder):
    mapping.read = fragile_read
    return mapping.map_piece(arguments, folder)
'''
MAP = "bedplate.data.curation.mapping:map_piece"
STAGES = {"signals": {}, "filters": {"rules": [{"column": "words", "min": 5}]}, "privacy": {}}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the states of processes are Linux's")


def lines(path, count, words=60):
    draw = random.Random(path.name)
    with path.open("w") as out:
        for number in range(count):
            text = " ".join(f"word{draw.randrange(5000)}" for _ in range(draw.randrange(2, words)))
            out.write(json.dumps({"text": f"{number} {text}"}) + "\n")


def tasks_of(config, **more):
    """The map's tasks of a configuration."""
    config = CurateConfig.model_validate({"clusters": None, **config})
    planned = [(source, piece) for source in config.sources for piece in pieces(source, find(source), **more)]
    alike = {"config": config, "carried": {}, "taken_down": (), "run": "here"}
    return [
        Task(number, alike | {"source": source, "piece": piece}, keeps_journal=True)
        for number, (source, piece) in enumerate(planned)
    ]


def mapped(folder, tasks, scheduler, function=MAP):
    """The shards, as bytes, and what was counted."""
    try:
        measures = perform("map", function, tasks, Run(folder, scheduler, Console.quiet()))
    finally:
        scheduler.close()
    counts = [{name: {**stage, "cpu_s": 0} for name, stage in measure["stages"].items()} for measure in measures]
    return [(folder / "map" / f"{n:05d}" / "documents.parquet").read_bytes() for n in range(len(tasks))], counts


def statuses(folder, shard=0):
    table = pq.read_table(folder / "map" / f"{shard:05d}" / "documents.parquet")
    return [(row["source"], row["status"], row["reason"]) for row in table.to_pylist()]


def strike(folder, wanted, how):
    """Does something to the worker that first is where it is wanted; the thread's `struck` says where that was."""
    struck = []

    def look():
        while not struck:
            for path in folder.glob("map/*.at"):
                target, _, process = path.name.removesuffix(".at").partition(".tmp-")
                place = last_place(path.with_name(target), int(process))
                if place is not None and wanted(place):
                    struck.append(place)
                    how(int(process))
                    return
            time.sleep(0.001)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    return thread, struck


@pytest.fixture
def sources(tmp_path):
    lines(tmp_path / "a.jsonl", 4000)
    (tmp_path / "b").mkdir()
    for number in range(30):
        (tmp_path / "b" / f"{number}.txt").write_text(f"{number} " * number)
    return {
        "sources": [
            {"jsonl": str(tmp_path / "a.jsonl"), "license": "MIT"},
            {"folder": str(tmp_path / "b"), "license": "MIT"},
        ],
        **STAGES,
    }


@pytest.mark.parametrize("doing", ["reading", "working", "anything"])
def test_one_kill_by_chance_changes_nothing(sources, tmp_path, doing):
    tasks = tasks_of(sources, target_bytes=400_000)
    assert len(tasks) > 2
    reference = mapped(tmp_path / "whole", tasks, InProcess())
    first = random.Random(doing).randrange(100, 900)
    wanted = {
        "reading": lambda place: place.doing == READING and place.document > first,
        "working": lambda place: place.doing != READING and place.document > first,
        "anything": lambda place: place.document > first,
    }[doing]
    thread, struck = strike(tmp_path / "killed", wanted, lambda process: os.kill(process, signal.SIGKILL))
    assert mapped(tmp_path / "killed", tasks, LocalProcesses(1)) == reference
    thread.join(5)
    assert struck


def test_a_pause_changes_nothing(sources, tmp_path):
    tasks = tasks_of(sources, target_bytes=400_000)
    reference = mapped(tmp_path / "whole", tasks, InProcess())

    def pause(process):
        os.kill(process, signal.SIGSTOP)
        time.sleep(4)
        os.kill(process, signal.SIGCONT)

    thread, struck = strike(tmp_path / "paused", lambda place: place.document > 300, pause)
    assert mapped(tmp_path / "paused", tasks, LocalProcesses(1, patience_s=1.5)) == reference
    thread.join(10)
    assert struck


@pytest.fixture
def fragile(tmp_path, monkeypatch):
    place = tmp_path / "modules"
    place.mkdir()
    (place / "fragile_map.py").write_text(FRAGILE)
    monkeypatch.syspath_prepend(str(place))
    return "fragile_map:fragile"


def test_a_file_that_ends_its_reader_every_time_is_cut_there(fragile, tmp_path, monkeypatch, shared_data):
    monkeypatch.setenv("DEADLY", "b.warc.gz 3")
    archive = (shared_data / "warcio_warcs/test/data/example.warc.gz").read_bytes()
    (tmp_path / "crawl").mkdir()
    for name in "abc":
        (tmp_path / "crawl" / f"{name}.warc.gz").write_bytes(archive)
    tasks = tasks_of({"sources": [{"warc": str(tmp_path / "crawl"), "license": "unknown"}], "on_error": "stop"})
    _, ((counts),) = mapped(tmp_path / "run", tasks, LocalProcesses(1), fragile)
    found = statuses(tmp_path / "run")
    records = [sum(name.startswith(f"crawl/{file}") for name, _, _ in found) for file in "abc"]
    assert records[0] == records[2] > records[1] == 4
    assert [one for one in found if one[1] == "failed"] == [("crawl/b.warc.gz#4", "failed", "crashed")]
    assert counts["read"]["failed"] == {"crashed": 1}


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_table_that_ends_its_reader_stops_the_run_or_is_cut(fragile, tmp_path, monkeypatch, on_error):
    monkeypatch.setenv("DEADLY", "a.jsonl 5")
    lines(tmp_path / "a.jsonl", 40)
    sources = {"sources": [{"jsonl": str(tmp_path / "a.jsonl"), "license": "MIT"}], "on_error": on_error}
    tasks = tasks_of(sources, most_documents=30)
    if on_error == "stop":
        with pytest.raises(InputError, match=r"a.jsonl record 6: reading it ended its process \(signal 11\)"):
            mapped(tmp_path / "run", tasks, LocalProcesses(1), fragile)
    else:
        mapped(tmp_path / "run", tasks, LocalProcesses(1), fragile)
        assert [name for name, status, _ in statuses(tmp_path / "run") if status == "kept"] == [
            f"a.jsonl#{n}" for n in range(1, 6)
        ]
        # The number is the file's, not the part's.
        assert statuses(tmp_path / "run", 1)[5] == ("a.jsonl#36", "failed", "crashed")
