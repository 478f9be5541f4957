"""The console: what each mode shows."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from bedplate.console import Console
from bedplate.console.figures import amount, bytes_text, duration


def spoken(mode: str, terminal: bool = False) -> str:
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    console = Console(mode, stream)  # type: ignore[arg-type]
    console.heading("stage [one]")
    console.say("working in /a/b [bold]not markup[/bold]")
    console.warn("careful")
    console.table([("a", 1, 0.123456), ("long name", 22, 10.0)], ["name", "count", "share"])
    with console.progress("train", total=10, unit="steps") as progress:
        progress.update(0)
        progress.update(5, loss=2.34567, note="x")
        progress.update(10, loss=1.0)
    console.fail("it broke", "mend it")
    return stream.getvalue()


def test_plain_lines():
    lines = spoken("auto").splitlines()
    assert lines == [
        "stage [one]",
        "working in /a/b [bold]not markup[/bold]",
        "warning: careful",
        "name       count   share",
        "---------  -----  ------",
        "a              1  0.1235",
        "long name     22      10",
        "train: 10/10 steps  loss 1",
        "error: it broke",
        "mend it",
    ]


def test_quiet_says_only_warnings_and_errors():
    assert spoken("quiet").splitlines() == ["warning: careful", "error: it broke", "mend it"]


def test_json_lines():
    events = [json.loads(line) for line in spoken("json").splitlines()]
    assert [event["event"] for event in events] == ["heading", "say", "warning", "table", "progress", "error"]
    assert events[3]["rows"] == [
        {"name": "a", "count": 1, "share": 0.123456},
        {"name": "long name", "count": 22, "share": 10.0},
    ]
    assert events[4] | {"time": 0} == {
        "event": "progress",
        "what": "train",
        "done": 10,
        "total": 10,
        "unit": "steps",
        "loss": 1.0,
        "time": 0,
    }
    assert (events[5]["problem"], events[5]["fix"]) == ("it broke", "mend it")


def test_a_terminal_gets_the_same_words(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = spoken("auto", terminal=True)
    assert "working in /a/b [bold]not markup[/bold]" in text
    assert "careful" in text
    assert "10/10 steps  loss 1" in text
    monkeypatch.setenv("TERM", "dumb")
    assert spoken("auto", terminal=True) == spoken("plain")


def test_plain_progress_is_rare_and_tells_the_time_left(monkeypatch):
    clock = iter([float(second) for second in range(100)])
    monkeypatch.setattr("bedplate.console.terminal.time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    with Console.plain(stream).progress("work", total=100, unit="files") as progress:
        for done in range(10, 31):  # one a second, from the tenth on: what was done before isn't speed
            progress.update(done)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "work: 14/100 files  left 1:26"
    assert len(lines) == 5
    assert lines[-1].startswith("work: 30/100 files")


def test_a_failure_inside_progress_is_not_hidden():
    stream = io.StringIO()

    def fail() -> None:
        with Console.plain(stream).progress("work", None) as progress:
            progress.update(3)
            raise ValueError("inner")

    with pytest.raises(ValueError, match="inner"):
        fail()
    assert stream.getvalue() == "work: 3\n"


def test_a_reader_that_has_gone_stops_no_work():
    stream = io.StringIO()
    stream.close()
    Console.plain(stream).say("hello")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (5e15, "5000.0 TB"), (999_960, "1.0 MB")],
)
def test_bytes(value, text):
    assert bytes_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10 s"),
        (59.7, "1:00"),
        (61, "1:01"),
        (3600, "1:00:00"),
        (90_061, "1 day 1:01:01"),
        (200_000, "2 days 7:33:20"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_amounts():
    assert amount(1234, "documents") == "1,234 documents"
    assert amount(1234.5) == "1,234.5"
    assert amount(2500, "B") == "2.5 kB"


def test_a_terminal_is_never_given_commands(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    hostile = "a\x1b]0;title\x07b\rc\x9bd\x7fe\u202ef\udcffg\th"
    for mode in ("plain", "rich"):
        stream = io.StringIO()
        stream.isatty = lambda: True  # type: ignore[method-assign]
        console = Console(mode, stream)  # type: ignore[arg-type]
        console.say(hostile)
        console.warn(hostile)
        console.fail(hostile, hostile)
        console.table([(hostile,)], ["name"])
        with console.progress(hostile, 1) as progress:
            progress.update(1, file=hostile)
        text = stream.getvalue()
        assert text.count("a␛]0;title␇b␍c\ufffdd␡e\ufffdf\ufffdg") >= 6
        assert not {"\x07", "\x9b", "\u202e", "\udcff"} & set(text)
        assert "b\rc" not in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stderr_does_not_stop_the_work():
    stream = open("/dev/full", "w")  # noqa: SIM115
    Console.plain(stream).say("hello")
    with pytest.raises(OSError, match="No space left"):
        stream.close()
