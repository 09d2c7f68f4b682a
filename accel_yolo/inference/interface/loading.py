"""From weights, however they are named, to what finds objects; torch is imported only for what it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accel_yolo.errors import ConfigError, EnvironmentFault
from accel_yolo.inference.fusion import Fusion, check_fusion
from accel_yolo.inference.onnx_detector import OnnxDetector
from accel_yolo.inference.picture_detector import PictureDetector
from accel_yolo.inference.runtimes.kinds import exported_kind

Opened = tuple[PictureDetector, Path | None]
"""What finds objects, and the weights file; None for several."""

PRECISIONS = ("auto", "fp32", "fp16", "bf16")


def open_detector(
    weights: str | Path | Sequence[str | Path],
    device: str = "",
    precision: str = "auto",
    augment: bool = False,
    fusion: Fusion = "nms",
) -> Opened:
    """Return a detector ready for images, and the file it came from.

    Args:
        weights: a `.safetensors` or YOLOv5 `.pt` file, the name of a published one ("yolov5s"), a repository of the
            Hugging Face hub ("org/repo"), an exported model; or several of those, which then are an ensemble. A
            single `.onnx` file runs in ONNX Runtime, without torch.
        device: "" takes the first CUDA device, else the CPU; "cpu", "mps", or a CUDA index such as "0".
        precision: "auto" (float32), "fp32", "fp16" or "bf16".
        augment: look at each image three times (test-time augmentation).
        fusion: how the answers of an ensemble are put together: "nms" or "wbf" (weighted box fusion).

    Raises:
        CheckpointError: no such weights, or damaged ones.
        ConfigError, EnvironmentFault: no such device or precision.
    """
    listed = [weights] if isinstance(weights, str | Path) else weights
    if not isinstance(listed, Sequence) or not all(isinstance(one, str | Path) and str(one) for one in listed):
        raise ConfigError("not weights", "load", repr(weights), "give a file or a name such as yolov5s")
    words = tuple(map(str, listed))
    if precision not in PRECISIONS:
        raise ConfigError("wrong value", "precision", precision, f"give one of {', '.join(PRECISIONS)}")
    if not words:
        raise ConfigError("no weights", "load", remedy="give a file or a name such as yolov5s")
    check_fusion(words, fusion)
    if len(words) == 1 and words[0].lower().endswith(".onnx"):
        return _open_onnx(words[0], device, precision, augment)
    return _open_torch(words, device, precision, augment, fusion)


def _open_onnx(word: str, device: str, precision: str, augment: bool) -> Opened:
    if augment:
        raise ConfigError("an exported model cannot be augmented", "load", word, "load .pt or .safetensors weights")
    path = Path(word).expanduser()
    return OnnxDetector(path, device, precision), path


def _open_torch(words: tuple[str, ...], device: str, precision: str, augment: bool, fusion: Fusion) -> Opened:
    _require_torch(words)
    from accel_yolo.devices import named_device
    from accel_yolo.inference.networks import NetworkOptions, load_network
    from accel_yolo.inference.predictor import Predictor
    from accel_yolo.models.weights import find_weights

    source = None
    if len(words) == 1:
        path = Path(words[0]).expanduser()
        source = path if exported_kind(path) else find_weights(words[0])
        words = (str(source),)
    network = load_network(words, named_device(device), NetworkOptions(precision, augment, fusion))
    return Predictor(network), source


def _require_torch(words: tuple[str, ...]) -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        remedy = "pip install torch torchvision, or export the model to .onnx where torch is and load that"
        raise EnvironmentFault("these weights need torch", value=" ".join(words), remedy=remedy) from error
