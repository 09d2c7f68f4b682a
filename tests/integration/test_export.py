"""The export command on real weights and images: the same detector in every runtime, also for whoever has only that."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from commands import Commands
from torch import Tensor

import accel_yolo
from accel_yolo.data.images import read_image
from accel_yolo.export.comparison import kept_by_torch
from accel_yolo.export.exported import ExportedDetector
from accel_yolo.inference.networks import load_network
from accel_yolo.inference.runtimes.description import NmsInGraph
from accel_yolo.letterbox import Letterbox
from accel_yolo.models.network_input import network_input
from accel_yolo.models.weights import detector_from_weights, load_weights, save_weights
from accel_yolo.models.weights_meta import WeightsMeta
from accel_yolo.models.zoo import build_detector, model_spec

CPU = torch.device("cpu")
SIDE = 320
Exports = Callable[..., Path]
SHARED = ("onnx", "openvino")
ENDINGS = {"torchscript": ".torchscript", "onnx": ".onnx", "openvino": "_openvino_model"}


@pytest.fixture(scope="module")
def network(published_weights: Path) -> ExportedDetector:
    """The published detector in torch, decoded."""
    return ExportedDetector(detector_from_weights(load_weights(published_weights)))


@pytest.fixture(scope="module")
def photos(reference_dir: Path) -> list[Path]:
    return sorted((reference_dir / "data" / "coco128" / "images").glob("*.jpg"))[:20]


@pytest.fixture(scope="module")
def twenty(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data YAML of those images with their labels."""
    root = tmp_path_factory.mktemp("twenty")
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for photo in photos:
        shutil.copy(photo, root / "images")
        label = photo.parent.parent / "labels" / f"{photo.stem}.txt"
        if label.exists():
            shutil.copy(label, root / "labels")
    names = list(load_weights(photos[0].parents[2] / "yolov5n.pt").meta.names.values())
    (root / "data.yaml").write_text(f"path: {root}\ntrain: images\nval: images\nnames: {json.dumps(names)}\n")
    return root / "data.yaml"


@pytest.fixture(scope="module")
def exports(published_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """A function that exports the published detector, each way once; ONNX and OpenVINO share the work."""
    folders: dict[tuple[str, ...], Path] = {}

    def export(form: str, *flags: str) -> Path:
        from accel_yolo.cli import run

        forms = SHARED if form in SHARED and "--opset" not in flags else (form,)
        if (*forms, *flags) not in folders:
            weights = Path(shutil.copy(published_weights, tmp_path_factory.mktemp("export")))
            words = ["--weights", str(weights), "--include", *forms, "--imgsz", str(SIDE), *flags]
            assert run("export", words) == 0
            folders[(*forms, *flags)] = weights.parent
        return folders[(*forms, *flags)] / f"yolov5n{ENDINGS[form]}"

    return export


def batch_of(photos: list[Path], hw: tuple[int, int]) -> Tensor:
    images = [read_image(str(photo)) for photo in photos]
    pixels = [Letterbox.plan((image.shape[0], image.shape[1]), hw).apply(image) for image in images]
    return network_input(torch.from_numpy(np.stack(pixels)), torch.float32)


def assert_same(got: Tensor | np.ndarray, wanted: Tensor) -> None:
    rows = wanted[..., 4] > 0.001
    assert int(rows.sum()) > 100 * len(wanted)
    gap = (torch.as_tensor(got)[rows] - wanted[rows]).abs()
    assert float(gap[:, :4].max()) < 0.5
    assert float(gap[:, 4:].max()) < 1e-3


WAYS = [("torchscript",), ("onnx",), ("onnx", "--dynamic"), ("openvino",)]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_every_runtime_answers_as_torch_does(
    way: tuple[str, ...], exports: Exports, network: ExportedDetector, photos: list[Path]
) -> None:
    exported = load_network([str(exports(*way))], CPU)
    with torch.inference_mode():
        for start in range(0, len(photos), 4):
            images = batch_of(photos[start : start + 4], (SIDE, SIDE))
            assert_same(exported(images), network(images))


@pytest.mark.slow
def test_a_dynamic_file_takes_any_batch_and_any_size(
    exports: Exports, network: ExportedDetector, photos: list[Path]
) -> None:
    exported = load_network([str(exports("onnx", "--dynamic"))], CPU)
    for images, hw in ((1, (64, 32)), (3, (256, 416)), (5, (320, 192))):
        given = batch_of(photos[:images], hw)
        with torch.inference_mode():
            gap = (exported(given) - network(given)).abs()
        assert float(gap[..., :4].max()) < 0.5
        assert float(gap[..., 4:].max()) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("way", [*WAYS, ("onnx", "--dnn")], ids=" ".join)
def test_val_measures_an_export_as_it_measures_the_weights(
    way: tuple[str, ...], exports: Exports, twenty: Path, published_weights: Path, commands: Commands
) -> None:
    dnn = ["--dnn"] if "--dnn" in way else []
    path = exports(*(word for word in way if word != "--dnn"))
    common = ["--data", str(twenty), "--imgsz", str(SIDE), "--workers", "0", "--device", "cpu", "--noplots"]
    measured = metrics_of(commands, ["--weights", str(path), *common, *dnn])
    is_square = load_network([str(path)], CPU).fixed_hw is not None
    wanted = square_map(published_weights, twenty) if is_square else None
    if wanted is None:
        wanted = metrics_of(commands, ["--weights", str(published_weights), *common])["map50_95"]
    assert wanted > 0.2
    assert abs(measured["map50_95"] - wanted) < 1e-3


def metrics_of(commands: Commands, words: list[str]) -> dict[str, Any]:
    project = commands.project / f"val{len(list(commands.project.glob('*')))}"
    commands("val", *words, "--project", str(project)).succeeded()
    return json.loads((project / "exp" / "metrics.json").read_text())


def square_map(weights: Path, data: Path) -> float:
    """Return mAP50-95 of torch with all inputs of one size."""
    from accel_yolo.config.data_union import load_data_union
    from accel_yolo.data.eval_loader import EvalLoader, eval_shapes
    from accel_yolo.data.splits import SplitOptions, open_splits
    from accel_yolo.data.workers import Workers
    from accel_yolo.engine.evaluate import EvalOptions, evaluate
    from accel_yolo.engine.world import World
    from accel_yolo.metrics.nms import NmsOptions

    index = open_splits(load_data_union((str(data),), ("val",)), ("val",), SplitOptions(False, "limit", 0))["val"]
    shapes = eval_shapes(index.sizes_hw, SIDE, 32, (SIDE, SIDE))
    loader = EvalLoader(index, SIDE, shapes, 4, Workers(0))
    world = World.start("cpu")
    options = EvalOptions(NmsOptions(0.001, 0.6, multi_label=True))
    result = evaluate(detector_from_weights(load_weights(weights)), loader, options, world)
    world.end()
    return result.ap.map50_95


@pytest.mark.slow
def test_onnxruntime_and_opencv_alone_run_the_file(
    exports: Exports, network: ExportedDetector, photos: list[Path]
) -> None:
    import onnxruntime

    path = exports("onnx", "--opset", "12", "--simplify")
    image = cv2.resize(cv2.imread(str(photos[0])), (SIDE, SIDE))
    blob = cv2.dnn.blobFromImage(image, 1 / 255, swapRB=True)
    wanted = network(torch.from_numpy(blob))

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["stride"] == "32"
    assert_same(session.run(["output0"], {"images": blob})[0], wanted)

    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(blob)
    assert_same(net.forward(), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_suppression_in_the_graph_finds_what_torch_finds(
    form: str, exports: Exports, network: ExportedDetector, photos: list[Path], commands: Commands
) -> None:
    path = exports(form, "--nms", "--conf-thres", "0.2", "--max-det", "30", "--batch", "2")
    exported = load_network([str(path)], CPU)
    with torch.inference_mode():
        images = batch_of(photos[:5], (SIDE, SIDE))
        rows, wanted = exported(images), kept_by_torch(network(images), NmsInGraph(0.2, 0.45, 30))
    assert rows.shape == (5, 30, 6)
    for theirs, mine in zip(rows, wanted, strict=True):
        found = theirs[theirs[:, 4] > 0]
        torch.testing.assert_close(found, mine, rtol=1e-3, atol=0.1)
    if form == "onnx":
        answer = commands("predict", "--weights", str(path), "--source", str(photos[0]), "--conf", "0.1", "--nosave")
        assert any("NMS in the graph" in line and "confidence above 0.2" in line for line in answer.succeeded().lines)
        assert len(accel_yolo.load(path, device="cpu")(photos[0], conf=0.2)) > 0
        words = ("--weights", str(path), "--source", str(photos[0]), "--dnn", "--name", "by-opencv")
        commands("predict", *words).error(2, "OpenCV does not run NMS in the graph", "--dnn", "without --nms")
        assert not (commands.project / "by-opencv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "torchscript", "openvino"])
def test_half_is_smaller_and_near(
    form: str, exports: Exports, network: ExportedDetector, photos: list[Path], published_weights: Path
) -> None:
    path = exports(form, "--half")
    size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.iterdir()))
    assert size < 1.2 * published_weights.stat().st_size, "the checkpoint is in half too"
    exported = load_network([str(path)], CPU)
    images = batch_of(photos[:2], (SIDE, SIDE))
    with torch.inference_mode():
        got, wanted = exported(images.to(exported.input_dtype)), network(images)
    sure = wanted[..., 4] > 0.25
    gap = (got[sure] - wanted[sure]).abs()
    assert float(gap[:, :4].max()) < 3
    assert float(gap[:, 4:].max()) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("form", ENDINGS)
def test_an_export_says_under_what_licence_its_weights_are(form: str, exports: Exports, commands: Commands) -> None:
    out = " ".join(commands("info weights", exports(form)).succeeded().out.split())
    assert "architecture yolov5n, 25 layers" in out
    assert "licence AGPL-3.0" in out and "offered the complete source" in out
    assert f"2. exported to {form}" in out


@pytest.mark.slow
def test_another_architecture_with_other_classes_and_a_licence_of_its_own(tmp_path: Path, commands: Commands) -> None:
    spec = {**model_spec("yolov5n6"), "activation": "nn.LeakyReLU(0.1)"}
    detector = build_detector(spec, {0: "cat", 1: "dog"}, seed=0)
    meta = WeightsMeta.of(detector, 256, "made").derived("trained")
    save_weights(tmp_path / "two.safetensors", detector, meta)
    words = [
        "--weights",
        str(tmp_path / "two.safetensors"),
        "--include",
        "onnx",
        "torchscript",
        "--imgsz",
        "128",
        "192",
    ]
    commands("export", *words).succeeded()
    model = accel_yolo.load(tmp_path / "two.onnx", device="cpu")
    assert model.names == {0: "cat", 1: "dog"}
    exported = load_network([str(tmp_path / "two.onnx")], CPU)
    assert (exported.strides, exported.fixed_hw) == ((8, 16, 32, 64), (128, 192))
    steps = WeightsMeta.from_json(entries_of(tmp_path / "two.onnx")["accel_yolo"], "x").provenance
    assert steps == ("made", "trained", "exported to onnx")


def entries_of(path: Path) -> dict[str, str]:
    import onnx

    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_the_limit_of_an_image_is_that_of_a_class_unless_that_has_its_own() -> None:
    from accel_yolo.config.export_schema import ExportConfig
    from accel_yolo.export.export import nms_of

    assert nms_of(ExportConfig(nms=True, topk_all=300)) == NmsInGraph(max_det=300, per_class=300)
    assert nms_of(ExportConfig(nms=True, topk_all=300, topk_per_class=5)) == NmsInGraph(max_det=300, per_class=5)
    assert nms_of(ExportConfig(topk_all=300)) is None


def test_a_file_that_exists_is_kept_unless_it_may_be_replaced(
    published_weights: Path, tmp_path: Path, commands: Commands
) -> None:
    weights = Path(shutil.copy(published_weights, tmp_path / "y.pt"))
    mine = tmp_path / "y.torchscript"
    mine.write_text("mine")
    words = ["--weights", str(weights), "--imgsz", "64"]
    commands("export", *words).error(2, "the export exists", "y.torchscript", "--exist-ok")
    assert mine.read_text() == "mine"
    commands("export", *words, "--exist-ok").succeeded()
    assert load_network([str(mine)], CPU).names[0] == "person"
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix) == ["y.pt", "y.torchscript"]


def test_weights_of_one_name_in_one_folder_do_not_replace_each_others_exports(
    published_weights: Path, tmp_path: Path, commands: Commands
) -> None:
    first = Path(shutil.copy(published_weights, tmp_path / "best.pt"))
    second = first.with_suffix(".safetensors")
    commands("convert", first, second).succeeded()
    (tmp_path / "link").symlink_to(tmp_path)
    for other in (second, first, tmp_path / "link" / "best.pt"):
        words = ["--weights", str(first), str(other), "--imgsz", "64", "--exist-ok"]
        commands("export", *words).error(2, "two exports would have one name", "--weights", "best.torchscript")
    assert not list(tmp_path.glob("*.torchscript"))


def test_weights_of_the_hub_are_exported_into_the_working_folder(
    published_weights: Path, tmp_path: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accel_yolo.models import hub

    cached, here = tmp_path / "hf" / "snapshots" / "0123", tmp_path / "working"
    cached.mkdir(parents=True)
    here.mkdir()
    weights = Path(shutil.copy(published_weights, cached / "best.pt"))
    monkeypatch.setattr(hub, "fetched_weights", lambda text: weights)
    monkeypatch.chdir(here)
    commands("export", "--weights", "me/pets", "--imgsz", "64").succeeded()
    assert [path.name for path in here.iterdir()] == ["pets.torchscript"]
    assert [path.name for path in cached.iterdir()] == ["best.pt"]


def test_the_settings_know_the_formats_that_are_written() -> None:
    from accel_yolo.config import export_schema
    from accel_yolo.export.export import FORMATS

    assert set(FORMATS) == set(export_schema.FORMATS)


def test_an_export_that_differs_is_not_kept(
    published_weights: Path, tmp_path: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accel_yolo.export import torchscript

    class Wrong(ExportedDetector):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * 1.01

    monkeypatch.setattr(torchscript, "ExportedDetector", Wrong)
    weights = Path(shutil.copy(published_weights, tmp_path / "y.pt"))
    answer = commands("export", "--weights", str(weights), "--imgsz", "64")
    answer.error(4, "the torchscript export differs from torch", "boxes by", "nothing was kept")
    assert not (tmp_path / "y.torchscript").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--nms"], ("--nms", "--include onnx")),
        (["--include", "onxx"], ("--include", "onxx", "did you mean 'onnx'?")),
        (["--opset", "11"], ("--opset", "11", "from 12 to")),
        (["--include", "onnx", "--conf", "0.3"], ("no effect without --nms", "--conf-thres: 0.3", "add --nms")),
        (["--include", "onnx", "--max-det", "5"], ("no effect without --nms", "--topk-all: 5", "add --nms")),
        (["--include", "openvino", "--opset", "12"], ("no effect on these formats", "--opset: openvino", "add onnx")),
        (["--weights", "here.onnx"], ("an export itself", "--weights", "here.onnx")),
        (["--weights", "nowhere.pt"], ("no such weights file", "nowhere.pt")),
    ],
)
def test_a_wrong_request_is_one_line(words: list[str], parts: tuple[str, ...], commands: Commands) -> None:
    Path("here.onnx").write_bytes(b"\x08")
    answer = commands("export", *words, *(() if "--weights" in words else ("--weights", "nowhere.pt")))
    assert answer.code in (2, 4)
    answer.error(answer.code, *parts)


@pytest.mark.slow
def test_the_benchmark_measures_every_format_it_can(
    published_weights: Path, twenty: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "openvino", None)
    words = ["--weights", str(published_weights), "--data", str(twenty), "--imgsz", "192", "--workers", "0"]
    words += ["--include", "torchscript", "openvino", "--project", str(commands.project)]
    answer = commands("benchmark", *words).succeeded()
    rows = json.loads((commands.project / "exp" / "benchmark.json").read_text())
    assert [row["format"] for row in rows] == ["torch", "torchscript", "openvino"]
    assert rows[0]["map50_95"] == pytest.approx(rows[1]["map50_95"], abs=1e-3)
    assert all(row["ms"] > 0 and row["size_mb"] > 1 for row in rows[:2])
    assert "missing: openvino; pip install 'accel-yolo[export]'" in rows[2]["note"]
    assert "mAP50-95" in answer.out
    assert (commands.project / "exp" / "benchmark.csv").read_text().startswith("format,size_mb,map50,")
    commands("benchmark", *words, "--hard-fail", "--test").error(7, "openvino")
