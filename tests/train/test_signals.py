"""Signals during training: remembered once, obeyed the second time, never lost."""

from __future__ import annotations

import signal

import pytest

from bedplate.train.signals import StopSignals


class Stopped(BaseException):
    pass


@pytest.fixture(autouse=True)
def _outside():
    """Outside, SIGTERM raises, as under the command line."""

    def stop(number, frame):
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    yield
    assert signal.getsignal(signal.SIGTERM) is stop, "the handler of before is back"
    signal.signal(signal.SIGTERM, before)


def training(stops, *signals, error=None):
    """A run that the signals meet on their way; returns how far it came."""
    reached = []
    try:
        with stops:
            for number in signals:
                signal.raise_signal(number)
                reached.append(stops.received)
            if error is not None:
                raise error
            reached.append("end")
        reached.append("beyond")
    except Stopped:
        reached.append("stopped")
    return reached


def test_the_first_is_remembered_and_the_second_acts():
    said = []
    assert training(StopSignals(said.append), signal.SIGTERM, signal.SIGTERM) == [signal.SIGTERM, "stopped"]
    assert len(said) == 1
    assert "SIGTERM: finishing this step" in said[0]


def test_one_that_came_too_late_for_a_step_acts_at_the_end():
    assert training(StopSignals(print), signal.SIGTERM) == [signal.SIGTERM, "end", "stopped"]


def test_acting_for_another_rank():
    with pytest.raises(Stopped), StopSignals(lambda text: None) as stops:
        stops.act(signal.SIGTERM)


def test_an_error_on_its_way_is_not_replaced():
    with pytest.raises(ValueError, match="first"):
        training(StopSignals(print), signal.SIGTERM, error=ValueError("first"))


def test_a_stream_that_is_being_written_to_does_not_end_the_run():
    def busy(text):
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    assert training(StopSignals(busy), signal.SIGTERM) == [signal.SIGTERM, "end", "stopped"]


def test_without_a_signal_nothing_happens():
    assert training(StopSignals(print)) == ["end", "beyond"]
