"""How a setting is declared: a dataclass field with its default and the rule its values follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, fields
from typing import Any

from accel_yolo.config.rules import Choice, Number, Rule, Several, Switch, Text

# The library of safetensors opens nothing below a folder whose name is not UTF-8.
_UTF8 = "[^\udc80-\udcff]+"
_INSIDE = r"(?s)(?!/)(?!(.*/)?\.\.(/|\Z))"

SMALLEST_IMGSZ, LARGEST_IMGSZ = 32, 16384
DEVICE = Text(
    pattern=r"(cpu|mps|cuda|(cuda:)?[0-9]+(,[0-9]+)*)?",
    meaning="cpu, mps, or the number of a GPU such as 0 (nothing: the first GPU, else the CPU)",
)

CALLABLE = Text(
    pattern=r"([^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*)?",
    meaning="a callable by its import path, such as my_package.my_module:my_transform",
)


def setting(default: Any, rule: Rule) -> Any:
    """Return a dataclass field with its default and its rule."""
    return field(default=default, metadata={"rule": rule})


def size(default: int) -> Any:
    """Return the field of a setting that is an image size in px."""
    return setting(default, Number(whole=True, low=SMALLEST_IMGSZ, high=LARGEST_IMGSZ))


def count(default: int, low: int = 0) -> Any:
    """Return the field of a setting that is a whole number of at least `low`."""
    return setting(default, Number(whole=True, low=low))


def real(default: float | None, **bounds: Any) -> Any:
    """Return the field of a setting that is a number within bounds."""
    return setting(default, Number(**bounds))


def share(default: float) -> Any:
    """Return the field of a setting that is a number from 0 to 1."""
    return setting(default, Number(low=0, high=1))


def switch() -> Any:
    """Return the field of a setting that is a switch, off."""
    return setting(False, Switch())


def filled(default: str, meaning: str) -> Any:
    """Return the field of a setting that is a text that is not empty."""
    return setting(default, Text(empty=False, meaning=meaning))


def run_name(*, utf8: bool = False) -> Any:
    """Return the field of the name of a run folder: it lies in the folder of runs, never beside it."""
    letters, where = (_UTF8, " in UTF-8") if utf8 else (".+", "")
    meaning = f"a folder name{where}, in --project and without '..'"
    return setting("exp", Text(empty=False, pattern=_INSIDE + letters, meaning=meaning))


def utf8_folder(default: str, meaning: str) -> Any:
    """Return the field of a setting that is a folder whose name is UTF-8."""
    rule = Text(empty=False, pattern=_UTF8, meaning=f"{meaning} in UTF-8")
    return setting(default, rule)


def weight_files(default: tuple[str, ...]) -> Any:
    """Return the field of a setting that is one or more weight files."""
    return setting(default, Several(Text(empty=False, meaning="a weight file or a release name such as yolov5s.pt")))


def data_files() -> Any:
    """Return the field of a setting that is one or more data YAMLs."""
    return setting(("coco128",), Several(Text(empty=False, meaning="a data YAML or the name of a shipped one")))


def class_choice() -> Any:
    """Return the field of a setting that is some classes; () is all of them."""
    return setting((), Several(Text(empty=False, meaning="a class, by name or number"), least=0))


def precision_choice() -> Any:
    """Return the field of a setting that is the precision."""
    return setting("auto", Choice(("auto", "fp32", "fp16", "bf16")))


def fusion_choice() -> Any:
    """Return the field of a setting that is how the answers of several networks are put together."""
    return setting("nms", Choice(("nms", "wbf")))


def bad_data_choice() -> Any:
    """Return the field of a setting that is what to do about bad images."""
    return setting("limit", Choice(("limit", "drop", "fail")))


def cache_choice() -> Any:
    """Return the field of a setting that is whose images are kept resized, and where; "" is nowhere."""
    return setting("", Text(pattern="(ram|disk|val|device)?", meaning="ram or disk (the same), val or device"))


def flag_of(name: str) -> str:
    """Return the command-line spelling of a setting ("conf_thres" -> "--conf-thres")."""
    return "--hyp" if name == "hyp_file" else "--" + name.replace("_", "-")


def rules_of(kind: type) -> dict[str, Rule]:
    """Return the rule of every setting of a configuration class."""
    return {item.name: item.metadata["rule"] for item in fields(kind) if "rule" in item.metadata}


def defaults_of(kind: type) -> dict[str, Any]:
    """Return the default of every setting of a configuration class."""
    return {item.name: item.default for item in fields(kind) if "rule" in item.metadata}


def check_fields(config: Any, place: Callable[[str], str]) -> None:
    """Check each setting against its rule and store it in its own type (a list becomes a tuple, 1 becomes 1.0)."""
    for name, rule in rules_of(type(config)).items():
        object.__setattr__(config, name, rule.checked(getattr(config, name), place(name)))
