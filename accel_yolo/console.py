"""What people read: one-line messages, progress, aligned tables. Colours only on a terminal, nothing when quiet."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from accel_yolo import bars
from accel_yolo.errors import escaped

if TYPE_CHECKING:
    from accel_yolo.errors import UserError

FIRST_WORD_S = 5.0
"""How long the other processes of a machine leave the word to the first one, at most."""

_COLOUR_CODE = re.compile("\033\\[[0-9;]*m")
_COLOURS = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "bold": "1", "dim": "2"}


class _State:
    quiet = False
    verbose = False
    log_file: Path | None = None


def quiet(on: bool = True) -> None:
    """Silence everything but errors in this process (a process that is not the leader, or `--quiet`)."""
    _State.quiet = on


def is_quiet() -> bool:
    """Return whether this process says nothing but errors."""
    return _State.quiet


def verbose(on: bool = True) -> None:
    """Speak of details too (`--verbose`), unless this process is quiet."""
    _State.verbose = on


@contextlib.contextmanager
def quiet_unless(spoken: bool) -> Iterator[None]:
    """Be quiet for the length of a context, unless `spoken`."""
    before = _State.quiet
    _State.quiet = before or not spoken
    try:
        yield
    finally:
        _State.quiet = before


def is_follower() -> bool:
    """Return whether a launcher started this process as another than the first of all."""
    return os.environ.get("RANK", "0") != "0"


def is_first_here() -> bool:
    """Return whether this process is the first on its machine: what all read alike, it alone reports."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def leave_to_first(error: UserError) -> None:
    """Leave an error that all processes of this machine meet alike to the first of them.

    A launcher ends all processes as soon as one has ended. So the others wait for that, lest the first one, which may
    be slower, is ended before it has spoken.
    """
    error.already_reported = not is_first_here()
    if error.already_reported:
        time.sleep(FIRST_WORD_S)


def log_to(path: Path | None) -> None:
    """From now on also append every line of this process, spoken or silenced, to a file; None ends that."""
    _State.log_file = path


def log(line: str) -> None:
    """Append a line to the log file only, without colours."""
    if _State.log_file is None:
        return
    plain = _COLOUR_CODE.sub("", line)
    # A full disk must not hide the message that is being logged.
    with (
        contextlib.suppress(OSError),
        _State.log_file.open("a", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {plain}\n")


def say(line: str) -> None:
    """Write a line of results to stdout."""
    log(line)
    if not _State.quiet:
        _write(sys.stdout, line)


def detail(line: str) -> None:
    """Write a detail to stderr if details were asked for; the log file has it in any case."""
    log(f"detail: {line}")
    if _State.verbose and not _State.quiet:
        _write(sys.stderr, f"{_painted('detail:', 'dim', sys.stderr)} {escaped(line)}")


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Tell as a detail how long the block took, or each call of the function that this decorates."""
    started = time.perf_counter()
    yield
    detail(f"{what} took {time.perf_counter() - started:.1f} s")


def note(line: str) -> None:
    """Write a remark to stderr: something was chosen for the user that they may want to know."""
    log(f"note: {line}")
    if not _State.quiet:
        _write(sys.stderr, f"{_painted('note:', 'blue', sys.stderr)} {escaped(line)}")


def warn(line: str, *, everywhere: bool = False) -> None:
    """Write a warning to stderr: the run goes on, but something deserves attention.

    Args:
        line: what it is.
        everywhere: it concerns this process alone, and is said although this one leaves the word to another.
    """
    log(f"warning: {line}")
    if not _State.quiet or (everywhere and is_follower()):
        _write(sys.stderr, f"{_painted('warning:', 'yellow', sys.stderr)} {escaped(line)}")


def error_line(line: str) -> None:
    """Write an error to stderr, also when quiet."""
    log(f"error: {line}")
    _write(sys.stderr, f"{_painted('error:', 'red', sys.stderr)} {escaped(line)}")


def error_detail(line: str) -> None:
    """Write a line that belongs to an error to stderr, also when quiet."""
    log(line)
    _write(sys.stderr, escaped(line))


def painted(text: str, colour: str) -> str:
    """Return `text` in a colour (red green yellow blue bold dim) when stdout is a terminal, else unchanged."""
    return _painted(text, colour, sys.stdout)


def progress(
    iterable: Iterable[Any] | None, total: int | None = None, desc: str = "", unit: str = "image"
) -> bars.Silent:
    """Return `iterable` with its progress shown on stderr; `tell` changes what is said besides how far it is.

    Without an iterable, `update` moves it and `close` ends it. On a terminal it is a bar; elsewhere a whole line every
    ten seconds, without control characters; nothing when quiet.
    """
    about = (iterable, total, escaped(desc), unit)
    if _State.quiet:
        return bars.Silent(*about)
    if _is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb":
        return bars.Live(*about, stream=sys.stderr)
    return bars.Lines(*about, write=lambda line: _write(sys.stderr, line))


def aligned(rows: Sequence[Sequence[object]], widths: Sequence[int] | None = None) -> list[str]:
    """Return rows as lines with aligned columns: numbers to the right, text to the left.

    Args:
        rows: cells, header included; floats are shown with four significant digits; rows may differ in length.
        widths: least width of each column, so that tables printed line by line stay aligned.
    """
    texts = [[_cell(cell) for cell in row] for row in rows]
    columns = max((len(row) for row in rows), default=0)
    room = [max([len(row[c]) for row in texts if c < len(row)], default=0) for c in range(columns)]
    if widths is not None:
        room = [max(have, want) for have, want in zip(room, [*widths, *[0] * columns], strict=False)]
    right = [any(_is_number(row[c]) for row in rows if c < len(row)) for c in range(columns)]
    return [
        "  ".join(text.rjust(room[c]) if right[c] else text.ljust(room[c]) for c, text in enumerate(row)).rstrip()
        for row in texts
    ]


def table(rows: Sequence[Sequence[object]], header: Sequence[str] = ()) -> None:
    """Write rows as an aligned table to stdout, the header in bold on a terminal."""
    lines = aligned([header, *rows] if header else rows)
    if header and lines:
        lines[0] = painted(lines[0], "bold")
    for line in lines:
        say(line)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_terminal(stream: TextIO) -> bool:
    return bool(getattr(stream, "isatty", lambda: False)())


def _painted(text: str, colour: str, stream: TextIO) -> str:
    if not _is_terminal(stream) or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{_COLOURS[colour]}m{text}\033[0m"


def _write(stream: TextIO, line: str) -> None:
    """Write one line, above a running progress bar if there is one, whatever the stream can encode."""
    try:
        line.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        line = line.encode(stream.encoding or "utf-8", "backslashreplace").decode(stream.encoding or "utf-8")
    drawing = sys.modules.get("tqdm")
    if drawing is None:
        print(line, file=stream, flush=True)
        return
    with drawing.tqdm.external_write_mode(file=stream):
        print(line, file=stream, flush=True)
