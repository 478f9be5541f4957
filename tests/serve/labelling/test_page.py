"""The labelling page in a real headless browser. Screenshots go where BEDPLATE_SCREENSHOTS says, if it says."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from bedplate.data.labels.record import Label, standing
from bedplate.data.labels.store import LabelFile

playwright = pytest.importorskip("playwright.sync_api")

SIZES = {"desktop": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page of its own, with everything that it complains of and everything that it asks for."""

    def __init__(self, browser, server, *, token: bool = True, **options) -> None:
        self.context = browser.new_context(**({"viewport": SIZES["desktop"]} | options))
        self.page = self.context.new_page()
        self.complaints, self.abroad = [], []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("request", lambda r: r.url.startswith((server.url, "data:")) or self.abroad.append(r.url))
        self.page.set_default_timeout(15_000)
        self.page.goto(f"{server.url}/#{server.token}" if token else f"{server.url}/")

    def until(self, condition: str):
        """Wait for a condition in JavaScript. (Playwright's own waiting evaluates texts, which our policy forbids.)"""
        deadline = time.monotonic() + 15
        while not (found := self.page.evaluate(condition)):
            assert time.monotonic() < deadline, condition
            self.page.wait_for_timeout(20)
        return found

    def at(self, number: int) -> None:
        """Wait until the document with this number, from 1 on, is shown and the page is at rest."""
        self.until(f"!busy && shown !== null && shown.at === {number - 1}")

    def press(self, key: str) -> None:
        self.until("!busy")
        self.page.keyboard.press(key)

    def shoot(self, name: str) -> None:
        if folder := os.environ.get("BEDPLATE_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"label-{name}.png")


@pytest.fixture
def visit(browser):
    visits = []

    def open_page(server, *, quiet: bool = True, **options) -> Visit:
        visits.append((Visit(browser, server, **options), quiet))
        return visits[-1][0]

    yield open_page
    for opened, quiet in visits:
        opened.context.close()
        assert opened.abroad == []
        if quiet:
            assert opened.complaints == []


def held(tmp_path) -> list[str | None]:
    return [record.label for record in standing(LabelFile(tmp_path / "labels.jsonl").records()).values()]


def test_documents_are_labelled_from_the_keyboard(visit, page, tmp_path):
    opened = visit(page)
    opened.at(1)
    assert page.token not in opened.page.url
    opened.press("1")
    opened.at(2)
    opened.press("2")
    opened.at(3)
    opened.press("s")
    opened.at(4)
    assert held(tmp_path) == ["good", "bad", None]
    assert opened.page.locator("#progress").inner_text().startswith("2 of 15, 1 skipped")
    opened.press("ArrowLeft")
    opened.at(3)
    assert "skipped" in opened.page.locator(".top").inner_text()
    opened.press("ArrowLeft")
    opened.at(2)
    assert opened.page.locator("#choices button[aria-pressed=true]").inner_text().endswith("bad")
    opened.press("3")  # labelled anew, and on to the next that waits
    opened.at(4)
    assert held(tmp_path) == ["good", "unsure", None]
    opened.press("u")
    opened.at(2)
    assert held(tmp_path) == ["good", None]
    opened.press("9")  # there is no ninth label
    opened.page.wait_for_timeout(100)
    assert held(tmp_path) == ["good", None]
    opened.page.reload()
    opened.at(2)  # the first that waits; the token is kept for the tab
    seconds = LabelFile(tmp_path / "labels.jsonl").records()[0].seconds
    assert 0 <= seconds < 15


def test_to_the_end_and_back(visit, labelling, labelled_corpus, tmp_path):
    with labelling(labelled_corpus, tmp_path / "labels.jsonl", most=3, order="corpus") as server:
        opened = visit(server)
        for number in (1, 2, 3):
            opened.at(number)
            opened.page.click("#choices button:nth-child(2)")
        opened.until("!busy && document.querySelector('.empty h2')?.textContent === 'All done'")
        assert held(tmp_path) == ["bad", "bad", "bad"]
        opened.shoot("done")
        opened.press("u")
        opened.at(3)
        assert held(tmp_path) == ["bad", "bad"]


def test_markup_is_only_text_and_long_texts_come_in_pieces(visit, labelling, labelled_corpus, tmp_path, long_text):
    with labelling(labelled_corpus, tmp_path / "labels.jsonl", order="corpus") as server:
        opened = visit(server)
        opened.at(1)
        opened.page.evaluate("open(11)")
        opened.at(12)
        assert opened.page.locator("#text").inner_text().startswith("<img src=x onerror")
        assert opened.page.locator("#text *").count() == 0
        assert opened.page.title() == "corpus: labels"
        opened.press("ArrowLeft")
        opened.at(11)
        assert opened.page.evaluate("[...document.querySelector('#text').textContent].length") == 12_000
        while opened.page.locator("#more").count():
            opened.press("m")
            opened.until("!busy")
        assert opened.page.evaluate("document.querySelector('#text').textContent") == long_text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_looks_right_in_any_light_and_on_a_phone(visit, page, tmp_path, size, scheme):
    """Nothing lies beyond the edge, every control has a name, and guideline and agreement can be read."""
    documents = [page.get("document", at=at) for at in range(15)]
    for document in documents[:9]:
        for annotator in ("bob", "cyd"):
            given = "good" if document["at"] % 3 or annotator == "bob" else "bad"
            LabelFile(tmp_path / "labels.jsonl").append(
                Label(document["id"], given, annotator, None, 1.0, "2024-05-01T12:00:00Z", document["sha256"])
            )
    opened = visit(page, viewport=SIZES[size], color_scheme=scheme)
    opened.at(1)
    for _ in range(3):
        opened.press("1")
        opened.until("!busy")
    dropped = next(document["at"] for document in documents if document["fate"]["status"] == "dropped")
    titled = max((d for d in documents if "title" in d["about"]), key=lambda d: d["characters"] % 12_000)["at"]
    opened.page.evaluate(f"open({titled})")
    opened.at(titled + 1)
    opened.shoot(f"{size}-{scheme}-kept")
    opened.page.evaluate(f"open({dropped})")
    opened.at(dropped + 1)
    assert opened.page.locator("#why").inner_text().startswith("filters: gopher short: ")
    assert "only the beginning" in opened.page.locator("#excerpt").inner_text()
    opened.shoot(f"{size}-{scheme}-dropped")
    unnamed = opened.page.evaluate(
        "[...document.querySelectorAll('button')].filter(e => !e.ariaLabel && !e.textContent.trim()).length"
    )
    assert unnamed == 0
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.press("a")
    opened.until("document.querySelector('#agreement').open")
    assert "alpha" in opened.page.locator("#agreement").inner_text()
    opened.shoot(f"{size}-{scheme}-agreement")
    opened.page.keyboard.press("1")  # a dialog takes no labels
    opened.page.keyboard.press("Escape")
    opened.press("g")
    assert "Good is what teaches something." in opened.page.locator("#guideline").inner_text()
    opened.page.keyboard.press("Escape")
    assert sum(r.annotator == "ann" for r in LabelFile(tmp_path / "labels.jsonl").records()) == 3


def test_without_the_token_nothing_is_shown(visit, page):
    opened = visit(page, token=False, quiet=False)  # the browser itself notes the status 401
    opened.until("document.querySelector('.empty h2')?.textContent === 'Nothing to show'")
    assert "terminal" in opened.page.locator(".empty").inner_text()


def test_a_server_that_is_gone_is_told(visit, labelling, labelled_corpus, tmp_path):
    with labelling(labelled_corpus, tmp_path / "labels.jsonl") as server:
        opened = visit(server, quiet=False)
        opened.at(1)
    opened.press("1")
    opened.until("!document.querySelector('#problem').hidden")
    assert "can't be reached" in opened.page.locator("#problem").inner_text()
