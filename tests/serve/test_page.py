"""The chat page in a real headless browser. Screenshots go where BEDPLATE_SCREENSHOTS says, if it says."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api")

SIZES = {"desktop": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page of its own, with everything that it complains of and everything that it asks for."""

    def __init__(self, browser, url: str, *, loaded: bool = True, **options) -> None:
        self.context = browser.new_context(**({"viewport": SIZES["desktop"]} | options))
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.abroad: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("request", lambda r: None if r.url.startswith((url, "data:")) else self.abroad.append(r.url))
        self.page.set_default_timeout(15_000)
        self.page.goto(url + "/")
        if loaded:
            self.until("!document.querySelector('#about').textContent.includes('Loading')")

    def until(self, condition: str) -> None:
        """Wait for a condition in JavaScript. (Playwright's own waiting evaluates texts, which our policy forbids.)"""
        deadline = time.monotonic() + 15
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, condition
            self.page.wait_for_timeout(20)

    def choose(self, model: str) -> None:
        self.page.select_option("#model", model)

    def send(self, text: str) -> None:
        self.page.fill("#message", text)
        self.page.keyboard.press("Enter")

    def answered(self, number: int = 1) -> str:
        """The text of the n-th answer, once it is complete."""
        self.page.wait_for_selector(f".assistant:nth-of-type({2 * number}) .foot")
        return self.page.locator(".assistant").nth(number - 1).locator(".text").inner_text()

    def shoot(self, name: str) -> None:
        if folder := os.environ.get("BEDPLATE_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png")


@pytest.fixture
def visit(browser, server):
    visits = []

    def open_page(url: str = server.url, *, quiet: bool = True, **options) -> Visit:
        visits.append((Visit(browser, url, **options), quiet))
        return visits[-1][0]

    yield open_page
    for opened, quiet in visits:
        opened.context.close()
        assert opened.abroad == []
        if quiet:
            assert opened.complaints == []


def settings(page, **values) -> None:
    """Fill the settings' dialog."""
    page.click("#open-settings")
    for name, value in values.items():
        page.locator(f"#{name}").fill(str(value))
    page.click("#settings button.main")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_a_message_is_sent_and_answered(visit, model, size, scheme):
    """At temperature 0 the page shows what the model says in this process, turn after turn."""
    opened = visit(viewport=SIZES[size], color_scheme=scheme)
    opened.shoot(f"{size}-{scheme}-welcome")
    settings(opened.page, temperature=0, most=30, system="Be brief.")
    said = [{"role": "system", "content": "Be brief."}]
    for number, text in enumerate(["What is a bedplate?", "And then?"], start=1):
        opened.send(text)
        said.append({"role": "user", "content": text})
        wanted = model.chat(said, max_tokens=30).text
        said.append({"role": "assistant", "content": wanted})
        assert words(opened.answered(number)) == words(wanted)
    assert "tokens" in opened.page.locator(".foot").nth(1).inner_text()
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.shoot(f"{size}-{scheme}-answered")


def words(text: str) -> str:
    """The text without what is only setting: code and bold marks, white space, control characters."""
    return re.sub(r"[\s`*\x00-\x1f\x7f]+", "", text)


def test_a_markup_like_answer_is_only_text(visit, server):
    """The page inserts text, whatever a model writes."""
    opened = visit()
    script = "<img src=x onerror=alert(1)><script>document.title='taken'</script>"
    opened.page.evaluate(
        "text => { turns.push({role: 'assistant', content: text, over: true}); show(turns.at(-1)); }",
        script + "\n```\n<b>code</b>\n```",
    )
    shown = opened.page.locator(".assistant .text")
    assert script in shown.inner_text()
    assert "<b>code</b>" in shown.inner_text()
    assert shown.locator("img, script, b").count() == 0
    assert opened.page.title() == "Bedplate chat"


def test_an_answer_can_be_stopped_by_button_and_by_key(visit, server):
    opened = visit()
    opened.choose("endless")
    settings(opened.page, most=100000)
    for number, stop in enumerate(("click", "key"), start=1):
        opened.send("Go on")
        opened.until(f"document.querySelectorAll('.assistant .text')[{number - 1}].textContent.length > 20")
        assert not opened.page.locator("#send").is_visible()
        opened.page.click("#stop") if stop == "click" else opened.page.keyboard.press("Escape")
        opened.page.wait_for_selector(f".foot >> nth={number - 1}")
        assert "stopped" in opened.page.locator(".foot").nth(number - 1).inner_text()
        assert server.idle()
    assert opened.page.locator("#send").is_visible()


def test_leaving_the_page_frees_the_slot(visit, server):
    opened = visit()
    opened.choose("endless")
    settings(opened.page, most=100000)
    opened.send("Go on")
    assert server.eventually(lambda h: h["active"] == 1)
    opened.page.goto("about:blank")
    assert server.idle()
    opened.abroad.clear()


def test_a_reload_keeps_the_conversation_and_new_chat_ends_it(visit):
    opened = visit()
    settings(opened.page, temperature=0, most=8)
    opened.send("Remember this")
    text = opened.answered()
    opened.page.reload()
    assert opened.answered() == text
    opened.page.click("#new")
    assert opened.page.locator(".turn").count() == 0
    assert opened.page.locator("#welcome").is_visible()


def test_an_error_is_shown_and_can_be_tried_again(visit):
    opened = visit(quiet=False)  # the browser itself notes the status 400
    opened.send("refuse")
    alert = opened.page.locator(".problem")
    alert.wait_for()
    assert "no such words here" in alert.inner_text()
    alert.get_by_role("button", name="Try again").click()
    opened.until("document.querySelectorAll('.problem').length === 1 && !document.querySelector('.waiting')")
    opened.send("Something else")
    opened.page.wait_for_selector(".foot")
    assert all("400" in complaint for complaint in opened.complaints)


def test_a_base_model_goes_on_with_the_text(visit, model):
    opened = visit()
    opened.choose("plain")
    assert "goes on with what you write" in opened.page.locator("#about").inner_text()
    settings(opened.page, temperature=0, most=12)
    opened.send("def main():")
    assert words(opened.answered()) == words(model.generate("def main():", max_tokens=12)[0].text)


def test_a_server_that_is_gone_is_told(visit, serving, tiny):
    with serving(tiny) as short_lived:
        opened = visit(short_lived.url, quiet=False)
        short_lived.stop()
        opened.send("Are you there?")
        opened.page.wait_for_selector(".problem")
        assert "can't be reached" in opened.page.locator(".problem").inner_text()


def test_a_key_is_asked_for_once(visit, serving, tiny):
    with serving(tiny, "--key-env", "TEST_KEY", environment={"TEST_KEY": "s3cret"}) as locked:
        opened = visit(locked.url, quiet=False, loaded=False)  # the browser itself notes the status 401
        for key in ("wrong", "s3cret"):
            opened.page.locator("#key-value").fill(key)
            opened.page.click("#key button.main")
        opened.page.wait_for_selector("#model option", state="attached")
        opened.send("hello")
        opened.answered()
        opened.page.reload()
        opened.page.wait_for_selector("#model option", state="attached")
        assert not opened.page.locator("#key").is_visible()
        assert all("401" in complaint for complaint in opened.complaints)


def test_everything_can_be_reached_and_is_named(visit):
    """Each control has a name for screen readers, and the keyboard alone is enough."""
    opened = visit()
    page = opened.page
    assert page.evaluate("document.activeElement.id") == "message"
    for role, name in (("combobox", "Model"), ("textbox", "Message"), ("button", "Send")):
        assert page.get_by_role(role, name=name).count() == 1
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, select, textarea')]"
        ".filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).map(e => e.id)"
    )
    assert unnamed == []
    page.keyboard.press("Shift+Tab")  # from the message box back to the frame
    for _ in range(6):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement !== document.body")
    page.focus("#open-settings")
    page.keyboard.press("Enter")
    assert page.locator("#settings").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#settings").is_visible()
    assert page.evaluate("document.activeElement.id") == "open-settings"
    page.focus("#message")
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    assert page.input_value("#message") == "one\ntwo"
    page.keyboard.press("Enter")
    opened.answered()
    assert page.locator("#status").inner_text()
