"""The comparison page in a real headless browser: it opens, complains of nothing, asks for nothing from elsewhere."""

from __future__ import annotations

import json
import shutil

import pytest

from bedplate.adapt.compare.config import CompareConfig
from bedplate.adapt.compare.stage import COMPARE
from bedplate.console import Console
from bedplate.ledger import produce

playwright = pytest.importorskip("playwright.sync_api")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_report_opens_without_a_complaint(tmp_path, scheme, width):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    words = {"animal": ("cat", "dog", "cow"), "tool": ("saw", "axe", "drill")}
    rows = [{"text": f"number {n}: a {words[c][n % 3]} over there", "label": c} for c in words for n in range(40)]
    (tmp_path / "task.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = CompareConfig.model_validate(
        {"task": {"file": str(tmp_path / "task.jsonl")}, "ways": ["majority", "keywords"]}
    )
    made = produce(COMPARE, config, {}, tmp_path / "out", name="comparison", console=Console.quiet())
    complaints: list[str] = []
    asked: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.on("request", lambda r: asked.append(r.url))
        page.goto((made.path / "report.html").as_uri())
        assert "keywords" in page.inner_text("body")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.screenshot(path=str(tmp_path / "page.png"), full_page=True)
        browser.close()
    assert not complaints
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
