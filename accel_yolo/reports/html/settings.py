"""The settings of a run with the origin of each, as its `config.yaml` says them, whatever version wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel_yolo.config.resolve import DEFAULT
from accel_yolo.config.yaml_io import load_yaml

UNKNOWN = "not recorded"


@dataclass(frozen=True)
class Setting:
    """One setting: `name` as in the file, its value as text, and where that came from."""

    name: str
    value: str
    origin: str
    is_hyp: bool = False

    @property
    def is_default(self) -> bool:
        """Whether nobody chose it."""
        return self.origin == DEFAULT


@dataclass(frozen=True)
class Settings:
    """`config.yaml`.

    Attributes:
        command: train or val.
        version: of accel_yolo, that wrote it.
        rows: the settings in their order.
        values: the same as plain values.
    """

    command: str
    version: str
    rows: list[Setting]
    values: dict[str, Any]

    def value(self, name: str, default: Any = None) -> Any:
        """Return the value of a setting."""
        return self.values.get(name, default)

    def words(self, name: str) -> list[str]:
        """Return the value of a setting that is a list of words, which older versions saved as one."""
        value = self.values.get(name) or []
        return [str(each) for each in value] if isinstance(value, list) else [str(value)]

    def whole(self, name: str) -> int | None:
        """Return the value of a setting that is a whole number; of several the first; None where there is none."""
        value = self.values.get(name)
        first = value[0] if isinstance(value, list) and value else value
        return first if isinstance(first, int) and not isinstance(first, bool) else None


def read_settings(path: Path) -> Settings:
    """Return the settings of a run. Raises ConfigError for what is not YAML, ValueError for other YAML."""
    content = load_yaml(path).data
    if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
        raise ValueError("it is not the configuration of a run")
    origins: dict[str, str] = {}
    grouped = content.get("origins")
    for origin, names in grouped.items() if isinstance(grouped, dict) else ():
        origins.update((str(name), str(origin)) for name in (names if isinstance(names, list) else ()))
    values: dict[str, Any] = {}
    rows: list[Setting] = []
    for section in ("settings", "hyp"):
        part = content.get(section)
        for name, value in part.items() if isinstance(part, dict) else ():
            values[str(name)] = value
            rows.append(Setting(str(name), shown(value), origins.get(str(name), UNKNOWN), section == "hyp"))
    return Settings(str(content.get("command", "")), str(content.get("version", "")), rows, values)


def shown(value: Any) -> str:
    """Return a value as a user would type it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if value == "":
        return "''"
    if value is None or value == []:
        return "none"
    if isinstance(value, list):
        return " ".join(map(shown, value))
    return str(value)
