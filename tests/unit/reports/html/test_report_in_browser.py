"""Reports as a browser shows them: light and dark, wide and narrow, silent, and readable."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_runs import CONTINUED, MEASURED, OLD, WHOLE, ReportRuns

from accel_yolo.reports.html.compare_page import compare_page
from accel_yolo.reports.html.comparison import members_of
from accel_yolo.reports.html.run_page import run_page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
COMPARED = "compared"
PAGES = (WHOLE, MEASURED, COMPARED)
LOOKS = [("light", WIDE), ("dark", WIDE), ("light", PHONE), ("dark", PHONE)]

# Every piece of text with its colour and what is behind it; text on a bar of colour or in a cell is measured elsewhere.
CONTRASTS = """() => {
  const rgba = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const luminance = ([r, g, b]) => {
    const linear = [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, style, title, .cell, td.bar")) continue;
    const style = getComputedStyle(element);
    const ink = rgba(element instanceof SVGElement ? style.fill : style.color);
    const [dark, light] = [luminance(ink), luminance(behind(element))].sort((a, b) => a - b);
    found.push([(light + 0.05) / (dark + 0.05), element.outerHTML.slice(0, 90)]);
  }
  return found;
}"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A browser without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
    program = next((path for name in NAMES if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        # A process of root has no sandbox to go into; the pages are ours.
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def pages(report_runs: ReportRuns, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of the pages that are looked at."""
    folder = tmp_path_factory.mktemp("pages")
    texts = {kind: run_page(report_runs[kind]) for kind in (WHOLE, MEASURED)}
    texts[COMPARED] = compare_page(members_of([report_runs[kind] for kind in (WHOLE, CONTINUED, OLD, MEASURED)]))
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


class Opened:
    """A page in a browser, and everything that it did besides showing itself."""

    def __init__(self, browser: Any, path: Path, scheme: str, viewport: dict[str, int], **options: Any) -> None:
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme, **options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize(("scheme", "viewport"), LOOKS, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("name", PAGES)
def test_a_report_is_silent_whole_and_readable(
    browser: Any, report_runs: ReportRuns, pages: dict[str, Path], name: str, scheme: str, viewport: dict[str, int]
) -> None:
    with Opened(browser, pages[name], scheme, viewport) as opened:
        page = opened.page
        for summary in page.locator("summary").all():
            summary.click()
        assert opened.said == []
        assert [url for url in opened.asked if not url.startswith("data:")] == [pages[name].as_uri()]
        wide = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide[0] <= wide[1], "nothing is scrolled sideways but tables in their boxes"
        sizes = page.evaluate("[...document.images].map((image) => [image.complete, image.naturalWidth])")
        assert all(complete and width > 0 for complete, width in sizes)
        pictures = [] if name == COMPARED else list(report_runs[name].glob("*.jpg"))
        assert len(sizes) == len(pictures) and (name == COMPARED or len(sizes) >= 3), "every picture of the run"
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 100
        assert [(ratio, place) for ratio, place in contrasts if ratio < 4.5] == []
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(14, 18, 23)") == (scheme == "dark")
        assert page.locator("section:visible").count() == page.locator("nav a").count() >= 6


def test_a_click_sorts_the_classes_and_says_so(browser: Any, pages: dict[str, Path]) -> None:
    with Opened(browser, pages[WHOLE], "light", WIDE) as opened:
        head = opened.page.locator("table[data-sort] thead th", has_text="Images")
        column = "[...document.querySelectorAll('table[data-sort] tbody tr')].map((row) => +row.cells[1].textContent)"
        before = opened.page.evaluate(column)
        for order, turned in (("descending", True), ("ascending", False)):
            head.locator("button").click()
            assert head.get_attribute("aria-sort") == order
            assert opened.page.evaluate(column) == sorted(before, reverse=turned)
        assert before != sorted(before) and opened.said == []


def test_without_scripts_nothing_is_missing(browser: Any, pages: dict[str, Path]) -> None:
    with (
        Opened(browser, pages[WHOLE], "light", WIDE, java_script_enabled=False) as silent,
        Opened(browser, pages[WHOLE], "light", WIDE) as usual,
    ):
        texts = [each.page.locator("body").inner_text() for each in (silent, usual)]
        assert texts[0] == texts[1] and len(texts[0]) > 2000


def test_what_has_the_focus_is_seen_and_full_size_needs_no_mouse(browser: Any, pages: dict[str, Path]) -> None:
    with Opened(browser, pages[WHOLE], "light", PHONE) as opened:
        page = opened.page
        page.keyboard.press("Tab")
        outline = (
            "(({outlineStyle, outlineWidth}) => [outlineStyle, outlineWidth])(getComputedStyle(document.activeElement))"
        )
        assert page.evaluate(outline) == ["solid", "3px"]
        image = page.locator("#worst img")
        shown = image.bounding_box()["width"]
        page.locator("#worst input").focus()
        page.keyboard.press("Space")
        assert image.bounding_box()["width"] > shown
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_on_paper_it_is_dark_on_light_without_controls(browser: Any, pages: dict[str, Path]) -> None:
    with Opened(browser, pages[WHOLE], "dark", WIDE) as opened:
        opened.page.emulate_media(media="print")
        assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert opened.page.evaluate("getComputedStyle(document.body).color") == "rgb(26, 32, 39)"
        assert not opened.page.locator("nav").is_visible()
