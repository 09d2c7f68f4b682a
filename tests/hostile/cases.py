"""What a hostile file is, and a process that gives such files to the command line, one after the other."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from processes import warm_context

GROUP_TIMEOUT_S = 200


@dataclass(frozen=True)
class Case:
    """A file and what must become of it.

    Attributes:
        name: what is wrong with it.
        file: its name.
        make: writes it; gets its path, and a path that exists afterwards if anything in the file was executed.
        code: exit status of the command; 0 where the file works, or where it is left out with a word.
        words: parts of what is printed, in their order; "{file}" stands for the path.
    """

    name: str
    file: str
    make: Callable[[Path, Path], object]
    code: int
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a command did with a file.

    Attributes:
        code: exit status.
        out, err: what it printed.
        seconds: of processor time that it took.
        extra_mib: memory that it held at most, above what the process held before.
    """

    code: int
    out: str
    err: str
    seconds: float
    extra_mib: float


Command = Callable[[Path], list[str]]
"""From the path of a file to the words that open it."""


def written(content: bytes) -> Callable[[Path, Path], object]:
    """Return what writes `content`."""
    return lambda path, _: path.write_bytes(content)


def answers(cases: Sequence[Case], command: Command, folder: Path) -> dict[str, Answer]:
    """Return what one process answers to all files, which it opens one after the other.

    A process that dies (a segmentation fault, no memory) fails the test, which names the file that it was at.
    """
    receiver, sender = warm_context().Pipe(duplex=False)
    asked = [(case.name, command(_made(case, folder))) for case in cases]
    process = warm_context().Process(target=_work, args=(asked, folder, sender), daemon=False)
    process.start()
    sender.close()
    found: dict[str, Answer] = {}
    current = ""
    until = time.monotonic() + GROUP_TIMEOUT_S
    try:
        while len(found) < len(asked):
            if not receiver.poll(max(0.0, until - time.monotonic())):
                pytest.fail(f"no end of {current!r}")
            message = receiver.recv()
            if isinstance(message, str):
                current = message
            else:
                found[current] = message
    except EOFError:
        process.join()
        pytest.fail(f"the process ended with {process.exitcode} at {current!r}")
    finally:
        process.kill()
        process.join()
    return found


def check(case: Case, answer: Answer, folder: Path) -> None:
    """Check that a file was treated as its case says, in words that name it, and that nothing in it was executed."""
    said = answer.out + answer.err
    assert answer.code == case.code, said
    assert "Traceback" not in said
    if case.code:
        last = answer.err.strip().splitlines()[-1]
        assert last.startswith("error: "), answer.err
    place = 0
    for words in case.words:
        part = words.replace("{file}", str(path_of(case, folder)))
        assert part in said[place:], f"{part!r} is not in {said!r}"
        place = said.index(part, place) + len(part)
    assert not (folder / "canary").exists(), "something in the file was executed"


def path_of(case: Case, folder: Path) -> Path:
    """Return where the file of a case lies: in a folder of its own."""
    return folder / case.name.replace(" ", "-").replace("/", "-") / case.file


def _made(case: Case, folder: Path) -> Path:
    path = path_of(case, folder)
    path.parent.mkdir(parents=True)
    case.make(path, folder / "canary")
    return path


def _work(asked: Sequence[tuple[str, list[str]]], folder: Path, sender: Connection) -> None:
    from accel_yolo.cli import main

    os.chdir(folder)
    for name, words in asked:
        sender.send(name)
        sender.send(_answer(main, words, folder))


def _answer(main: Callable[[list[str]], int], words: list[str], folder: Path) -> Answer:
    files = [folder / "said.out", folder / "said.err"]
    for descriptor, file in enumerate(files, start=1):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
    before = _memory_kib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark of memory begins anew
    begin = time.process_time()  # whatever else this machine does
    code = main(words)
    seconds = time.process_time() - begin
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = (file.read_text(errors="replace") for file in files)
    return Answer(code, out, err, seconds, (_memory_kib("VmHWM") - before) / 1024)


def _memory_kib(entry: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{entry}:"):
            return int(line.split()[1])
    raise ValueError(entry)
