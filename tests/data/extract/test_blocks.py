"""Reduced HTML to blocks, blocks to Markdown, and what is cleared away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bedplate.data.extract.blocks import Block, read_blocks
from bedplate.data.extract.boilerplate import without_boilerplate
from bedplate.data.extract.markdown import as_markdown, as_text

REDUCED = """<h1>He &amp; she</h1>

<p>One<br>
two <a href="/x">three</a></p>

<ul>
  <li>a
  <ul>
    <li>b</li>
  </ul></li>
  <li>c</li>
</ul>
<ol>
  <li>first</li>
  <li>second</li>
</ol>
<pre>x
  ```y```
</pre>
n\t\tm
1\t\t2|3
"""

TAGS = (
    *("<p>", "</p>", "<ul>", "</ul>", "<ol>", "<li>", "</li>", "<pre>", "</pre>", "<h2>", "</h2>"),
    *('<a href="x">', "</a>", "<br>", "word ", "\n\n", "a\t\tb\n"),
)


def test_reduced_html_becomes_markdown():
    assert as_markdown(read_blocks(REDUCED)) == (
        "# He & she\n\nOne\ntwo three\n\n- a\n  - b\n- c\n\n1. first\n2. second\n\n"
        "````\nx\n  ```y```\n````\n\n| n | m |\n|---|---|\n| 1 | 2\\|3 |"
    )
    assert as_text(read_blocks(REDUCED)).startswith("He & she\n\nOne\ntwo three\n\na\nb\nc\n\nfirst")
    assert "two [three](/x)" in as_markdown(read_blocks(REDUCED, links=True))


def test_the_share_of_links_is_that_of_characters():
    (block,) = read_blocks('<p>abcde<a href="u">fghij</a></p>')
    assert block.linked == 0.5


@given(st.lists(st.sampled_from(TAGS), max_size=40))
def test_no_word_is_lost_or_made_whatever_the_tags(parts):
    words = sum(part == "word " for part in parts)
    blocks = read_blocks("".join(parts))
    assert sum(block.text.count("word") for block in blocks) == words
    assert all(block.lines and all(line is not None for line in block.lines) for block in blocks)
    assert as_markdown(blocks).count("word") == words
    assert len(without_boilerplate(blocks)) > 0 or not blocks


SENTENCE = "This is a sentence that has more than eight words in it."


def paragraph(text: str, linked: float = 0.0) -> Block:
    return Block("paragraph", [text], 0, linked)


def test_what_stands_around_the_text_is_cleared_away():
    headline, end = Block("heading", ["The headline"], 1), Block("heading", ["More from us"], 3)
    text = [paragraph(SENTENCE), paragraph("Short one within"), Block("code", ["x = 1"]), paragraph(SENTENCE)]
    around = [
        *(paragraph("Home News Sport", 1.0), Block("bare", ["By"])),
        *(headline, *text),
        *(paragraph("Another story of ours", 1.0), paragraph("Share this on every site"), end),
        *(Block("heading", ["Leave a comment"], 3), paragraph(SENTENCE)),
    ]
    assert without_boilerplate(around) == [headline, *text]
    assert paragraph(SENTENCE) in without_boilerplate(around, comments=True)[-1:]


def test_a_page_that_is_nothing_but_boilerplate_is_kept_as_it_is():
    blocks = [paragraph("Advertisement"), Block("bare", ["Menu"])]
    assert without_boilerplate(blocks) == blocks
