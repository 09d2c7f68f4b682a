"""One flag of a command: its spellings, the setting it fills, and what is not available yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Flag:
    """A row of the table of flags.

    Attributes:
        spellings: everything the user may type; the first is shown in messages. A word without dashes is positional.
        help: one line for --help.
        fills: the setting of the command's configuration; "" for a flag that launchers add and nobody reads.
        group: heading under which --help lists it.
        nargs: as in argparse: None for one value, "?" optional, "+" several, 0 for a switch.
        const: what the flag alone (nargs "?" or 0) stands for.
        later: why the flag does not work yet and what to do; "" when it works.
        metavar: the value in --help.
        lack: what "does not work" is called, "not available yet" or "not supported".
        refused: values that are not supported, and what to do instead.
    """

    spellings: tuple[str, ...]
    help: str
    fills: str = ""
    group: str = "run"
    nargs: str | int | None = None
    const: object = None
    later: str = ""
    metavar: str = ""
    lack: str = "not available yet"
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The spelling shown in messages."""
        return self.spellings[0]

    @property
    def key(self) -> str:
        """The name under which the parser keeps what was typed."""
        return self.name.lstrip("-").replace("-", "_")

    @property
    def positional(self) -> bool:
        """Whether the value is recognised by its place instead of by a flag."""
        return not self.name.startswith("-")


def switch(spelling: str, help: str, group: str, *aliases: str) -> Flag:
    """Return a flag without a value that turns on the setting of its name."""
    return Flag((spelling, *aliases), help, _setting(spelling), group, nargs=0, const=True)


def value(spellings: str, help: str, group: str, metavar: str = "") -> Flag:
    """Return a flag with one value; `spellings` are separated by |, the setting is that of the first."""
    names = tuple(spellings.split("|"))
    return Flag(names, help, _setting(names[0]), group, metavar=metavar)


def later(spellings: str, reason: str, nargs: str | int | None = 0) -> Flag:
    """Return a flag of YOLOv5 that belongs to a later capability: using it stops with the reason."""
    return Flag(tuple(spellings.split("|")), reason, "", "not available yet", nargs, later=reason)


def unsupported(spellings: str, reason: str, nargs: str | int | None = 0) -> Flag:
    """Return a flag of YOLOv5 that there is a reason not to have: using it stops with the reason."""
    lack = "not supported"
    return Flag(tuple(spellings.split("|")), reason, "", lack, nargs, later=reason, lack=lack)


def run_folder(project: str) -> tuple[Flag, ...]:
    """Return the flags that name the run folder."""
    return (
        value("--project", f"folder of the run folders (default {project})", "output", "FOLDER"),
        value("--name", "name of the run folder; a number is added when it exists", "output"),
        switch("--exist-ok", "write into the run folder even if it exists", "output"),
    )


def data_files(group: str, classes: str) -> tuple[Flag, Flag]:
    """Return the flags of data sets and of the classes that are used of them; `classes` is the help of the latter."""
    several = "data YAML, name of a shipped one, folder or COCO json; several are put together by their classes' names"
    return (
        Flag(("--data",), several, "data", group, nargs="+", metavar="FILE"),
        Flag(("--classes",), classes, "classes", group, nargs="+", metavar="CLASS"),
    )


def weight_files(group: str) -> Flag:
    """Return the flag of the networks that are asked."""
    several = "weights, files or release names; several are an ensemble"
    return Flag(("--weights",), several, "weights", group, nargs="+", metavar="FILE")


def input_size(group: str) -> Flag:
    """Return the flag of the size of the network input, which need not be square."""
    size = "size of the network input in pixels: one number, or height and width"
    return Flag(("--imgsz", "--img", "--img-size"), size, "imgsz", group, nargs="+")


def looking(group: str) -> tuple[Flag, Flag]:
    """Return the flags about looking more than once: at three views of an image, with several networks."""
    return (
        switch("--augment", "test-time augmentation: look at three sizes of each image, one of them mirrored", group),
        value("--fusion", "boxes of several weights: keep the best (nms), or average those that overlap (wbf)", group),
    )


def half() -> Flag:
    """Return YOLOv5's --half: the same as --precision fp16."""
    return Flag(("--half",), "the same as --precision fp16", "precision", "processes", nargs=0, const="fp16")


def _setting(spelling: str) -> str:
    return spelling.lstrip("-").replace("-", "_")


def spoken(more: str = "") -> tuple[Flag, Flag, Flag]:
    """Return the flags of how much a command says; `more` is what its --verbose tells besides details."""
    details = "tell details too, such as what came from a cache and how long the start took"
    return (
        switch("--verbose", f"{details}; {more}" if more else details, "output"),
        switch("--quiet", "print nothing but errors", "output"),
        switch("--debug", "show the traceback of an error", "output"),
    )


PRECISION = value("--precision", "type of numbers; auto is bf16 on a GPU that has it, else fp32", "processes")
COMMON = (PRECISION, *spoken())
