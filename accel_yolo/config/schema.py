"""The settings of every command: frozen, typed, checked when made. One knob, one place, one default."""

from __future__ import annotations

from dataclasses import dataclass, field

from accel_yolo.config.consistency import QUAD, check_consistent
from accel_yolo.config.rules import BatchSize, Choice, LayerName, Number, Several, Text
from accel_yolo.config.save_every import Interval
from accel_yolo.config.settings import (
    CALLABLE,
    DEVICE,
    bad_data_choice,
    cache_choice,
    check_fields,
    class_choice,
    count,
    data_files,
    filled,
    flag_of,
    precision_choice,
    real,
    run_name,
    setting,
    share,
    size,
    switch,
    utf8_folder,
)
from accel_yolo.config.tracker_names import TRACKERS


@dataclass(frozen=True)
class Hyp:
    """Hyper-parameters under YOLOv5's names; the defaults are those of scratch-low."""

    lr0: float = real(0.01, above=0)
    lrf: float = real(0.01, low=0)
    momentum: float = real(0.937, low=0, below=1)
    weight_decay: float = real(0.0005, low=0)
    warmup_epochs: float = real(3.0, low=0)
    warmup_momentum: float = real(0.8, low=0, below=1)
    warmup_bias_lr: float = real(0.1, low=0)
    box: float = real(0.05, low=0)
    cls: float = real(0.5, low=0)
    cls_pw: float = real(1.0, above=0)
    obj: float = real(1.0, low=0)
    obj_pw: float = real(1.0, above=0)
    iou_t: float = share(0.2)
    anchor_t: float = real(4.0, above=1)
    anchors: float | None = real(None, low=0, high=20, optional=True)
    fl_gamma: float = real(0.0, low=0)
    hsv_h: float = share(0.015)
    hsv_s: float = share(0.7)
    hsv_v: float = share(0.4)
    degrees: float = real(0.0, low=0, high=180)
    translate: float = share(0.1)
    scale: float = real(0.5, low=0, below=1)
    shear: float = real(0.0, low=0, below=90)
    perspective: float = real(0.0, low=0, high=0.1)
    flipud: float = share(0.0)
    fliplr: float = share(0.5)
    mosaic: float = share(1.0)
    mixup: float = share(0.0)
    copy_paste: float = share(0.0)

    def __post_init__(self) -> None:
        check_fields(self, lambda name: f"hyper-parameter {name}")
        if self.anchors == 0:  # YOLOv5 writes 0 for "as the model says"
            object.__setattr__(self, "anchors", None)


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training run depends on, apart from data and weights themselves."""

    weights: str = setting("yolov5s.pt", Text())
    cfg: str = setting("", Text())
    data: tuple[str, ...] = data_files()
    classes: tuple[str, ...] = class_choice()
    fraction: float = real(1.0, above=0, high=1)
    hyp_file: str = filled("scratch-low", "a hyper-parameter YAML or the name of a shipped one")
    epochs: int = count(100, low=1)
    batch: int = setting(16, BatchSize())
    imgsz: int = size(640)
    rect: bool = switch()
    resume: str = setting("", Text())
    nosave: bool = switch()
    noval: bool = switch()
    noautoanchor: bool = switch()
    noplots: bool = switch()
    bbox_interval: int = count(-1, low=-1)
    device: str = setting("", DEVICE)
    multi_scale: bool = switch()
    close_mosaic: int = count(0)
    image_weights: bool = switch()
    class_balanced: float = share(0.0)
    quad: bool = switch()
    augment_with: str = setting("", CALLABLE)
    decode_once: int = count(0)
    single_cls: bool = switch()
    optimizer: str = setting("SGD", Choice(("SGD", "Adam", "AdamW")))
    sync_bn: bool = switch()
    bn_group: int = count(0)
    micro_batch: int = count(0)
    bit_exact: bool = switch()
    gradient_compression: str = setting("none", Choice(("none", "bf16", "fp16")))
    compile: bool = switch()
    cuda_graphs: bool = switch()
    workers: int = setting(8, Number(whole=True, low=0, high=1024))
    project: str = utf8_folder("runs/train", "a folder")
    name: str = run_name(utf8=True)
    exist_ok: bool = switch()
    cos_lr: bool = switch()
    label_smoothing: float = real(0.0, low=0, below=1)
    patience: int = count(100)
    freeze: tuple[int | str, ...] = setting((0,), Several(LayerName()))
    save_period: int = count(-1, low=-1)
    save_every: str = setting("15min", Interval())
    seed: int = setting(0, Number(whole=True, low=0, high=2**63 - 1))
    precision: str = precision_choice()
    nominal_batch: int = count(64, low=1)
    ema_decay: float = real(0.9999, low=0, below=1)
    ema_tau: float = real(2000.0, above=0)
    max_grad_norm: float = real(10.0, above=0)
    warmup_min_steps: int = count(100)
    report_to: tuple[str, ...] = setting((), Several(Choice(TRACKERS), least=0))
    report_timeout: float = real(120.0, low=0)
    entity: str = setting("", Text())
    bad_data: str = bad_data_choice()
    cache: str = cache_choice()
    cache_dir: str = setting("", Text())
    verbose: bool = switch()
    quiet: bool = switch()
    debug: bool = switch()
    debug_nan: bool = switch()
    hyp: Hyp = field(default_factory=Hyp)

    def __post_init__(self) -> None:
        check_fields(self, flag_of)
        check_consistent(self)

    @property
    def unit(self) -> int:
        """Samples that one image of the network shows."""
        return QUAD if self.quad else 1
