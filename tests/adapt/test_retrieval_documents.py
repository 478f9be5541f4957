"""Reading documents: what each format keeps, spans that resolve, and what is said of documents that can't be read."""

from __future__ import annotations

import json
import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.adapt.retrieval.blocks import plain_blocks
from bedplate.adapt.retrieval.documents import Account, read_documents
from bedplate.adapt.retrieval.html import html_blocks
from bedplate.adapt.retrieval.index_config import IndexConfig
from bedplate.adapt.retrieval.markdown import markdown_blocks
from bedplate.adapt.retrieval.sentences import sentence_spans
from bedplate.errors import InputError

MARKDOWN = """---
title: "A guide"
---
# Guide #

First paragraph,
on two lines.

Setup
-----
1. one
2. two
   goes on

   and on

```python
def f():

    # not a heading
    return 1
```
### Deeper `code` and [a link](http://x)

| a | b |
|---|---|
| 1 | 2 |

    indented code

## Use
> quoted
"""


def kinds(document):
    return [(block.kind, document.text[block.start : block.end], block.headings) for block in document.blocks]


def test_markdown():
    document = markdown_blocks(MARKDOWN)
    assert document.text == MARKDOWN
    assert document.title == "A guide"
    deep = ("Guide", "Setup", "Deeper code and a link")
    assert kinds(document) == [
        ("code", '---\ntitle: "A guide"\n---', ()),
        ("heading", "# Guide #", ()),
        ("paragraph", "First paragraph,\non two lines.", ("Guide",)),
        ("heading", "Setup\n-----", ("Guide",)),
        ("item", "1. one", ("Guide", "Setup")),
        ("item", "2. two\n   goes on\n\n   and on", ("Guide", "Setup")),
        ("code", "```python\ndef f():\n\n    # not a heading\n    return 1\n```", ("Guide", "Setup")),
        ("heading", "### Deeper `code` and [a link](http://x)", ("Guide", "Setup")),
        ("table", "| a | b |\n|---|---|\n| 1 | 2 |", deep),
        ("code", "    indented code", deep),
        ("heading", "## Use", ("Guide",)),
        ("paragraph", "> quoted", ("Guide", "Use")),
    ]


def test_html():
    page = """<!doctype html><html><head><title> The &amp; title </title><style>p {}</style></head><body>
    <nav>menu</nav><script>alert("x")</script>
    <h1>Top <em>thing</em></h1><p>Some   <b>bold</b>
    text.<br>Next&nbsp;line</p><p hidden>secret</p>
    <h2>Lists</h2><ul><li>one<li><p>two</p><ol><li>inner</ol></ul>
    <pre><code>a  =  1
  b</code></pre>
    <table><tr><th>x<th>y<tr><td>1<td><p>2</p></table>loose &lt;text&gt;<template>no</template></body></html>"""
    document = html_blocks(page)
    assert document.title == "The & title"
    assert kinds(document) == [
        ("heading", "Top thing", ()),
        ("paragraph", "Some bold text.\nNext line", ("Top thing",)),
        ("heading", "Lists", ("Top thing",)),
        ("item", "- one", ("Top thing", "Lists")),
        ("item", "- two", ("Top thing", "Lists")),
        ("item", "- inner", ("Top thing", "Lists")),
        ("code", "a  =  1\n  b", ("Top thing", "Lists")),
        ("table", "x | y\n1 | 2", ("Top thing", "Lists")),
        ("paragraph", "loose <text>", ("Top thing", "Lists")),
    ]
    for unseen in ("menu", "alert", "secret", "p {}", "no"):
        assert unseen not in document.text.split()


def test_pages_nested_deeply(folder):
    """Deeper than Python's stack is read; so deep that parsing it would take minutes is dropped, and counted."""
    (folder / "deep.html").write_text("<div>" * 1900 + "deep")
    (folder / "list.html").write_text("<ul>" + "<li>item<p>text" * 5000)
    (folder / "bottomless.html").write_text("<div>" * 300_000 + "deep")
    found, account = documents(folder)
    assert found["docs/deep.html"].text.strip() == "deep"
    assert account.dropped == {"nested_too_deeply": 1}
    assert len(found["docs/list.html"].content.blocks) == 10_000


@pytest.mark.parametrize("reader", [plain_blocks, markdown_blocks])
@given(text=st.text(alphabet=st.sampled_from("ab1 .\n\r\t#-*=|>`~_[]()\u2028\x0bé"), max_size=120))
def test_blocks_are_in_order_apart_and_hold_every_letter(reader, text):
    document = reader(text)
    assert document.text == text
    at = 0
    covered = set()
    for block in document.blocks:
        assert at <= block.start < block.end <= len(text)
        covered.update(range(block.start, block.end))
        at = block.end
    assert all(place in covered for place, char in enumerate(text) if char.isalnum())


@given(text=st.text(alphabet=st.sampled_from("aB1 .!?\n。Mr\"')e"), max_size=120))
def test_every_character_is_in_one_sentence(text):
    spans = sentence_spans(text)
    assert "".join("".join(text[a:b].split()) for a, b in spans) == "".join(text.split())
    assert all(text[a:b] == text[a:b].strip() for a, b in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dr. Smith paid 3.5 dollars. He left.", ["Dr. Smith paid 3.5 dollars.", "He left."]),
        (
            "See fig. 3 of J. R. Hartley, e.g. the U.S. one. Then go",
            ["See fig. 3 of J. R. Hartley, e.g. the U.S. one.", "Then go"],
        ),
        ('"Really?" she said. "No." They went on...', ['"Really?" she said.', '"No."', "They went on..."]),
        ("北京是首都。人口很多！", ["北京是首都。", "人口很多！"]),
        ("no stop\n\nanother", ["no stop", "another"]),
    ],
)
def test_sentences(text, sentences):
    assert [text[a:b] for a, b in sentence_spans(text)] == sentences


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "docs" / "sub").mkdir(parents=True)
    return tmp_path / "docs"


def documents(place, **config):
    account = Account()
    found = list(read_documents(IndexConfig(documents=str(place), **config), place, None, account))
    assert account.read == account.kept + sum(account.dropped.values()) + sum(account.failed.values())
    return {document.source: document for document in found}, account


def test_text_is_the_files_own(folder):
    written = {"a.txt": "ünï\r\ncode\n\n\tend", "sub/b.md": "# T\r\n\r\nx", "c.text": "\ufeffmarked"}
    for name, text in written.items():
        (folder / name).write_bytes(text.encode())
    (folder / "wide.txt").write_bytes("breit ä".encode("utf-16"))
    (folder / "latin.html").write_bytes(b'<meta charset="iso-8859-1"><p>caf\xe9 \x80')
    (folder / "ignored.pdf").write_bytes(b"%PDF")
    (folder / ".hidden.txt").write_text("hidden")
    found, account = documents(folder)
    assert found["docs/a.txt"].text == written["a.txt"]
    assert found["docs/sub/b.md"].text == written["sub/b.md"]
    assert found["docs/c.text"].text == "marked"
    assert found["docs/wide.txt"].text == "breit ä"
    assert found["docs/latin.html"].text == "café €\n"
    assert (account.read, account.kept) == (5, 5)


def test_what_is_dropped_is_counted(folder, tmp_path):
    (folder / "a.txt").write_text("same")
    (folder / "b.txt").write_text("same")
    (folder / "empty.txt").write_text("")
    (folder / "blank.md").write_text(" \n\n")
    (folder / "scripts.html").write_text("<script>x</script>")
    (folder / "binary.txt").write_bytes(b"\x00\x01\xff")
    (folder / "large.txt").write_text("x" * 2000)
    (tmp_path / "secret.txt").write_text("outside")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(folder / "endless.txt")
    found, account = documents(folder, largest_document=1000)
    assert list(found) == ["docs/a.txt"]
    assert account.dropped == {"duplicate": 1, "empty": 3, "not_text": 1, "too_large": 1, "link_leads_outside": 1}


def test_json_lines(folder):
    rows = [{"body": "One.", "name": "First"}, {"body": ""}, {"body": "Two."}, {"body": "\ud800"}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, account = documents(folder, text_field="body", title_field="name")
    assert [(source, d.text, d.title) for source, d in found.items()] == [
        ("docs/rows.jsonl#1", "One.", "First"),
        ("docs/rows.jsonl#3", "Two.", ""),
    ]
    assert account.dropped == {"empty": 1, "not_text": 1}
    (alone,) = documents(folder / "rows.jsonl", text_field="body")[0].keys() - {"rows.jsonl#3"}
    assert alone == "rows.jsonl#1"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("bad.txt", b"ok \xff", "bad.txt: not utf-8 at byte 3"),
        ("bad.jsonl", b'{"text": "x"}\n{oops\n', "bad.jsonl line 2: not JSON"),
        ("bad.jsonl", b'{"body": "x"}\n', 'bad.jsonl line 1: no field "text" (fields: body)'),
    ],
)
def test_a_document_that_cant_be_read_is_named_or_counted(folder, name, content, says):
    (folder / "good.txt").write_text("good")
    (folder / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        documents(folder)
    assert says in str(caught.value)
    found, account = documents(folder, on_error="skip")
    assert "docs/good.txt" in found
    assert sum(account.failed.values()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(folder):
    (folder / "locked.txt").write_text("x")
    (folder / "locked.txt").chmod(0)
    with pytest.raises(InputError, match=r"locked\.txt: can't be read"):
        documents(folder)


@pytest.mark.parametrize("make", ["missing", "empty", "nothing that fits", "pipe"])
def test_places_without_documents(folder, make):
    place = folder / "place"
    if make == "pipe":
        os.mkfifo(place)
    elif make != "missing":
        place.mkdir()
    if make == "nothing that fits":
        (place / "x.pdf").write_bytes(b"x")
    with pytest.raises(InputError, match="place"):
        documents(place)


def test_names_that_arent_text(folder):
    name = os.fsencode(folder) + b"/evil\x1b[31m\xff\n.txt"
    with open(name, "w") as file:
        file.write("content")
    (source,) = documents(folder)[0]
    source.encode()
    assert "\\xff" in source
