"""Stop strings: the same end however the text is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.generate.stopping import StopStrings

words = st.text(alphabet="ab.", min_size=1, max_size=4)


def passed(stops, pieces):
    watch = StopStrings(stops)
    out = []
    for piece in pieces:
        out.append(watch.push(piece))
        if watch.found is not None:
            return "".join(out), watch.found, out
    out.append(watch.flush())
    return "".join(out), None, out


def definition(stops, text):
    """Letter by letter: the first stop string to be complete, the longest of several."""
    for end in range(1, len(text) + 1):
        complete = [s for s in stops if text[:end].endswith(s)]
        if complete:
            stop = max(complete, key=len)
            return text[: end - len(stop)], stop
    return text, None


@settings(deadline=None)
@given(st.lists(words, max_size=4), st.lists(st.text(alphabet="ab.", max_size=6), max_size=8))
def test_pieces_do_not_matter_up_to_the_one_that_completes_a_stop(stops, pieces):
    text, found, _ = passed(stops, pieces)
    assert (text, found) == definition(stops, "".join(pieces))


@settings(deadline=None)
@given(st.lists(words, min_size=1, max_size=3), st.text(alphabet="ab.", max_size=20))
def test_what_is_shown_is_never_taken_back(stops, text):
    _, _, shown = passed(stops, list(text))
    final, _ = definition(stops, text)
    assert final.startswith("".join(shown[:-1]))


def test_the_beginning_of_a_stop_string_is_held_back():
    watch = StopStrings(["\nUser:"])
    assert watch.push("Hello.\nUs") == "Hello."
    assert watch.push("eful") == "\nUseful"
    assert watch.push("\nUser: hi") == ""
    assert watch.found == "\nUser:"


def test_without_stop_strings_text_passes():
    watch = StopStrings([])
    assert watch.push("anything") == "anything"
    assert watch.flush() == ""


@pytest.mark.parametrize("stops", [["ab"], ["ab", "b"]])
def test_the_first_to_be_complete_wins(stops):
    assert passed(stops, ["xab"])[:2] == ("x", "ab")
