"""The documentation as a site: built without a warning, without a dead link, asking nothing of other hosts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from documentation import PAGES, ROOT

LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}
"""Elements whose address a browser loads by itself."""


@dataclass
class Page(HTMLParser):
    """What a page of the site refers to, and what can be referred to in it."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    headings: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in an element."""
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.anchors.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        self.headings += tag == "h1"
        if values.get(LOADED.get(tag, "")):
            self.loaded.append(values[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
    assert done.returncode == 0 and not lines, "\n".join(lines)
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Each page of the site, read."""
    found = {}
    for path in sorted(site.rglob("*.html")):
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        found[path] = page
    return found


def test_every_page_of_the_repository_is_in_the_site_and_has_one_title(site: Path, pages: dict[Path, Page]) -> None:
    for page in PAGES:
        if page.is_relative_to(ROOT / "docs"):
            assert (site / page.relative_to(ROOT / "docs")).with_suffix(".html") in pages
    for name in ("changelog", "contributing", "licence", "results/side-by-side"):
        assert site / f"{name}.html" in pages
    wrong = [path.name for path, page in pages.items() if page.headings != 1 and path.name != "404.html"]
    assert not wrong, f"not exactly one <h1>: {wrong}"


def test_the_navigation_names_every_page_once() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)
    assert len(named) > 30
    assert sorted(named) == sorted(set(named))


def test_every_link_inside_leads_to_a_page_and_to_its_anchor(site: Path, pages: dict[Path, Page]) -> None:
    dead = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are those of the root, wherever it is shown
            continue
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            target = target / "index.html" if target.is_dir() else target
            is_there = target.is_file() and target.is_relative_to(site.resolve())
            if not is_there or (anchor and target in pages and anchor not in pages[target].anchors):
                dead.append(f"{path.name}: {link}")
    assert not dead, dead


def test_no_page_loads_anything_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    addresses = [address for page in pages.values() for address in page.loaded]
    assert len(addresses) > 100
    foreign = {address for address in addresses if re.match(r"(https?:)?//", address)}
    assert not foreign, foreign
    for style in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_the_source_of_a_page_is_readable_on_a_code_host_too() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"
    for page in PAGES:
        for file in re.findall(r"`(tests/[\w/]+\.py)`", page.read_text(encoding="utf-8")):
            assert (ROOT / file).is_file(), f"{page.name} names {file}"


def test_the_site_has_the_shim_without_which_search_needs_a_server(site: Path) -> None:
    assert "iframe-worker.js" in (site / "index.html").read_text(encoding="utf-8")
    assert (site / "search" / "search_index.js").is_file()
