"""Mending finds harm by a look near the odd characters alone; a look at the whole text says the same."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

badness = pytest.importorskip("ftfy.badness")

from bedplate.data.extract import repair  # noqa: E402

ODD = sorted(set("".join(badness.MOJIBAKE_CATEGORIES.values())) | set("ÂÃÎÐŒœØÙàВГРСЂ√≈‚ÄìβΓ€ā²×³ўЂ\x07\x85\ud800"))
PLAIN = list("abcXYZ .,?\n\t01")


@given(st.lists(st.sampled_from(PLAIN) | st.sampled_from(ODD), max_size=60).map("".join))
@example("Ã and more")
@example("some words, then Ã and more")
@example("ГўВЂВ. Latin")
def test_a_look_near_odd_characters_finds_what_a_look_at_all_finds(text):
    text = text + "plain words. " * 100  # enough of them that the rest is looked at by places
    odd = repair._odd(text)
    assert len(odd) * repair._FEW <= len(text)
    assert repair._bears(text, odd, badness.BADNESS_RE) == badness.is_bad(text)


@given(st.text(st.sampled_from(PLAIN + ODD), max_size=60))
def test_odd_characters_are_those_that_matter(text):
    odd = repair._odd(text)
    assert bool(repair._CONTROL.search(odd)) == bool(repair._CONTROL.search(text))
    assert [c for c in odd if ord(c) >= 128] == [c for c in text if ord(c) >= 128]
