"""Steps of tasks: done once, whole or not at all, by any number of workers, whatever kills one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from bedplate.console import Console
from bedplate.data.engine.deaths import after_death
from bedplate.data.engine.journal import (
    ALONE,
    BY_CHANCE,
    READING,
    RESTARTS,
    TOGETHER,
    TOO_LONG,
    WRITING,
    Advice,
    Place,
)
from bedplate.data.engine.local import LocalProcesses
from bedplate.data.engine.patience import Stay, usage
from bedplate.data.engine.tasks import InProcess, Job, Run, Task, is_done, perform, task_folder
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
            if advice.one_by_one(first):
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
    return {"done": done, "lost": lost, "deaths": advice.deaths}


def hit(arguments, folder):
    """Is hit by a kill, as many times as `hits` says, each time at another document; does ten documents."""
    advice = arguments["advice"] or Advice()
    with Journal(folder) as journal:
        for number in range(100):
            journal.at(arguments["doing"], 0, number)
            if advice.deaths < arguments["hits"] and number == 7 * advice.deaths:
                os.kill(os.getpid(), signal.SIGKILL)
    return {"lost": len(advice.lost), "unreadable": len(advice.unreadable), "deaths": advice.deaths}


def say_where(arguments, folder):
    """Sits over one document for a while, in one of several ways, having said which process it is."""
    advice = arguments["advice"] or Advice()
    with Journal(folder) as journal:
        journal.at(ALONE, 0, 0)
        (Path(arguments["pids"]) / str(os.getpid())).touch()
        end = time.process_time() + arguments["processor_s"]
        while time.process_time() < end:
            pass
    return {"deaths": advice.deaths}


def once(arguments, folder):
    """Has no journal, and dies the first `times` times."""
    tried = len(list(Path(arguments["pids"]).iterdir()))
    (Path(arguments["pids"]) / str(os.getpid())).touch()
    if tried < arguments["times"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"tried": tried}


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


@pytest.mark.parametrize("scheduler", [InProcess(), LocalProcesses(1), LocalProcesses(3)], ids=["here", "one", "three"])
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
    assert (killed["deaths"], endless["deaths"]) == (6, 3)  # each: once together with others, twice alone
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
    says = r"die, task 0: its worker ended its process \(exit code 3\); it was tried 2 times\n.*fewer workers"
    with pytest.raises(InternalError, match=says):
        perform("die", "task_work:die", [Task(0, {})], run_in(tmp_path / "run", LocalProcesses(1)))


@pytest.mark.parametrize("doing", [ALONE, READING, WRITING])
@pytest.mark.parametrize("hits", [1, 3])
def test_a_few_kills_by_chance_lose_nothing(work, tmp_path, doing, hits):
    run = run_in(tmp_path / "run", LocalProcesses(1))
    task = Task(0, {"doing": doing, "hits": hits}, keeps_journal=True)
    (measures,) = perform("hit", "task_work:hit", [task], run)
    assert (measures["lost"], measures["unreadable"], measures["deaths"]) == (0, 0, hits)


@pytest.mark.slow
def test_kills_without_end_end_the_step(work, tmp_path):
    task = Task(0, {"doing": ALONE, "hits": 1000}, keeps_journal=True)
    with pytest.raises(InternalError, match=f"signal 9.*tried {BY_CHANCE + 1} times\n.*more memory"):
        perform("hit", "task_work:hit", [task], run_in(tmp_path / "run", LocalProcesses(1)))


def test_a_task_without_a_journal_is_tried_twice(work, tmp_path):
    (tmp_path / "pids").mkdir()
    task = Task(0, {"pids": str(tmp_path / "pids"), "times": 1})
    assert perform("once", "task_work:once", [task], run_in(tmp_path / "run", LocalProcesses(1)))[0]["tried"] == 1


def test_a_task_that_was_done_when_its_worker_died_is_done(work, tmp_path):
    run = run_in(tmp_path / "run", InProcess())
    perform("squares", "task_work:square", squares(tmp_path, 1), run)
    job = Job("task_work:square", squares(tmp_path, 1)[0], task_folder(run.folder / "squares", 0))
    assert after_death(job, None, "ended") is None


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_worker_that_is_kept_from_going_on_is_waited_for(work, tmp_path):
    (tmp_path / "pids").mkdir()
    task = Task(0, {"pids": str(tmp_path / "pids"), "processor_s": 0.7}, keeps_journal=True)

    def stop():
        wait_for(lambda: list((tmp_path / "pids").iterdir()))
        process = int(next((tmp_path / "pids").iterdir()).name)
        os.kill(process, signal.SIGSTOP)
        time.sleep(4)
        os.kill(process, signal.SIGCONT)

    stopping = threading.Thread(target=stop)
    stopping.start()
    (measures,) = perform(
        "where", "task_work:say_where", [task], run_in(tmp_path / "run", LocalProcesses(1, patience_s=2))
    )
    stopping.join()
    assert measures["deaths"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_stay_counts_what_a_process_uses_and_how_long_it_sleeps():
    here = Place(ALONE, 0, 0)
    for body, most, least in (("while True: pass", 1.2, 0.1), ("import time; time.sleep(60)", 1.2, 0.6)):
        process = subprocess.Popen([sys.executable, "-c", body])
        try:
            time.sleep(0.5)  # the interpreter's own start
            assert usage(process.pid)[1] is not None
            stay = Stay(process.pid)
            spent = [(stay.seconds(here), time.sleep(0.1)) for _ in range(11)]
            assert least < spent[-1][0] < most
            assert stay.seconds(Place(ALONE, 0, 1)) == 0
            os.kill(process.pid, signal.SIGSTOP)
            wait_for(
                lambda process=process: (
                    Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
                )
            )
            before = stay.seconds(Place(ALONE, 0, 1))
            time.sleep(0.5)
            assert stay.seconds(Place(ALONE, 0, 1)) == before
        finally:
            process.kill()
            process.wait()


def test_a_stay_by_the_clock_doesnt_count_what_its_master_missed(monkeypatch):
    clock = iter([0.0, 1.0, 2.0, 3.0, 500.0, 501.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    stay = Stay()
    assert [stay.seconds(Place(READING, 0, 4)) for _ in range(5)] == [0, 1, 2, 4, 5]


def learnt(advice, *places, how="died"):
    for place in places:
        advice = advice and advice.learn(place, how)
    return advice


def test_it_takes_two_deaths_to_lose_anything():
    alone, reading, together = Place(ALONE, 0, 6), Place(READING, 3, 9), Place(TOGETHER, 0, 4)
    advice = learnt(Advice(), together)
    assert advice.one_by_one(4)
    assert not advice.one_by_one(8)
    once = learnt(advice, alone, reading)
    assert (once.lost, once.unreadable) == ({}, {})
    twice = learnt(once, alone)
    assert twice.lost == {6: "died"}
    assert twice.once == {reading}
    cut = learnt(twice, reading)
    assert cut.unreadable == {3: (9, "died")}
    # What stood behind has other numbers now.
    assert (cut.lost, cut.careful, cut.once) == ({}, frozenset(), frozenset())
    assert cut.deaths == 5


def test_what_no_document_can_be_blamed_for_isnt_tried_for_ever():
    for place in (None, Place(WRITING, 0, 4)):
        assert learnt(Advice(), place) is not None
        assert learnt(Advice(), place, place) is None
    assert learnt(Advice(), Place(TOGETHER, 0, 4), Place(TOGETHER, 0, 4)) is None
    strays = [Place(ALONE, 0, n) for n in range(BY_CHANCE + 1)]
    assert learnt(Advice(), *strays[:-1]) is not None
    assert learnt(Advice(), *strays) is None
    deadly = [Place(ALONE, 0, n // 2) for n in range(RESTARTS + 1)]
    assert len(learnt(Advice(), *deadly[:-1]).lost) == RESTARTS // 2
    assert learnt(Advice(), *deadly) is None


def test_one_slow_batch_makes_all_go_one_by_one():
    advice = learnt(Advice(), Place(TOGETHER, 0, 4), how=TOO_LONG)
    assert advice.one_by_one(0)
    assert advice.once == frozenset()


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
