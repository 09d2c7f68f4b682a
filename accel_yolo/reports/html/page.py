"""Templates to one self-contained page. Every text that comes from a run is hostile: it is escaped here, once."""

from __future__ import annotations

import base64
import hashlib
import time
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from accel_yolo.errors import escaped
from accel_yolo.reports.html import wording
from accel_yolo.reports.html.line_chart import swatch
from accel_yolo.reports.html.theme import style_variables
from accel_yolo.version import __version__

GENERATOR = b'<meta name="generator" content="accel_yolo '
"""Stands near the beginning of every report: what bears it may be replaced by a newer one."""

_HERE = Path(__file__).parent


def rendered(template: str, **context: Any) -> str:
    """Return a page. The context is plain data; only what our own code marked as markup is taken as such."""
    return _environment().get_template(template).render(made=_today(), **context)


def is_report(path: Path) -> bool:
    """Return whether a file is a report, of any version."""
    try:
        with path.open("rb") as stream:
            return GENERATOR in stream.read(4096)
    except OSError:
        return False


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        finalize=_harmless,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_HERE / "sort.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals.update(
        version=__version__,
        style=Markup(style_variables() + (_HERE / "style.css").read_text("utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        swatch=swatch,
    )
    environment.filters.update(
        metric=wording.metric,
        duration=wording.duration,
        share=wording.share,
        plain=wording.plain,
        unit=lambda value: f"{min(max(value or 0.0, 0.0), 1.0):.3f}",
    )
    return environment


def _harmless(value: Any) -> Any:
    """Return what an expression gives, control and direction characters written out: they could show another text."""
    return escaped(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _today() -> str:
    return time.strftime("%Y-%m-%d at %H:%M")
