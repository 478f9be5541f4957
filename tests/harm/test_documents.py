"""Raw documents that are missing, empty, corrupt, endless or hostile."""

from __future__ import annotations

import json
import os
import sys
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

GOOD = [json.dumps({"text": f"document {number} says hello " * 3}) for number in range(30)]
SCRIPT = "<script>alert(1)</script>"


def lines(bad: str) -> str:
    return "\n".join([*GOOD[:16], bad, *GOOD[16:]]) + "\n"


FILES = {
    "empty.jsonl": "",
    "blank.jsonl": "\n\n\n",
    "corrupt.jsonl": lines('{"text": "half'),
    "cut.jsonl": "\n".join(GOOD)[:-3],
    "field.jsonl": lines('{"body": "x", "title": "y"}'),
    "number.jsonl": lines('{"text": 5}'),
    "array.jsonl": lines("[1, 2]"),
    "nested.jsonl": lines("[" * 100_000),
    "escape.jsonl": '{"\\u001b]0;pwned\\u0007body": "x"}\n',
    "latin.jsonl": "\n".join(GOOD).encode() + b'\n{"text": "caf\xe9"}\n',
    "good.jsonl": "\n".join(GOOD) + "\n",
    "blank/a.txt": "  \n",
    "binary/a.bin": bytes(range(256)),
    "short.parquet": b"PAR1abcdefPAR1",
}

SOURCES = {
    "folder: nowhere": ["nowhere: no such file or folder", "Correct the path in `folder`."],
    "folder: nothing": ["nothing: no files to read in it", "`include` and `exclude`"],
    "folder: blank": ["blank: no text in it: 1 document read, none kept (empty 1)"],
    "folder: binary": ["binary: no text in it: 1 document read, none kept (not_text 1)"],
    "folder: good.jsonl": ["good.jsonl: a file, where `folder` needs a folder", "Use `text`, `jsonl` or `parquet`"],
    "jsonl: nowhere.jsonl": ["nowhere.jsonl: no such file or folder", "Correct the path in `jsonl`."],
    "jsonl: empty.jsonl": ["empty.jsonl: no text in it: 0 documents read"],
    "jsonl: blank.jsonl": ["blank.jsonl: no text in it: 0 documents read"],
    "jsonl: corrupt.jsonl": ["corrupt.jsonl line 17: not JSON: ", "(column 15)", "set on_error=skip"],
    "jsonl: cut.jsonl": ["cut.jsonl line 30: not JSON: Unterminated string starting (column 10)"],
    "jsonl: field.jsonl": ['field.jsonl line 17: no field "text" (fields: body, title)', "Set text_field"],
    "jsonl: number.jsonl": ['number.jsonl line 17: the field "text" holds a number, not a string'],
    "jsonl: array.jsonl": ["array.jsonl line 17: an array, not a JSON object"],
    "jsonl: nested.jsonl": ["nested.jsonl line 17: JSON nested too deeply"],
    "jsonl: escape.jsonl": ['escape.jsonl line 1: no field "text" (fields: ␛]0;pwned␇body)'],
    "jsonl: latin.jsonl": ["latin.jsonl line 31: not JSON: 'utf-8' codec"],
    "jsonl: good.jsonl, text_field: body": ['good.jsonl line 1: no field "body" (fields: text)'],
    "parquet: short.parquet": ["short.parquet: not a whole Parquet file"],
    "parquet: half.parquet": ["half.parquet: not a whole Parquet file"],
    "parquet: flipped.parquet": ["flipped.parquet: damaged after row 0"],
    "parquet: good.jsonl": ["good.jsonl: not a whole Parquet file"],
    "parquet: good.parquet, text_field: body": ['good.parquet: no column "body" (columns: text, number)'],
    "parquet: good.parquet, text_field: number": ['the column "number" holds int64, not text'],
    "text: binary/a.bin": ["a.bin: no text in it"],
    "text: good.jsonl": ["1 document kept, of which the validation split gets none", "another share in `validation`"],
    "text: /dev/zero": ["/dev/zero: neither a file nor a folder, so it may have no end"],
    "text: pipe": ["pipe: neither a file nor a folder"],
    "text: loop": ["loop: no such file or folder"],
}


@pytest.fixture(scope="module")
def told(tmp_path_factory, perform):
    folder = tmp_path_factory.mktemp("documents")
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "nothing").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    table = pa.table({"text": [json.loads(line)["text"] for line in GOOD], "number": list(range(30))})
    pq.write_table(table, folder / "good.parquet")
    whole = (folder / "good.parquet").read_bytes()
    (folder / "half.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "flipped.parquet").write_bytes(whole[:40] + bytes(255 - byte for byte in whole[40:120]) + whole[120:])
    commands = []
    for number, source in enumerate(SOURCES):
        text = f"stages: {{corpus: {{do: curate, sources: [{{{source}, license: unknown}}], validation: 0.2}}}}"
        (folder / f"{number}.yaml").write_text(text)
        commands.append(["curate", f"{number}.yaml"])
    said = dict(zip(SOURCES, perform(folder, commands), strict=True))
    left = [path.name for path in (folder / "runs").glob("*/*") if not path.name.endswith(".lock")]
    assert not left, "half-written artefacts"
    return said


@pytest.mark.parametrize("source", SOURCES)
def test_bad_documents(told, source):
    told[source].is_mistake(*SOURCES[source])


def test_once_the_line_is_mended_the_same_command_works(bench, perform):
    path = bench / "notes.jsonl"
    path.write_text(FILES["corrupt.jsonl"])
    (bench / "notes.yaml").write_text(
        "stages: {corpus: {do: curate, sources: [{jsonl: notes.jsonl, license: MIT}], validation: 0.2}}"
    )
    bad, skipping = perform(
        bench, [["run", "notes.yaml"], ["run", "notes.yaml", "corpus.on_error=skip", "corpus.out=runs/skipped"]]
    )
    bad.is_mistake("notes.jsonl line 17")
    skipping.is_done()
    measures = json.loads((bench / "runs/skipped/bedplate.json").read_text())["measures"]
    assert (measures["read"], measures["kept"], measures["failed"]) == (31, 30, {"corrupt_line": 1})
    path.write_text(FILES["good.jsonl"])
    (mended,) = perform(bench, [["run", "notes.yaml"]])
    mended.is_done()


def test_a_project_that_holds_its_own_runs(bench, perform):
    """`folder: .` is the first thing that many will write, and the runs are made below it."""
    (bench / "mine.yaml").write_text("stages: {corpus: {do: curate, sources: [{folder: ., license: MIT}]}}")
    first, again = perform(bench, [["run", "mine.yaml"], ["--json", "run", "mine.yaml"]])
    first.is_done()
    facts = json.loads(again.out)["corpus"]
    assert facts["cached"]
    assert facts["measures"]["read"] == 40 + 2  # the documents and the recipes


NAMES = (
    f"{SCRIPT.replace('/', '%')}.txt",
    '"><img src=x onerror=alert(2)>.txt',
    "\x1b]0;pwned\x07.txt",
    "new\nerror: line.txt",
    "'; touch pwned; '.txt",
    "$(touch pwned).txt",
    "-rf.txt",
    "\u202etxt.exe",
    " spaces \t.txt",
    "日本.txt",
    "{{7*7}}.txt",
)


class Elements(HTMLParser):
    """Counts what a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.handlers: list[str] = []
        self.images: list[str | None] = []

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag == "img":
            self.images.append(dict(attrs).get("src"))


def test_hostile_names_and_texts_are_shown_and_never_obeyed(bench, perform, stages):
    for number, name in enumerate(NAMES):
        text = f"{number} {SCRIPT} </pre></td></title> \x1b[31mred\x1b]0;owned\x07 {{{{ 7*7 }}}} " + "word " * 60
        (bench / "docs" / name).write_text(text)
    if sys.platform.startswith("linux"):  # other systems take no such name
        (bench / "docs").joinpath(os.fsdecode(b"no\xff\xfetext.txt")).write_text("its name isn't text " * 20)
    (bench / "hostile.yaml").write_text(
        (bench / "tiny.yaml").read_text().replace("name: tiny", "name: hostile").replace("MIT", f'"{SCRIPT}\\e[31m"')
    )
    told = [
        f"release.title={SCRIPT}",
        f"release.description=a | b </details>{SCRIPT}",
        f"evaluation.prompts=['{SCRIPT}']",
        "model.architecture.tie_word_embeddings=true",
    ]
    (said,) = perform(bench, [["run", "hostile.yaml", *told]])
    said.is_done()
    shown = perform(bench, [["show", f"runs/hostile/{stage}"] for stage in stages])
    for text in shown:
        text.is_done()
    pages = [*(bench / "runs/hostile/.pages").glob("*.html"), bench / "runs/hostile/evaluation/report.html"]
    assert len(pages) == len(stages) + 1
    for page in pages:
        html = page.read_text()
        elements = Elements()
        elements.feed(html)
        assert (elements.scripts, elements.handlers) == (0, []), page
        assert all(source and source.startswith("data:") for source in elements.images), page
        assert "\x1b" not in html
    card = (bench / "runs/hostile/release/README.md").read_text()
    assert "<script" not in card.split("---\n", 2)[2], "the header is data, the body is markup"
    assert not list(bench.rglob("pwned*"))
    rows = pq.read_table(bench / "runs/hostile/corpus/part-00000.parquet").column("source").to_pylist()
    assert "docs/no\\xff\\xfetext.txt" in rows or not sys.platform.startswith("linux")
