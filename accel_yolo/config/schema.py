"""The settings of every command: frozen, typed, checked when made. One knob, one place, one default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from accel_yolo.config.rules import Choice, Number, Rule, Several, Switch, Text
from accel_yolo.errors import ConfigError

SMALLEST_IMGSZ, LARGEST_IMGSZ = 32, 16384
_DEVICE = Text(
    pattern=r"(cpu|mps|cuda|(cuda:)?[0-9]+(,[0-9]+)*)?",
    meaning="cpu, mps, or the number of a GPU such as 0 (nothing: the first GPU, else the CPU)",
)


def setting(default: Any, rule: Rule) -> Any:
    """Return a dataclass field with its default and its rule."""
    return field(default=default, metadata={"rule": rule})


def _size(default: int) -> Any:
    return setting(default, Number(whole=True, low=SMALLEST_IMGSZ, high=LARGEST_IMGSZ))


def _count(default: int, low: int = 0) -> Any:
    return setting(default, Number(whole=True, low=low))


def _real(default: float | None, **bounds: Any) -> Any:
    return setting(default, Number(**bounds))


def _share(default: float) -> Any:
    return setting(default, Number(low=0, high=1))


def _switch() -> Any:
    return setting(False, Switch())


def _filled(default: str, meaning: str) -> Any:
    return setting(default, Text(empty=False, meaning=meaning))


def _utf8_folder(default: str, meaning: str) -> Any:
    # The library of safetensors opens nothing below a folder whose name is not UTF-8.
    rule = Text(empty=False, pattern="[^\udc80-\udcff]+", meaning=f"{meaning} in UTF-8")
    return setting(default, rule)


def _weight_files(default: tuple[str, ...]) -> Any:
    return setting(default, Several(Text(empty=False, meaning="a weight file or a release name such as yolov5s.pt")))


def _precision() -> Any:
    return setting("auto", Choice(("auto", "fp32", "fp16", "bf16")))


def _bad_data() -> Any:
    return setting("limit", Choice(("limit", "drop", "fail")))


@dataclass(frozen=True)
class Hyp:
    """Hyper-parameters under YOLOv5's names; the defaults are those of scratch-low."""

    lr0: float = _real(0.01, above=0)
    lrf: float = _real(0.01, low=0)
    momentum: float = _real(0.937, low=0, below=1)
    weight_decay: float = _real(0.0005, low=0)
    warmup_epochs: float = _real(3.0, low=0)
    warmup_momentum: float = _real(0.8, low=0, below=1)
    warmup_bias_lr: float = _real(0.1, low=0)
    box: float = _real(0.05, low=0)
    cls: float = _real(0.5, low=0)
    cls_pw: float = _real(1.0, above=0)
    obj: float = _real(1.0, low=0)
    obj_pw: float = _real(1.0, above=0)
    iou_t: float = _share(0.2)
    anchor_t: float = _real(4.0, above=1)
    anchors: float | None = _real(None, low=0, high=20, optional=True)
    fl_gamma: float = _real(0.0, low=0)
    hsv_h: float = _share(0.015)
    hsv_s: float = _share(0.7)
    hsv_v: float = _share(0.4)
    degrees: float = _real(0.0, low=0, high=180)
    translate: float = _share(0.1)
    scale: float = _real(0.5, low=0, below=1)
    shear: float = _real(0.0, low=0, below=90)
    perspective: float = _real(0.0, low=0, high=0.1)
    flipud: float = _share(0.0)
    fliplr: float = _share(0.5)
    mosaic: float = _share(1.0)
    mixup: float = _share(0.0)
    copy_paste: float = _share(0.0)

    def __post_init__(self) -> None:
        _check_fields(self, lambda name: f"hyper-parameter {name}")
        if self.anchors == 0:  # YOLOv5 writes 0 for "as the model says"
            object.__setattr__(self, "anchors", None)


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training run depends on, apart from data and weights themselves."""

    weights: str = setting("yolov5s.pt", Text())
    cfg: str = setting("", Text())
    data: str = _filled("coco128", "a data YAML or the name of a shipped one")
    hyp_file: str = _filled("scratch-low", "a hyper-parameter YAML or the name of a shipped one")
    epochs: int = _count(100, low=1)
    batch: int = _count(16, low=1)
    imgsz: int = _size(640)
    rect: bool = _switch()
    resume: str = setting("", Text())
    nosave: bool = _switch()
    noval: bool = _switch()
    noautoanchor: bool = _switch()
    noplots: bool = _switch()
    device: str = setting("", _DEVICE)
    multi_scale: bool = _switch()
    single_cls: bool = _switch()
    optimizer: str = setting("SGD", Choice(("SGD", "Adam", "AdamW")))
    sync_bn: bool = _switch()
    bn_group: int = _count(0)
    workers: int = setting(8, Number(whole=True, low=0, high=1024))
    project: str = _utf8_folder("runs/train", "a folder")
    name: str = _utf8_folder("exp", "a folder name")
    exist_ok: bool = _switch()
    cos_lr: bool = _switch()
    label_smoothing: float = _real(0.0, low=0, below=1)
    patience: int = _count(100)
    freeze: tuple[int, ...] = setting((0,), Several(Number(whole=True, low=0, high=10_000)))
    save_period: int = _count(-1, low=-1)
    seed: int = setting(0, Number(whole=True, low=0, high=2**63 - 1))
    precision: str = _precision()
    nominal_batch: int = _count(64, low=1)
    ema_decay: float = _real(0.9999, low=0, below=1)
    ema_tau: float = _real(2000.0, above=0)
    max_grad_norm: float = _real(10.0, above=0)
    warmup_min_steps: int = _count(100)
    bad_data: str = _bad_data()
    verbose: bool = _switch()
    quiet: bool = _switch()
    debug: bool = _switch()
    hyp: Hyp = field(default_factory=Hyp)

    def __post_init__(self) -> None:
        _check_fields(self, flag_of)
        if not self.resume and not self.weights and not self.cfg:
            raise ConfigError(
                "nothing to train", "--weights and --cfg", "both empty", "give --cfg yolov5s.yaml to train from scratch"
            )
        if self.sync_bn and self.bn_group:
            raise ConfigError(
                "two kinds of BatchNorm", "--sync-bn and --bn-group", self.bn_group, "leave out one of them"
            )
        if self.bn_group and self.batch % self.bn_group:
            raise ConfigError(
                "the batch does not divide into BatchNorm groups",
                "--batch and --bn-group",
                f"{self.batch} and {self.bn_group}",
                f"give a batch that is a multiple of {self.bn_group}",
            )


@dataclass(frozen=True)
class ValConfig:
    """Everything a validation depends on, apart from data and weights themselves."""

    data: str = _filled("coco128", "a data YAML or the name of a shipped one")
    weights: tuple[str, ...] = _weight_files(("yolov5s.pt",))
    batch: int = _count(32, low=1)
    imgsz: int = _size(640)
    conf_thres: float = _share(0.001)
    iou_thres: float = _share(0.6)
    max_det: int = _count(300, low=1)
    task: str = setting("val", Choice(("val", "train", "test")))
    device: str = setting("", _DEVICE)
    workers: int = setting(8, Number(whole=True, low=0, high=1024))
    single_cls: bool = _switch()
    verbose: bool = _switch()
    save_json: bool = _switch()
    project: str = _filled("runs/val", "a folder")
    name: str = _filled("exp", "a folder name")
    exist_ok: bool = _switch()
    precision: str = _precision()
    bad_data: str = _bad_data()
    quiet: bool = _switch()
    debug: bool = _switch()

    def __post_init__(self) -> None:
        _check_fields(self, flag_of)


@dataclass(frozen=True)
class PredictConfig:
    """Everything a prediction depends on, apart from images and weights themselves."""

    weights: tuple[str, ...] = _weight_files(("yolov5s.pt",))
    source: str = _filled("data/images", "an image, a folder, a glob or a .txt list")
    data: str = setting("", Text())
    imgsz: tuple[int, ...] = setting(
        (640,), Several(Number(whole=True, low=SMALLEST_IMGSZ, high=LARGEST_IMGSZ), least=1, most=2)
    )
    conf_thres: float = _share(0.25)
    iou_thres: float = _share(0.45)
    max_det: int = _count(1000, low=1)
    device: str = setting("", _DEVICE)
    save_txt: bool = _switch()
    save_format: int = setting(0, Number(whole=True, low=0, high=1))
    save_conf: bool = _switch()
    save_crop: bool = _switch()
    nosave: bool = _switch()
    classes: tuple[int, ...] = setting((), Several(Number(whole=True, low=0), least=0))
    agnostic_nms: bool = _switch()
    project: str = _filled("runs/detect", "a folder")
    name: str = _filled("exp", "a folder name")
    exist_ok: bool = _switch()
    line_thickness: int = _count(3, low=1)
    hide_labels: bool = _switch()
    hide_conf: bool = _switch()
    precision: str = _precision()
    quiet: bool = _switch()
    debug: bool = _switch()

    def __post_init__(self) -> None:
        _check_fields(self, flag_of)


@dataclass(frozen=True)
class ConvertConfig:
    """A weight file and what to make of it."""

    source: str = _filled("", "the weight file to read")
    destination: str = _filled("", "the weight file to write")
    debug: bool = _switch()

    def __post_init__(self) -> None:
        _check_fields(self, lambda name: f"the {name}" if name != "debug" else flag_of(name))


def flag_of(name: str) -> str:
    """Return the command-line spelling of a setting ("conf_thres" -> "--conf-thres")."""
    return "--hyp" if name == "hyp_file" else "--" + name.replace("_", "-")


def rules_of(kind: type) -> dict[str, Rule]:
    """Return the rule of every setting of a configuration class."""
    return {item.name: item.metadata["rule"] for item in fields(kind) if "rule" in item.metadata}


def defaults_of(kind: type) -> dict[str, Any]:
    """Return the default of every setting of a configuration class."""
    return {item.name: item.default for item in fields(kind) if "rule" in item.metadata}


def _check_fields(config: Any, place: Callable[[str], str]) -> None:
    """Check each setting against its rule and store it in its own type (a list becomes a tuple, 1 becomes 1.0)."""
    for name, rule in rules_of(type(config)).items():
        object.__setattr__(config, name, rule.checked(getattr(config, name), place(name)))
