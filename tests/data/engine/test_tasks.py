"""Steps of tasks: done once, whole or not at all, by any number of workers, whatever kills one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from bedplate.console import Console
from bedplate.data.engine.journal import Advice, Place
from bedplate.data.engine.local import LocalProcesses
from bedplate.data.engine.tasks import InProcess, Run, Task, is_done, perform, task_folder
from bedplate.errors import InputError, InternalError

WORK = '''
import os, signal, time
from pathlib import Path

from bedplate.data.engine.journal import ALONE, READING, TOGETHER, Advice, Journal
from bedplate.errors import InputError


def square(arguments, folder):
    (folder / "square.txt").write_text(str(arguments["n"] ** 2))
    with open(arguments["log"], "a") as log:
        log.write(f"{arguments['n']}\\n")
    return {"n": arguments["n"]}


def refuse(arguments, folder):
    time.sleep(0.3 if arguments["n"] == 0 else 0)
    raise InputError(f"line {arguments['n']} is broken", "Mend it.")


def deadly(arguments, folder):
    """Works on ten documents, four at a time; what is in `deadly` ends the process, what is in `endless` never ends."""
    advice = arguments["advice"] or Advice()
    done, lost = [], {}
    with Journal(folder) as journal:
        for first in range(0, 10, 4):
            batch = range(first, min(first + 4, 10))
            journal.at(TOGETHER, 0, first)
            if first in advice.careful:
                for number in batch:
                    if number in advice.lost:
                        lost[number] = advice.lost[number]
                        continue
                    journal.at(ALONE, 0, number)
                    work(arguments, number)
                    done.append(number)
            else:
                for number in batch:
                    work(arguments, number)
                done += batch
    return {"done": done, "lost": lost}


def work(arguments, number):
    if number in arguments["deadly"]:
        os.kill(os.getpid(), signal.SIGSEGV)
    while number in arguments["endless"]:
        time.sleep(0.05)


def die(arguments, folder):
    os._exit(3)


def slow(arguments, folder):
    Path(arguments["pids"]).joinpath(str(os.getpid())).touch()
    time.sleep(600)
    return {}
'''


@pytest.fixture
def work(tmp_path, monkeypatch):
    place = tmp_path / "modules"
    place.mkdir()
    (place / "task_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(place))
    return place


def run_in(folder, scheduler):
    return Run(folder, scheduler, Console.quiet())


def squares(tmp_path, count=7):
    return [Task(n, {"n": n, "log": str(tmp_path / "log")}) for n in range(count)]


@pytest.mark.parametrize("scheduler", [InProcess(), LocalProcesses(1), LocalProcesses(3)], ids=str)
def test_every_task_is_done_once_and_its_measures_come_in_order(work, tmp_path, scheduler):
    run = run_in(tmp_path / "run", scheduler)
    measures = perform("squares", "task_work:square", squares(tmp_path), run)
    assert [m["n"] for m in measures] == list(range(7))
    assert all(m["cpu_s"] >= 0 for m in measures)
    assert [(task_folder(run.folder / "squares", n) / "square.txt").read_text() for n in range(7)] == [
        str(n * n) for n in range(7)
    ]
    assert perform("squares", "task_work:square", squares(tmp_path), run) == measures
    assert sorted((tmp_path / "log").read_text().split()) == [str(n) for n in range(7)]


def test_a_damaged_task_is_done_again(work, tmp_path):
    run = run_in(tmp_path / "run", InProcess())
    perform("squares", "task_work:square", squares(tmp_path), run)
    folder = task_folder(run.folder / "squares", 3)
    (folder / "square.txt").write_text("")
    assert not is_done(folder)
    perform("squares", "task_work:square", squares(tmp_path), run)
    assert (folder / "square.txt").read_text() == "9"
    assert (tmp_path / "log").read_text().split().count("3") == 2


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_error_in_the_tasks_order_is_raised_as_it_was(work, tmp_path, workers):
    run = run_in(tmp_path / "run", LocalProcesses(workers))
    with pytest.raises(InputError) as caught:
        perform("refuse", "task_work:refuse", [Task(n, {"n": n}) for n in range(3)], run)
    assert (caught.value.problem, caught.value.fix) == ("line 0 is broken", "Mend it.")
    assert not list((run.folder / "refuse").glob("0*/done.json"))


def test_a_document_that_kills_its_worker_is_lost_alone(work, tmp_path):
    run = run_in(tmp_path / "run", LocalProcesses(2, patience_s=1))
    tasks = [
        Task(0, {"deadly": [5, 9], "endless": []}, keeps_journal=True),
        Task(1, {"deadly": [], "endless": [2]}, keeps_journal=True),
    ]
    killed, endless = perform("deadly", "task_work:deadly", tasks, run)
    assert killed["done"] == [0, 1, 2, 3, 4, 6, 7, 8]
    assert killed["lost"] == {"5": "ended its process (signal 11)", "9": "ended its process (signal 11)"}
    assert endless["done"] == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert endless["lost"] == {"2": "took too long"}
    assert sorted(path.name for path in (run.folder / "deadly").iterdir()) == ["00000", "00001"]


@pytest.mark.slow
def test_a_ray_cluster_does_the_same(work, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    from bedplate.data.engine.ray import RayCluster

    monkeypatch.setenv("PYTHONPATH", str(work))
    try:
        run = run_in(tmp_path / "run", RayCluster(2, patience_s=2))
        assert [m["n"] for m in perform("squares", "task_work:square", squares(tmp_path), run)] == list(range(7))
        tasks = [
            Task(0, {"deadly": [5, 9], "endless": []}, keeps_journal=True),
            Task(1, {"deadly": [], "endless": [2]}, keeps_journal=True),
        ]
        killed, endless = perform("deadly", "task_work:deadly", tasks, run)
        assert killed["lost"] == {"5": "ended its process", "9": "ended its process"}
        assert endless["lost"] == {"2": "took too long"}
        with pytest.raises(InputError, match="line 1 is broken"):
            perform("refuse", "task_work:refuse", [Task(n, {"n": n}) for n in range(1, 3)], run)
    finally:
        ray.shutdown()


def test_a_worker_that_dies_for_no_known_reason_ends_the_step(work, tmp_path):
    with pytest.raises(InternalError, match="die, task 0: its worker exit 3"):
        perform("die", "task_work:die", [Task(0, {})], run_in(tmp_path / "run", LocalProcesses(1)))


def test_advice_never_learns_the_same_twice():
    advice = Advice()
    for place in (Place(0, 0, 4), Place(1, 0, 6), Place(2, 3, 9)):
        advice = advice.learn(place, "died")
        assert advice is not None
        assert advice.learn(place, "died") is None
    assert advice == Advice(frozenset([4]), {6: "died"}, {3: (9, "died")})


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_workers_end_with_their_master(work, tmp_path):
    script = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(work)!r})
        from pathlib import Path
        from bedplate.console import Console
        from bedplate.data.engine.local import LocalProcesses
        from bedplate.data.engine.tasks import Run, Task, perform
        if __name__ == "__main__":
            tasks = [Task(n, {{"pids": {str(tmp_path)!r} + "/pids"}}) for n in range(2)]
            run = Run(Path({str(tmp_path)!r}) / "run", LocalProcesses(2), Console.quiet())
            perform("slow", "task_work:slow", tasks, run)
    """)
    (tmp_path / "pids").mkdir()
    (tmp_path / "master.py").write_text(script)
    master = subprocess.Popen([sys.executable, str(tmp_path / "master.py")])
    try:
        wait_for(lambda: len(list((tmp_path / "pids").iterdir())) == 2)
        pids = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    finally:
        os.kill(master.pid, signal.SIGKILL)
        master.wait()
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_measures_are_json(work, tmp_path):
    run = run_in(tmp_path / "run", InProcess())
    perform("squares", "task_work:square", squares(tmp_path, 1), run)
    done = json.loads((task_folder(run.folder / "squares", 0) / "done.json").read_text())
    assert set(done) == {"measures", "files"}
    assert done["files"] == {"square.txt": 1}
