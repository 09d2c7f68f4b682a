"""Writes the pages that are made from the tables of the program: `python docs/generated_pages.py`, or `make docs`."""

from __future__ import annotations

import from_yolov5
import performance_tables
import reference_of_flags

PAGES = (from_yolov5, reference_of_flags, performance_tables)
"""Each has `PAGE`, where it goes, and `page()`, what it says."""


def main() -> None:
    """Write each page that is not what it should be."""
    for each in PAGES:
        text = each.page()
        if not each.PAGE.is_file() or each.PAGE.read_text(encoding="utf-8") != text:
            each.PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
