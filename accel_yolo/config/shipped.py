"""Where the shipped model, hyper-parameter, data and Accelerate files are, and how a user's word finds one."""

from __future__ import annotations

import contextlib
from pathlib import Path, PurePosixPath

from accel_yolo import console
from accel_yolo.errors import ConfigError, DataError, UserError, did_you_mean

KINDS = {"models": "model", "hyps": "hyper-parameter", "data": "data", "accelerate": "accelerate config"}
SUFFIXES = ("", ".yaml", ".yml")
RELEASED = tuple(f"yolov5{size}{level}.pt" for level in ("", "6") for size in "nsmlx")
"""Published weights that are fetched by their names."""

# Folders under which YOLOv5's own documentation names such files; what they name is found among ours.
_FAMILIAR_FOLDERS = {
    "models": (".", "models", "models/hub", "configs/models"),
    "hyps": (".", "hyps", "data/hyps", "configs/hyps"),
    "data": (".", "data", "configs/data"),
    "accelerate": (".", "accelerate_configs"),
}


def configs_dir() -> Path:
    """Return the folder of the shipped files: inside the package of a wheel, else the checkout's configs/."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_configs"
    return inside if inside.is_dir() else package.parent / "configs"


def folder_of(kind: str) -> Path:
    """Return the folder of the shipped files of a kind (models, hyps, data, accelerate)."""
    root = configs_dir()
    in_checkout = kind == "accelerate" and root.name == "configs"
    return root.parent / "accelerate_configs" if in_checkout else root / kind


def shipped(kind: str, name: str) -> Path | None:
    """Return the shipped file `name` (with or without .yaml) of a kind (models, hyps, data, accelerate), or None."""
    if not name or "/" in name or "\\" in name or name.startswith("."):
        return None
    stem = name[: -len(".yaml")] if name.endswith(".yaml") else name
    path = folder_of(kind) / f"{stem}.yaml"
    return path if is_file(path) else None


def shipped_names(kind: str) -> list[str]:
    """Return the names (without .yaml) of all shipped files of a kind."""
    return sorted(path.stem for path in folder_of(kind).glob("*.yaml"))


def label_of(path: Path) -> str:
    """Return the name of a configuration file for messages: "hyps/demo.yaml" for a shipped one, else its path."""
    root = configs_dir()
    if path.parent == folder_of("accelerate"):
        return f"accelerate_configs/{path.name}"
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def find_config(kind: str, text: str, flag: str, beside: Path | None = None) -> tuple[str, Path]:
    """Return the name and the path of the configuration file that a user means.

    Tried in order: the path as given, with .yaml or .yml added, the same inside the folder `beside`, and the shipped
    files, which YOLOv5's spellings (data/coco128.yaml, data/hyps/hyp.scratch-low.yaml) reach as well.

    Args:
        kind: models, hyps, data or accelerate.
        text: what the user wrote.
        flag: where they wrote it, for messages.
        beside: folder of the file that holds `text`, if any.

    Returns:
        The name that finds the file again ("coco128" for a shipped one, else the path), and the path.

    Raises:
        ConfigError: (DataError for data) there is no such file.
    """
    tried = [Path(text + suffix).expanduser() for suffix in SUFFIXES]
    if beside is not None:
        tried += [beside / f"{text}{suffix}" for suffix in SUFFIXES]
    for path in tried:
        if is_file(path):
            return str(path), path
    found = _shipped_spelling(kind, text)
    if found is not None:
        return found.stem, found
    raise _not_found(kind, text, flag)


def is_file(path: Path) -> bool:
    """Return whether `path` is a file; False for names that no file can have."""
    with contextlib.suppress(OSError, ValueError):
        return path.is_file()
    return False


def is_dir(path: Path) -> bool:
    """Return whether `path` is a folder; False for names that no folder can have."""
    with contextlib.suppress(OSError, ValueError):
        return path.is_dir()
    return False


def _shipped_spelling(kind: str, text: str) -> Path | None:
    written = PurePosixPath(text.replace("\\", "/"))
    if written.parent.as_posix() not in _FAMILIAR_FOLDERS[kind]:
        return None
    found = shipped(kind, written.name)
    if found is None and kind == "hyps" and written.name.startswith("hyp."):
        found = shipped(kind, written.name.removeprefix("hyp."))
        if found is not None:
            console.note(f"{text} is the shipped {label_of(found)}")
    return found


def _not_found(kind: str, text: str, flag: str) -> UserError:
    error = DataError if kind == "data" else ConfigError
    folder = Path(text)
    if is_dir(folder):
        inside = sorted(path.name for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
        remedy = f"give the file: {folder / inside[0]}" if len(inside) == 1 else "give the YAML file, not its folder"
        return error("a folder where a YAML file is needed", flag, text, remedy)
    names = shipped_names(kind)
    hint = did_you_mean(PurePosixPath(text).name.removesuffix(".yaml").removeprefix("hyp."), names)
    shown = ", ".join(names[:20]) or "none"
    written = text if text.endswith(SUFFIXES[1:]) else f"{text}, {text}.yaml"
    places = f"looked for {written} and the shipped {KINDS[kind]} files ({shown})"
    return error(f"no such {KINDS[kind]} file", flag, text, f"{hint} {places}".strip())
