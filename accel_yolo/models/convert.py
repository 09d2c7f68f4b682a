"""Converts a foreign checkpoint to a weights file of this project."""

from __future__ import annotations

from pathlib import Path

from accel_yolo import console
from accel_yolo.errors import CheckpointError, ConfigError
from accel_yolo.models.weights import detector_from_weights, find_weights, load_weights, save_weights


def convert(source: str | Path, destination: str | Path = "") -> Path:
    """Write the weights in `source` (a YOLOv5 `.pt`) to `destination` and return it.

    Args:
        source: the file, or the name of a published checkpoint.
        destination: a `.safetensors` file that does not exist yet; "" puts it beside the source.

    Raises:
        ConfigError: the destination is not a `.safetensors` file.
        CheckpointError: the source cannot be read, or the destination exists (it is never overwritten).
        EnvironmentFault: the destination cannot be written.
    """
    path = find_weights(str(source))
    target = Path(destination).expanduser() if str(destination) else path.with_suffix(".safetensors")
    if target.suffix != ".safetensors":
        remedy = "give a .safetensors name" if target.suffix != ".pt" else "writing .pt files is not available yet"
        raise ConfigError("cannot convert to this kind of file", "destination", target, remedy)
    if target.exists():
        raise CheckpointError("destination exists", str(target), remedy="remove it or choose another name")
    weights = load_weights(path)
    detector = detector_from_weights(weights)
    save_weights(target, detector, weights.meta.derived("converted to safetensors"))
    parameters = sum(parameter.numel() for parameter in detector.parameters())
    console.note(
        f"wrote {target}: {len(weights.state)} entries, {parameters:,} parameters, {detector.nc} classes, "
        f"strides {' '.join(map(str, detector.strides))}, licence {weights.meta.licence}"
    )
    return target
