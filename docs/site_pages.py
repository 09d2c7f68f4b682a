"""Hooks of mkdocs: files of the repository that are pages of the site, and links that work there and on a code host.

On a code host a link of a page leads to a file of the repository. In the site it leads to the page that was made of it;
where there is none (source code), the path is shown as text, because the project has no public address yet.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
RESULTS = "benchmarks/results"
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "licence.md",
    "SECURITY.md": "security.md",
}
"""Files of the repository -> pages of the site; those below `RESULTS` are added to them."""

SAME = {"README.md": "docs/index.md", "docs": "docs/index.md", RESULTS: "docs/performance.md"}
"""What a code host shows at a path -> the page that says it here."""

_FENCED = re.compile(r"(^```.*?^```[ ]*$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def repository_pages() -> dict[str, str]:
    """Return path in the repository -> path of the page, for files that lie outside docs/."""
    results = sorted((ROOT / RESULTS).glob("*.md"))
    return {**PAGES, **{f"{RESULTS}/{path.name}": f"results/{path.name}" for path in results}}


def on_files(files: Files, config: Any) -> Files:
    """Return the files of the site, with those of the repository that are pages."""
    for path, page in repository_pages().items():
        if path == "LICENSE":
            text = (ROOT / path).read_text(encoding="utf-8")
            content = f"# Licence\n\naccel_yolo is under the Apache License 2.0.\n\n```text\n{text}```\n"
            files.append(File.generated(config, page, content=content))
        else:
            files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Return the text of a page with links for the site."""
    sources = {page: path for path, page in repository_pages().items()}
    here = page.file.src_uri
    return linked(markdown, sources.get(here, f"docs/{here}"), here)


def linked(markdown: str, source: str, page: str) -> str:
    """Return a text with the links of a file of the repository made those of a page of the site.

    Args:
        markdown: the text.
        source: path of the file in the repository.
        page: path of the page, relative to docs/.
    """
    folder = posixpath.dirname(source)
    pages = {**repository_pages(), **{path: target.removeprefix("docs/") for path, target in SAME.items()}}

    def replaced(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        address, hash_sign, anchor = target.partition("#")
        if not address or re.match(r"[a-z]+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, address))
        found = pages.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if found is not None:
            return f"{mark}[{text}]({_relative(found, page)}{hash_sign}{anchor})"
        if not (ROOT / path).exists():
            return match[0]  # mkdocs names it
        return text if path in text else f"{text} (`{path}`)"

    parts = _FENCED.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(replaced, part) for part in parts)


def _relative(target: str, page: str) -> str:
    return posixpath.relpath(target, posixpath.dirname(page) or ".")
