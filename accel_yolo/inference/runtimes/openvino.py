"""OpenVINO models: a folder with an .xml, a .bin and what the model says about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from accel_yolo import console
from accel_yolo.config.yaml_io import load_yaml
from accel_yolo.errors import CheckpointError, ConfigError, first_line
from accel_yolo.inference.runtimes.description import KEY, NAMES, STRIDE, described, fitted
from accel_yolo.inference.runtimes.exported import ExportedNetwork
from accel_yolo.inference.runtimes.packages import optional

_ENTRIES = (STRIDE, NAMES, KEY)


class OpenVinoNetwork(ExportedNetwork):
    """A detector in an OpenVINO folder, on the CPU.

    Raises:
        EnvironmentFault: OpenVINO is not installed.
        CheckpointError: damaged, or not a detector of this family.
    """

    def __init__(self, path: Path, device: torch.device, precision: str = "auto") -> None:
        if device.type != "cpu":
            console.warn(f"OpenVINO runs on the CPU here, whatever --device says: {path.name}")
        openvino = optional("openvino", "running OpenVINO models")
        graph = openvino_file(path)
        # Without the hint, processors with bfloat16 compute in it.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        model = read_openvino(graph)
        try:
            self._compiled = openvino.Core().compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise CheckpointError(
                "OpenVINO cannot compile", str(graph), first_line(error), "export it again"
            ) from error
        input_shape, output_shape = (_sides(port.get_partial_shape()) for port in (model.inputs[0], model.outputs[0]))
        description = described(openvino_entries(graph, model), str(path))
        half = model.inputs[0].get_element_type() == openvino.Type.f16
        description = fitted(description, input_shape, output_shape, str(path), half=half)
        super().__init__(path, description, torch.device("cpu"), precision)

    def run(self, images: Tensor) -> Tensor:
        """Return the first output, float32 on the CPU."""
        try:
            outputs = self._compiled([images.contiguous().numpy()])
        except RuntimeError as error:
            raise CheckpointError(
                "OpenVINO cannot run", str(self.path), first_line(error), "export it again"
            ) from error
        # The memory of the answer is used again for the next one.
        return torch.from_numpy(outputs[0].copy()).float()


def openvino_file(path: Path) -> Path:
    """Return the .xml of a folder, or the .xml itself.

    Raises:
        CheckpointError: none, several, or no .bin beside it.
    """
    graphs = sorted(path.glob("*.xml")) if path.is_dir() else [path]
    if len(graphs) != 1:
        raise CheckpointError("several models in one folder", str(path), len(graphs), "give the .xml file itself")
    if not graphs[0].with_suffix(".bin").is_file():
        raise CheckpointError("weights are missing", str(graphs[0].with_suffix(".bin")), remedy="export it again")
    return graphs[0]


def read_openvino(graph: Path) -> Any:
    """Return the `openvino.Model` of an .xml file.

    Raises:
        EnvironmentFault: OpenVINO is not installed.
        CheckpointError: damaged.
    """
    openvino = optional("openvino", "reading OpenVINO models")
    try:
        return openvino.Core().read_model(graph)
    except RuntimeError as error:
        raise CheckpointError("cannot read OpenVINO model", str(graph), first_line(error), "export it again") from error


def openvino_entries(graph: Path, model: Any) -> dict[str, str]:
    """Return the text entries of a model: those in its graph, or those of the YAML beside it that YOLOv5 writes."""
    info = model.get_rt_info() if hasattr(model, "get_rt_info") else {}
    entries = {
        name: str(info[name].value if hasattr(info[name], "value") else info[name]) for name in _ENTRIES if name in info
    }
    beside = [
        path for name in (graph.with_suffix(".yaml").name, "metadata.yaml") if (path := graph.parent / name).is_file()
    ]
    if KEY not in entries and beside:
        try:
            read = load_yaml(beside[0]).data
        except ConfigError as error:
            raise CheckpointError("unreadable metadata", str(beside[0]), error.what, "export it again") from error
        entries.update({name: str(read[name]) for name in (STRIDE, NAMES) if isinstance(read, dict) and name in read})
    return entries


def _sides(shape: Any) -> list[int]:
    return [side.get_length() if side.is_static else -1 for side in shape]
