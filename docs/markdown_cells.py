"""Text of the program as Markdown."""

from __future__ import annotations


def cell(text: str) -> str:
    """Return a help text as the content of a cell of a table."""
    return text.replace("%%", "%").replace("|", "\\|")
