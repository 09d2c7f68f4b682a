"""From weights, however they are named, to a model; torch is imported only for what it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accel_yolo.errors import ConfigError
from accel_yolo.inference.model import Model
from accel_yolo.inference.onnx_detector import OnnxDetector


def load_model(
    weights: str | Path | Sequence[str | Path], device: str = "", precision: str = "auto", augment: bool = False
) -> Model:
    """Return a detector ready for images.

    Args:
        weights: a `.safetensors` or YOLOv5 `.pt` file, the name of a published one ("yolov5s"), a repository of the
            Hugging Face hub ("org/repo"), an exported model; or several of those, which then are an ensemble. A
            single `.onnx` file runs in ONNX Runtime, without torch.
        device: "" takes the first CUDA device, else the CPU; "cpu", "mps", or a CUDA index such as "0".
        precision: "auto" (float32), "fp32", "fp16" or "bf16".
        augment: look at each image three times (test-time augmentation).

    Raises:
        CheckpointError: no such weights, or damaged ones.
        ConfigError, EnvironmentFault: no such device or precision.
    """
    words = (str(weights),) if isinstance(weights, str | Path) else tuple(map(str, weights))
    if not words:
        raise ConfigError("no weights", "load", remedy="give a file or a name such as yolov5s")
    if len(words) == 1 and words[0].lower().endswith(".onnx"):
        if augment:
            raise ConfigError("an exported model cannot be augmented", "load", words[0], "load .pt or .safetensors")
        return Model(OnnxDetector(Path(words[0]).expanduser(), device), Path(words[0]))
    return _torch_model(words, device, precision, augment)


def _torch_model(words: tuple[str, ...], device: str, precision: str, augment: bool) -> Model:
    from accel_yolo.devices import named_device
    from accel_yolo.inference.networks import load_network
    from accel_yolo.inference.predictor import Predictor
    from accel_yolo.models.weights import find_weights

    source = find_weights(words[0]) if len(words) == 1 else None
    return Model(Predictor(load_network(words, named_device(device), precision)), source)
