"""The shape of the JSON files of a run folder; what is missing has a default, what is of another kind is refused."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

Number = float | None


class ClassRow(Struct, frozen=True):
    """One class of an evaluation."""

    name: str
    images: int = 0
    instances: int = 0
    precision: Number = None
    recall: Number = None
    map50: Number = None
    map50_95: Number = None


class SizeRow(Struct, frozen=True):
    """Objects of one size."""

    instances: int = 0
    ap: Number = None
    ar: Number = None


class Pair(Struct, frozen=True):
    """Objects of one class that were taken for another."""

    true: str
    predicted: str
    count: int


class ConfusionCounts(Struct, frozen=True):
    """What was missed, made up and misnamed."""

    missed: int = 0
    false: int = 0
    misnamed: list[Pair] = []


class Metrics(Struct, frozen=True):
    """`metrics.json`."""

    images: int = 0
    instances: int = 0
    precision: Number = None
    recall: Number = None
    map50: Number = None
    map50_95: Number = None
    best_confidence: Number = None
    losses: dict[str, Number] = {}
    per_class: list[ClassRow] = []
    by_size: dict[str, SizeRow] = {}
    confusion: ConfusionCounts | None = None
    speed_ms: dict[str, Number] = {}
    coco: dict[str, Number] = {}


class Topology(Struct, frozen=True):
    """What worked together in a session."""

    processes: int = 1
    machines: int = 1
    launcher: str = ""
    devices: list[str] = []
    threads_per_process: int | None = None
    precision: str = ""
    lines: list[str] = []

    @property
    def devices_shown(self) -> str:
        """The device of all processes, or that of each where they differ."""
        return ", ".join(self.devices if len(set(self.devices)) > 1 else self.devices[:1])


class Session(Struct, frozen=True):
    """One start of a run."""

    started: str = ""
    command: str = ""
    from_step: int = 0
    topology: Topology = field(default_factory=Topology)
    environment: dict[str, Any] = {}


class Environment(Struct, frozen=True):
    """`environment.json`."""

    sessions: list[Session] = []


class Failure(Struct, frozen=True):
    """`failure.json`."""

    message: str = ""
    exit_code: int | None = None


class WeightsNote(Struct, frozen=True):
    """The part of a weights file's metadata that says what it is and where it comes from."""

    names: list[str]
    imgsz: int
    licence: str
    provenance: list[str]
