"""The page docs/performance.md with its tables, copied from benchmarks/results.

The page is written by hand. A comment says what follows it: `<!-- benchmarks/results/tiling.md -->` the first table of
that file, `<!-- benchmarks/results/side-by-side.md: Memory -->` the first one below the heading that begins so, and
`<!-- command: benchmarks/results/tiling.md -->` the first command there.
"""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parent / "performance.md"
_ROOT = PAGE.parents[1]
_TABLE = re.compile(r"^(?:\|.*\n)+", re.MULTILINE)
_BLOCK = re.compile(r"^```.*?^```\n", re.MULTILINE | re.DOTALL)
_MARK = re.compile(
    r"^<!-- (?P<kind>command: )?(?P<file>benchmarks/results/[\w-]+\.md)(?:: (?P<heading>.+?))? -->\n"
    r"(?:\n(?:(?:\|.*\n)+|```bash\n(?:(?!```).*\n)+```\n))?",
    re.MULTILINE,
)


def page() -> str:
    """Return the whole page, each comment followed by what it names."""
    return _MARK.sub(_filled, PAGE.read_text(encoding="utf-8"))


def _filled(mark: re.Match[str]) -> str:
    text = (_ROOT / mark["file"]).read_text(encoding="utf-8")
    if mark["heading"]:
        _, found, text = text.partition(f"\n### {mark['heading']}")
        if not found:
            raise LookupError(f"{mark['file']} has no heading that begins with {mark['heading']!r}")
    what = (_BLOCK if mark["kind"] else _TABLE).search(text)
    if what is None:
        raise LookupError(f"{mark['file']} has nothing for {mark[0].splitlines()[0]}")
    label = mark[0].splitlines()[0]
    return f"{label}\n\n" + re.sub(r"\A```\n", "```bash\n", what[0])
