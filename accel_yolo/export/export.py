"""The export command: weights in, files for other runtimes out, each run and compared with torch before it is kept."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from accel_yolo import console
from accel_yolo.config.export_schema import ExportConfig
from accel_yolo.devices import named_device
from accel_yolo.errors import CheckpointError, ConfigError, EnvironmentFault
from accel_yolo.export.comparison import Difference, compared, tolerance_of
from accel_yolo.export.onnx import write_onnx
from accel_yolo.export.openvino import write_openvino
from accel_yolo.export.pictures import check_images
from accel_yolo.export.request import ExportRequest
from accel_yolo.export.torchscript import write_torchscript
from accel_yolo.files import fsync_dir, fsync_file
from accel_yolo.inference.picture_detector import fitting_hw, size_hw
from accel_yolo.inference.runtimes.description import NmsInGraph
from accel_yolo.inference.runtimes.kinds import ONNX, OPENVINO, TORCHSCRIPT, exported_kind
from accel_yolo.inference.runtimes.opening import open_exported
from accel_yolo.inference.runtimes.packages import optional
from accel_yolo.models.made_of import beside_weights
from accel_yolo.models.weights import detector_from_weights, find_weights, load_weights
from accel_yolo.shell import program


@dataclass(frozen=True)
class Format:
    """A format that can be written.

    Attributes:
        ending: what the name of the file or folder ends with, after the stem of the weights.
        write: writes into a path; a folder exists already.
        is_folder: whether it is a folder.
        packages: modules without which it cannot be written and checked.
        extra: the extra of ours that installs them.
        takes_nms: whether the graph can end with non-maximum suppression.
    """

    ending: str
    write: Callable[[ExportRequest, Path], None]
    is_folder: bool = False
    packages: tuple[str, ...] = ()
    extra: str = "export"
    takes_nms: bool = True


FORMATS: Mapping[str, Format] = {
    TORCHSCRIPT: Format(".torchscript", write_torchscript, takes_nms=False),
    ONNX: Format(".onnx", write_onnx, packages=("onnx", "onnxscript", "onnxruntime")),
    OPENVINO: Format("_openvino_model", write_openvino, True, ("onnx", "onnxscript", "openvino")),
}


def export(config: ExportConfig) -> list[Path]:
    """Return the files and folders that were written, beside the weights (of fetched ones: in the working folder).

    Raises:
        ConfigError: settings that do not go together, or a file that exists.
        CheckpointError: weights that are missing or damaged, or an export that differs from torch.
        EnvironmentFault: a package is missing, or a file cannot be written.
    """
    forms = list(dict.fromkeys(config.include))
    check_request(config, forms)
    device = named_device(config.device)
    images = check_images(config.data)
    found = [_found(word) for word in config.weights]
    targets = [
        [beside_weights(word, path, FORMATS[form].ending) for form in forms]
        for word, path in zip(config.weights, found, strict=True)
    ]
    refuse_repeated([target for row in targets for target in row])
    for target in (target for row in targets for target in row):
        refuse_existing(target, exist_ok=config.exist_ok)
    # All are read before the first is written: damaged weights at the end are told at the start.
    requests = [_request(path, config, device) for path in found]
    written = [
        _written(request, form, target, images)
        for request, row in zip(requests, targets, strict=True)
        for form, target in zip(forms, row, strict=True)
    ]
    console.say(f"Use it: {program()} predict --weights {shlex.quote(str(written[0]))} --source ...")
    return written


def _found(word: str) -> Path:
    if exported_kind(Path(word)):
        raise ConfigError("an export itself", "--weights", word, "give the weights it was made from")
    return find_weights(word)


def _request(path: Path, config: ExportConfig, device: torch.device) -> ExportRequest:
    """Return what is asked for of the weights in a file. Raises CheckpointError."""
    weights = load_weights(path)
    detector = detector_from_weights(weights).to(device)
    hw = size_hw(config.imgsz)
    request = ExportRequest(
        detector=detector,
        meta=weights.meta,
        hw=fitting_hw(hw, max(32, *detector.strides)),
        batch=config.batch,
        dynamic=config.dynamic,
        half=config.half,
        simplify=config.simplify,
        opset=config.opset,
        nms=nms_of(config),
        verbose=config.verbose,
    )
    if request.hw != hw:
        own, asked = (" ".join(map(str, side)) for side in (request.hw, hw))
        console.warn(f"--imgsz {asked} is no multiple of {request.stride}; using {own}")
    return request


def check_request(config: ExportConfig, forms: Sequence[str]) -> None:
    """Check that formats and settings go together and that all packages are there. Raises ConfigError and others."""
    for form in forms:
        entry = FORMATS[form]
        if config.nms and not entry.takes_nms:
            remedy = "leave --nms out, or give --include onnx or openvino"
            raise ConfigError(f"{form} files have no suppression in the graph", "--nms", remedy=remedy)
        require_packages(form)
    if config.simplify:
        optional("onnxslim", "--simplify")


def require_packages(form: str) -> None:
    """Check that the packages of a format are installed. Raises EnvironmentFault."""
    for package in FORMATS[form].packages:
        optional(package, f"exporting to {form}", FORMATS[form].extra)


def nms_of(config: ExportConfig) -> NmsInGraph | None:
    """Return the suppression that the graph is to end with."""
    if not config.nms:
        return None
    most = config.topk_all, config.topk_per_class or config.topk_all
    return NmsInGraph(config.conf_thres, config.iou_thres, *most, config.agnostic_nms)


def refuse_repeated(targets: Sequence[Path]) -> None:
    """Check that no export would replace another one of the same command. Raises ConfigError."""
    seen: set[Path] = set()
    for target in targets:
        place = target.resolve()
        if place in seen:
            remedy = "weights of one name in one folder: export them one by one, and move or rename the first export"
            raise ConfigError("two exports would have one name", "--weights", target, remedy)
        seen.add(place)


def refuse_existing(target: Path, *, exist_ok: bool) -> None:
    """Check that nothing is lost by writing. Raises ConfigError."""
    if target.exists() and not exist_ok:
        raise ConfigError("the export exists", value=target, remedy="remove it, or replace it with --exist-ok")
    if target.exists() and target.is_dir() != any(
        target.name.endswith(f.ending) for f in FORMATS.values() if f.is_folder
    ):
        kind = "folder" if target.is_dir() else "file"
        raise ConfigError(f"a {kind} is in the way", value=target, remedy="move it away")


def _written(request: ExportRequest, form: str, target: Path, images: Sequence[NDArray[np.uint8]]) -> Path:
    difference = write_checked(request, form, target, images)
    if not difference.compared:
        console.warn(
            f"{target} could be compared only on images without detections: give --data of images with objects"
        )
    what = "detections" if request.nms else "predictions"
    lost = f", {difference.lost} on one side only" if difference.lost else ""
    console.say(
        f"{target} ({size_mb(target):.1f} MB): {difference.compared} {what} on {len(images)} images, boxes within "
        f"{difference.box_px:.2g} px and scores within {difference.score:.2g} of torch{lost}: ok"
    )
    return target


def write_checked(request: ExportRequest, form: str, target: Path, images: Sequence[NDArray[np.uint8]]) -> Difference:
    """Write an export, run it, and keep it if it is the same detector; return how far it is from torch.

    Args:
        request: what to write.
        form: a name in `FORMATS`.
        target: the file or folder; what is there is replaced once all is well.
        images: uint8 [H, W, 3] RGB, to compare on.

    Raises:
        CheckpointError: it differs from torch, and is not kept.
        EnvironmentFault: it cannot be written.
    """
    entry = FORMATS[form]
    allowed = tolerance_of(request)
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as workplace:
            made = Path(workplace) / target.name
            if entry.is_folder:
                made.mkdir()
            entry.write(request, made)
            difference = compared(request, open_exported(made, form, request.device), images)
            if not difference.within(allowed):
                raise _differs(form, target, difference)
            _place(made, target)
    except OSError as error:
        raise EnvironmentFault(
            "cannot write", str(target), error.strerror or error, "check space and rights"
        ) from error
    return difference


def size_mb(path: Path) -> float:
    """Return the size of a file, or of all files in a folder, in MB."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def _differs(form: str, target: Path, difference: Difference) -> CheckpointError:
    far = f"boxes by {difference.box_px:.3g} px, scores by {difference.score:.3g}"
    lost = f", {difference.lost} detections on one side only" if difference.lost else ""
    remedy = "nothing was kept: try another --opset, or leave --half, --dynamic and --simplify out"
    return CheckpointError(f"the {form} export differs from torch", str(target), far + lost, remedy)


def _place(made: Path, target: Path) -> None:
    """Give what was made its name, durably; an old folder goes at once, since a name cannot be given to two."""
    for file in [made] if made.is_file() else made.iterdir():
        fsync_file(file)
    if target.is_dir():
        old = made.with_name("old")
        target.rename(old)
        made.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        made.replace(target)
    fsync_dir(target.parent)
