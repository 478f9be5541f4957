"""The part of an artefact's page that shows a corpus: of one that was really curated, of hostile ones, of bare ones."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.pipeline import verbs
from bedplate.report.corpus import add_corpus
from bedplate.report.corpus_notes import Bound, ColumnNote
from bedplate.report.page import Page

NOTES = {
    "words": ColumnNote("words, marks not counted", "quality", (Bound("gopher_words", 50, 100_000),)),
    "alphabetic_word_fraction": ColumnNote("", "quality", (Bound("gopher_alphabetic_words", 0.8),)),
    "top_2_gram_character_fraction": ColumnNote("characters in the most common & repeated", "repetition"),
}
HOSTILE = "<script>alert(1)</script>\x07\u202e" + "W" * 3000 + " مرحبا & \"quoted\" 'too' \x00"
WORDS = (
    "the",
    "of",
    "and",
    "to",
    "be",
    "have",
    "that",
    "with",
    "river",
    "stone",
    "paper",
    "light",
    "morning",
    "winter",
)


def page_of(corpus, notes=None):
    page = Page("corpus")
    add_corpus(page, corpus, notes)
    return page.html()


def words(n, count):
    return " ".join(WORDS[(n * 7 + k * k + k // 5 * n) % len(WORDS)] for k in range(count)) + f" number {n}."


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    texts = [words(n, 20 if n % 7 == 0 else 80 + n) for n in range(120)]
    texts += texts[1:5] + [texts[1]] * 3
    texts += [words(500, 90) + " Write to jane.doe@example.org.", "1234 5678 " * 60]
    texts += ["The capital of France is a city that lies on the river Seine with many old bridges. " + words(501, 90)]
    rows = [
        {"text": text, "url": f"https://site{n % 30}.example.org/{n}", "title": f"Title {n}"}
        for n, text in enumerate(texts)
    ]
    (folder / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "notes.txt").write_text(words(900, 300))
    question = "The capital of France is a city that lies on the river Seine with many old bridges"
    (folder / "items.jsonl").write_text(json.dumps({"question": question}) + "\n")
    recipe = {
        "sources": [
            {"jsonl": str(folder / "web.jsonl"), "license": "CC-BY-4.0", "url_field": "url", "title_field": "title"},
            {"text": str(folder / "notes.txt"), "license": "MIT"},
        ],
        "rights": {},
        "privacy": {},
        "signals": {"families": ["quality", "repetition"], "language": None},
        "filters": {"gopher_quality": True},
        "decontaminate": {"files": [{"path": str(folder / "items.jsonl"), "fields": ["question"], "name": "capitals"}]},
        "mix": {"weights": {"web.jsonl": 1}},
        "validation": 0.3,
        "workers": 1,
    }
    return verbs.curate(recipe, {}, folder / "corpus", console=Console.quiet())


@pytest.fixture(scope="module")
def rows(curated):
    parts = [row for path in sorted(curated.path.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]
    return parts, pq.read_table(curated.path / "dropped.parquet").to_pylist()


def cells(html, *beginning):
    """The rows of tables that begin with these cells, without markup."""
    found = []
    for line in re.findall(r"<tr>(.*?)</tr>", html):
        row = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", line)]
        if row[: len(beginning)] == list(beginning):
            found.append(row)
    return found


def test_the_funnel_is_that_of_the_measures_and_the_tables(curated, rows, check_page):
    html = page_of(curated, NOTES)
    check_page(html)
    stages = curated.measures["stages"]
    assert cells(html, "all")[0][2] == str(stages["read"]["read"])
    for name, stage in stages.items():
        shown = cells(html, name)[0]
        assert shown[2] == str(stage["kept"])
        assert shown[3] == (str(sum(stage["dropped"].values())) if stage["dropped"] else "–")
    reasons = Counter((row["reason"], row["stage"]) for row in rows[1])
    assert reasons == {(r, name): n for name, stage in stages.items() for r, n in stage["dropped"].items()}
    for (reason, stage), n in reasons.items():
        shown = cells(html, reason.replace("_", " "))[0]
        assert (shown[1], shown[4]) == (str(n), stage)
        assert f"{reason.replace('_', ' ')} ({stage}, dropped): {n}" in html


def test_what_is_in_it_is_counted_from_its_rows(curated, rows):
    html = page_of(curated, NOTES)
    kept, lost = rows
    for label in ("web.jsonl", "notes.txt"):
        mine = Counter(row["split"] for row in kept if row["label"] == label)
        gone = sum(row["label"] == label for row in lost)
        shown = next(row for row in cells(html, label) if len(row) == 6)
        assert (shown[1], shown[3], shown[5]) == (str(mine["train"]), str(mine["validation"]), str(gone))
    assert cells(html, "CC-BY-4.0", "declared")[0][2] == str(sum(row["license"] == "CC-BY-4.0" for row in kept))
    email = [row["personal_email"] for row in kept]
    assert cells(html, "email")[0][1:3] == [str(sum(n > 0 for n in email)), str(sum(email))]
    assert cells(html, "capitals")[0] == ["capitals", "0", str(sum(row["reason"] == "contaminated" for row in lost))]
    assert cells(html, "capitals")[1] == ["capitals", "1", "1", "1", "1"]
    mixed = curated.measures["joint"]["mix"]["web.jsonl"]
    shown = next(row for row in cells(html, "web.jsonl") if row[-1].endswith("%"))
    assert shown[2:] == [
        f"{round(mixed['tokens']):,}",
        f"{mixed['epochs']:.2f}",
        f"{round(mixed['mixed_tokens']):,}",
        f"{100 * mixed['share']:.1f}%",
    ]
    domains = Counter(row["domain"] for row in kept)
    sites = [row for row in cells(html) if row and row[0].endswith(".example.org")]
    assert sites
    assert all(row[1] == str(domains[row[0]]) for row in sites)


def test_copies_are_shown_with_what_they_are_copies_of(curated, rows):
    html = page_of(curated, NOTES)
    copies = Counter(row["other"] for row in rows[1] if row["other"])
    assert max(copies.values()) == 4
    assert "4 copies of web.jsonl#2<" in html
    assert html.count(f'<span class="note">{copies.most_common(1)[0][0]}</span>') >= 5


def test_signals_have_histograms_with_the_bounds_of_rules(curated, rows):
    html = page_of(curated, NOTES)
    measured = sum(row["words"] is not None for row in rows[1])
    assert re.search(rf'aria-label="words"[^>]*>.*?{len(rows[0]):,} documents kept.*?{measured:,} left out', html)
    assert "gopher_words: 50 at least, 100,000 at most." in html
    assert "words, marks not counted" in html
    assert "≥ 50<" in html
    assert ">quality</span></h3>" in html
    assert ">repetition: top 2 gram character fraction<" in html
    assert "characters in the most common &amp; repeated" in html


def test_samples_say_what_failed_and_what_only_just_passed(curated, rows):
    html = page_of(curated, NOTES)
    detail = next(row["detail"] for row in rows[1] if row["reason"] == "gopher_words")
    assert re.fullmatch(r"words \d+ is under 50", detail)
    assert f"<br>{detail}</p><pre>" in html
    least = min(row["words"] for row in rows[0])
    assert f"words {least}; 50 at least, 100,000 at most" in html
    assert rows[0][0]["text"][:100] in html


def test_the_page_is_the_same_every_time(curated):
    assert page_of(curated, NOTES) == page_of(curated, NOTES)


def test_without_notes_columns_are_shown_by_name(curated, check_page):
    html = page_of(curated)
    check_page(html)
    assert "other columns" in html
    assert ">mean word length<" in html


def corpus_of(folder, kept, lost=None, measures=None):
    """A corpus with these tables, as far as its page looks at it."""
    pq.write_table(pa.table(kept), folder / "part-00000.parquet")
    if lost is not None:
        pq.write_table(pa.table(lost), folder / "dropped.parquet")
    outputs = [SimpleNamespace(path=path.name) for path in sorted(folder.glob("*.parquet"))]
    return SimpleNamespace(
        manifest=SimpleNamespace(outputs=outputs), file=lambda p: folder / p, measures=measures or {}
    )


def hostile(folder):
    n = 30
    names = "id text source label title domain license split license_evidence language language_detected opt_out"
    kept = {name: [HOSTILE] * n for name in [*names.split(), "cluster", "contaminated_items"]}
    kept |= {"bytes": [None] * n, "words": [float("nan"), float("inf"), -float("inf"), *range(n - 3)]}
    kept |= {"<b>": list(range(n)), "personal_<i>": [3] * n}
    lost = {name: [HOSTILE] * n for name in ("id", "source", "label", "status", "stage", "reason", "detail", "excerpt",
            "other")} | {"bytes": [1] * n, "words": [None] * n}  # fmt: skip
    stage = {"read": 60, "kept": 30, "dropped": {HOSTILE: 30}, "failed": {}, "cpu_s": 1.5}
    measures = {"kept": 30, "stages": {HOSTILE: stage}, "joint": {
        "mix": {HOSTILE: {"bytes": 1, "tokens": 1.0, "epochs": 1.0, "mixed_tokens": 2.0, "share": 1.0, "capped": True}},
        "exact": {HOSTILE: HOSTILE}}}  # fmt: skip
    notes = {"words": ColumnNote(HOSTILE, HOSTILE, (Bound(HOSTILE, 3, 9),))}
    return page_of(corpus_of(folder, kept, lost, measures), notes)


def test_hostile_values_are_harmless(tmp_path, check_page):
    html = hostile(tmp_path)
    text = check_page(html)
    assert "<script" not in html
    assert "<b>" not in html
    assert "<script>alert(1)</script>\ufffd\ufffd" in text
    assert "\u202e" not in html


@pytest.mark.parametrize("columns", [
    {"text": ["a text", "another"], "bytes": [6, 7]},
    {"text": ["a text", None], "bytes": [6, None], "source": ["x#1", None], "split": ["train", "train"]},
    {"text": pa.array([], pa.string()), "bytes": pa.array([], pa.int64()), "words": pa.array([], pa.int32())},
    {"text": ["x"], "bytes": [1], "words": [5], "language": [None], "cluster": [None], "label": ["l"]},
])  # fmt: skip
def test_what_a_corpus_has_not_is_left_out(tmp_path, columns, check_page):
    html = page_of(corpus_of(tmp_path, columns))
    text = check_page(html)
    assert "What is in it" in text
    assert "What became of" not in text
    assert "Duplicates" not in text
    assert ("Some of its documents" in text) == bool(len(columns["text"]))
    assert "a text" in text or len(columns["text"]) < 2


def test_a_corpus_whose_manifest_counts_otherwise_is_said_to(tmp_path):
    stages = {"read": {"read": 3, "kept": 3, "dropped": {}, "failed": {}, "cpu_s": 0.0}}
    corpus = corpus_of(tmp_path, {"text": ["x"], "bytes": [1]}, measures={"kept": 3, "stages": stages})
    assert "counts 3 documents kept, and the tables hold 1" in page_of(corpus)


def test_documents_that_are_alike_are_shown_together(tmp_path, check_page):
    texts = [f"text {n} {'much the same' if n < 6 else n}" for n in range(10)]
    clusters = ["c1"] * 6 + ["c2", None, None, "c3"]
    names = [f"books/{n}" for n in range(10)]
    kept = {"text": texts, "bytes": [9] * 10, "cluster": clusters, "source": names, "id": names}
    text = check_page(page_of(corpus_of(tmp_path, kept)))
    assert "6 documents like books/0" in text
    assert "and 2 more." in text
    assert "documents like books/6" not in text


@pytest.mark.parametrize("which", ["curated", "hostile"])
def test_in_a_browser_nothing_overflows_and_nothing_is_loaded(which, curated, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    file = Path(tmp_path / "page.html")
    file.write_text(page_of(curated, NOTES) if which == "curated" else hostile(tmp_path), encoding="utf-8")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: said.append(request.url) if request.url != file.as_uri() else None)
        page.goto(file.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true })")
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width
        assert said == []
        browser.close()
