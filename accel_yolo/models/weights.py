"""Weights: one `.safetensors` file with metadata, YOLOv5 `.pt` files on the way in, and moving them into detectors."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from accel_yolo import console, fetch
from accel_yolo.config.shipped import RELEASED
from accel_yolo.errors import CheckpointError, UserError, did_you_mean
from accel_yolo.files import atomic_path, cache_dir
from accel_yolo.models import hub
from accel_yolo.models.blocks import Conv
from accel_yolo.models.detector import Detector
from accel_yolo.models.interop import import_checkpoint
from accel_yolo.models.licence import KEY
from accel_yolo.models.pretrained import check_config
from accel_yolo.models.weights_meta import Weights, WeightsMeta, check_same_entries
from accel_yolo.models.zoo import build_detector

__all__ = [
    "Weights",
    "WeightsMeta",
    "detector_from_weights",
    "find_weights",
    "load_weights",
    "save_weights",
    "transfer",
]

RELEASE_URL = "https://github.com/ultralytics/yolov5/releases/download/v7.0/"
RELEASES: dict[str, tuple[int, str] | None] = {
    **dict.fromkeys(RELEASED),
    "yolov5n.pt": (4_062_133, "4f180cf23ba0717ada0badd6c685026d73d48f184d00fc159c2641284b2ac0a3"),
}
"""Published checkpoints: size in bytes and SHA-256 where they are known here."""

MAX_HEADER_BYTES = 8 << 20
FROM_SCRATCH = "or train from scratch with --weights ''"


def find_weights(text: str) -> Path:
    """Return the file that `text` means.

    A path that exists is taken as it is. `x.pt` that does not exist but has `x.safetensors` beside it means that one,
    and one note says so. A folder with a `model.safetensors` means that. The bare name of a published checkpoint
    (yolov5s.pt) is fetched once into the cache, a repository of the Hugging Face hub (org/name) into that of its
    library.

    Raises:
        CheckpointError: no such file, a folder, or the download failed.
    """
    path = Path(text).expanduser()
    with contextlib.suppress(OSError, ValueError):
        if path.is_file():
            return path
        if path.is_dir():
            if (path / hub.WEIGHTS).is_file():
                return path / hub.WEIGHTS
            raise CheckpointError("a folder where a weights file is needed", text or "''", remedy="give the file")
        beside = path.with_suffix(".safetensors") if path.suffix == ".pt" else None
        if beside is not None and beside.is_file():
            console.note(f"{path} does not exist; using {beside}")
            return beside
    name = path.name if path.suffix else f"{path.name}.pt"
    if name in RELEASES and len(path.parts) == 1:
        return _fetched_release(name)
    if name not in RELEASES and hub.is_repository(text):
        return hub.fetched_weights(text)
    remedy = did_you_mean(text, RELEASES) if len(path.parts) == 1 else ""
    if name in RELEASES:
        remedy = f"write {name} without a folder to fetch the published file"
    raise CheckpointError("no such weights file", text, remedy=remedy or "check the path")


def _fetched_release(name: str) -> Path:
    url = RELEASE_URL + name
    size, digest = RELEASES[name] or (None, None)
    path = cache_dir() / "weights" / name
    if path.is_file() and (size is None or path.stat().st_size == size):
        console.detail(f"{name} read from the cache {path}")
        return path
    try:
        return fetch.download(url, path, size=size, sha256=digest)
    except UserError as error:
        remedy = f"download {url} by hand and give its path, {FROM_SCRATCH}"
        raise CheckpointError("cannot fetch weights", name, error.value or error.what, remedy) from error


def load_weights(path: Path | str) -> Weights:
    """Return the weights in a `.safetensors` file of this project or in a YOLOv5 `.pt` file, float32 on the CPU.

    The kind is told by content, not by name. A `.pt` file is read without executing anything.

    Raises:
        CheckpointError: missing, empty, damaged, hostile, or of another kind.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
    except OSError as error:
        raise CheckpointError("cannot read weights", str(path), error.strerror or error, "check the path") from error
    is_zip = start.startswith(b"PK")
    looks_safe = len(start) > 8 and start[8:9] == b"{"
    if not is_zip and (looks_safe or path.suffix == ".safetensors"):
        return _load_safetensors(path)
    return import_checkpoint(path)


def _load_safetensors(path: Path) -> Weights:
    where = str(path)
    _check_name(path)
    _check_header_size(path)
    from safetensors import SafetensorError, safe_open

    again = "get the file again"
    try:
        with safe_open(where, framework="pt", device="cpu") as stream:
            text = (stream.metadata() or {}).get(KEY)
            if text is None:
                remedy = "give a file that this project wrote, or a YOLOv5 .pt file"
                raise CheckpointError("no accel_yolo metadata", where, remedy=remedy)
            meta = WeightsMeta.from_json(text, where)
            check_config(path, meta)
            # Cloned: the tensors must not hang on a mapped file that somebody may replace or shorten.
            state = {key: _in_float32(stream.get_tensor(key).clone()) for key in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, OverflowError) as error:
        raise CheckpointError("damaged safetensors file", where, str(error).split("\n")[0][:200], again) from error
    return Weights(state, meta)


def _check_name(path: Path) -> None:
    """Refuse what the library of safetensors cannot open."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        remedy = "rename it, or go to its folder and give the path from there"
        raise CheckpointError("a weights file needs a path in UTF-8", str(path), remedy=remedy) from None


def _check_header_size(path: Path) -> None:
    """Refuse a header longer than any of ours before a parser sees it."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if size < 10 or length > size - 8:
        raise CheckpointError("empty or truncated safetensors file", str(path), f"{size} bytes", "get the file again")
    if length > MAX_HEADER_BYTES:
        raise CheckpointError("header too large for a weights file", str(path), f"{length} bytes", "get the file again")


def _in_float32(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def save_weights(path: Path, detector: Detector, meta: WeightsMeta) -> None:
    """Write a detector to one `.safetensors` file, float32, atomically; equal weights give equal bytes.

    Args:
        path: the file; its folder is made.
        detector: unfused (a fused one has lost its normalisation and cannot be trained on).
        meta: what the file says about itself.

    Raises:
        CheckpointError: the path is not UTF-8.
        EnvironmentFault: the disk is full or the folder cannot be written.
    """
    if any(isinstance(module, Conv) and isinstance(module.bn, nn.Identity) for module in detector.modules()):
        raise ValueError("a fused detector cannot be saved as weights")
    save_state(path, detector.state_dict(), meta)


def save_state(path: Path, entries: Mapping[str, Tensor], meta: WeightsMeta) -> None:
    """As `save_weights`, from the state dict of an unfused detector."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    _check_name(path)
    state = {key: _in_float32(value.detach()).cpu().contiguous() for key, value in entries.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(state, temporary, metadata={KEY: meta.to_json()})
        except SafetensorError as error:  # how its library reports a full disk
            raise OSError(str(error)) from error


def detector_from_weights(weights: Weights, names: Mapping[int, str] | None = None) -> Detector:
    """Return a detector with these weights, in training mode, on the CPU.

    Args:
        weights: from `load_weights`.
        names: class names to use instead; with another number of classes the head starts fresh.

    Raises:
        CheckpointError: the entries are not those of the architecture that the file describes.
    """
    chosen = dict(weights.meta.names if names is None else names)
    if len(chosen) != len(weights.meta.names):
        detector = build_detector(weights.meta.spec, chosen)
        transfer(detector, weights.state)
        return detector
    with torch.device("meta"):
        detector = build_detector(weights.meta.spec, chosen)
    check_same_entries(detector.state_dict(), weights.state, "weights")
    copies = {key: value.clone() for key, value in weights.state.items()}
    detector.load_state_dict(copies, assign=True)
    return detector


def transfer(
    detector: Detector, state: Mapping[str, Tensor], exclude_anchors: bool = False, where: str = ""
) -> tuple[int, int]:
    """Copy the entries whose name and shape agree; one note says how many and names the rest.

    Args:
        detector: changed in place; keeps its dtype and device.
        state: state dict of a related detector.
        exclude_anchors: keep the detector's own anchors.
        where: names of the weights and the model, for messages.

    Returns:
        Entries copied, entries of the detector.

    Raises:
        CheckpointError: none of the weights before the head agree: another architecture.
    """
    own = detector.state_dict()
    head = f"model.{len(detector.model) - 1}."
    body = [name for name, _ in detector.named_parameters() if not name.startswith(head)]
    fitting = {
        key
        for key, value in own.items()
        if key in state and state[key].shape == value.shape and not (exclude_anchors and "anchor" in key)
    }
    shared = sum(name in fitting for name in body)
    skipped = [_why_not(key, value, state) for key, value in own.items() if key not in fitting]
    listed = "not " + ", ".join(skipped[:10]) + (f" and {len(skipped) - 10} more" if len(skipped) > 10 else "")
    if all(key in fitting or (key in state and key.startswith(f"{head}m.")) for key in own):
        listed = f"the last layers ({head}m) start anew, because the weights know another number of classes"
    if shared == 0:
        remedy = "choose the --cfg that these weights were trained with, " + FROM_SCRATCH
        first = next((line for line in skipped if ".weight (" in line), skipped[0])
        raise CheckpointError("weights of another architecture, nothing fits", where, f"begins with {first}", remedy)
    if 2 * shared < len(body):
        console.warn(f"only {shared} of {len(body)} weights before the head fit: another architecture?")
    with torch.no_grad():
        for key in fitting:
            own[key].copy_(state[key])
    anchors_key = f"{head}anchors"
    if anchors_key in fitting and bool((detector.anchors > 0).all()):
        detector.set_anchors_px(detector.anchors_px)
    console.note(f"transferred {len(fitting)}/{len(own)} entries" + (f"; {listed}" if skipped else ""))
    return len(fitting), len(own)


def _why_not(key: str, value: Tensor, state: Mapping[str, Tensor]) -> str:
    if key not in state:
        return f"{key} (not in the file)"
    if state[key].shape == value.shape:
        return f"{key} (kept)"
    return f"{key} ({list(state[key].shape)} in the file, {list(value.shape)} here)"
