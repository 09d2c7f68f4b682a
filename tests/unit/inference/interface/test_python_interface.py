"""The Python interface: `accel_yolo.load(weights)(images)`."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from file_server import file_server
from PIL import Image

import accel_yolo
from accel_yolo import devices
from accel_yolo.errors import ConfigError, DataError, EnvironmentFault
from accel_yolo.inference.interface.model import Model
from accel_yolo.inference.network import Network
from accel_yolo.inference.predictor import Predictor
from accel_yolo.inference.results import Detections


@pytest.fixture
def model(bright_spot: Network) -> Model:
    return Model(Predictor(bright_spot))


@pytest.fixture
def photos(tmp_path: Path, spot_image: Callable[..., np.ndarray], png: Callable[..., bytes]) -> Path:
    for name in ("a/x.png", "b/x.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(png(spot_image()))
    return tmp_path


def test_importing_the_package_does_not_import_torch() -> None:
    script = (
        "import sys, accel_yolo; accel_yolo.__version__; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert callable(accel_yolo.load)


def test_every_form_of_one_image_gives_the_same_detections(
    model: Model, photos: Path, spot_image: Callable[..., np.ndarray]
) -> None:
    path = photos / "a" / "x.png"
    forms = [str(path), path, Image.open(path), spot_image(), Image.open(path).convert("RGBA")]
    results = [model(form) for form in forms]
    for found in results:
        assert isinstance(found, Detections)
        np.testing.assert_array_equal(found.xyxy, results[0].xyxy)
    assert results[0].path == str(path)
    assert results[3].path == ""


def test_several_images_give_a_list(model: Model, photos: Path, spot_image: Callable[..., np.ndarray]) -> None:
    path = photos / "a" / "x.png"
    assert [len(found) for found in model([str(path), spot_image(), Image.open(path)])] == [2, 2, 2]
    assert [len(found) for found in model((spot_image(),))] == [2]
    assert model([]) == []
    assert len(model(f"{photos}/*/x.png")) == 2
    assert len(model(photos / "a")) == 1
    assert isinstance(model(photos / "a"), list)


def test_saved_files_of_one_call_do_not_meet(model: Model, photos: Path, spot_image: Callable[..., np.ndarray]) -> None:
    results = model([*sorted(photos.glob("*/x.png")), spot_image(), spot_image()])
    assert [found.save(photos / "out").name for found in results] == ["x.png", "x-2.png", "image2.jpg", "image3.jpg"]


def test_arguments_are_those_of_the_command_line(model: Model, spot_image: Callable[..., np.ndarray]) -> None:
    assert model(spot_image(), conf=0.5).summary() == "1 dog"
    assert model(spot_image(), classes=[0]).summary() == "1 person"
    assert model(spot_image(), max_det=1).summary() == "1 dog"
    assert model(spot_image(), imgsz=(64, 128)).input_hw == (64, 128)
    assert model.names == {0: "person", 1: "dog"}
    with pytest.raises(ConfigError, match="conf_thres"):
        model(spot_image(), conf=25)


@pytest.mark.parametrize("wrong", [
    np.zeros((64, 64, 3)), np.zeros((0, 5, 3), np.uint8), np.zeros((64, 64, 7), np.uint8), [3], torch.zeros(3, 64, 64),
    np.zeros((2, 64, 64, 3), np.uint8), {"image": 1},
], ids=["float", "empty", "seven channels", "number", "float tensor", "batch", "mapping"])  # fmt: skip
def test_what_is_not_an_image_is_refused_with_the_remedy(model: Model, wrong: object) -> None:
    with pytest.raises(DataError, match="RGB order"):
        model(wrong)  # type: ignore[arg-type]


def test_missing_images_are_named(model: Model) -> None:
    for missing in ("nowhere.jpg", ["nowhere.jpg"]):
        with pytest.raises(DataError, match="nowhere.jpg"):
            model(missing)


def test_arrays_and_tensors_of_every_layout_are_the_same_image(
    model: Model, spot_image: Callable[..., np.ndarray]
) -> None:
    image = spot_image()
    layouts = [
        image.transpose(2, 0, 1),
        torch.from_numpy(image),
        torch.from_numpy(image).permute(2, 0, 1),
        image[..., 0],
    ]
    layouts += [image[..., :1], np.concatenate((image, np.full_like(image[..., :1], 255)), axis=2), image[:, :, ::-1]]
    for found in model(layouts):
        np.testing.assert_array_equal(found.image, image)
        assert found.summary() == "1 person, 1 dog"


def test_transparent_pixels_are_white_in_files_pictures_and_arrays_alike(model: Model, tmp_path: Path) -> None:
    clear = np.zeros((64, 64, 4), np.uint8)
    picture = Image.fromarray(clear)
    picture.save(tmp_path / "clear.png")
    for found in model([str(tmp_path / "clear.png"), picture, clear]):
        assert found.image.min() == 255


def test_options_are_those_of_the_model_where_the_call_does_not_say(
    model: Model, spot_image: Callable[..., np.ndarray]
) -> None:
    model.conf = 0.5
    assert model(spot_image()).summary() == "1 dog"
    assert model(spot_image(), conf=0.25).summary() == "1 person, 1 dog"
    model.conf, model.classes, model.imgsz = 0.25, "person", (64, 128)
    assert model(spot_image()).summary() == "1 person"
    assert model(spot_image()).input_hw == (64, 128)
    assert model(spot_image(), size=192).input_hw == (192, 192)
    assert model(spot_image(), classes=["dog", 0]).summary() == "1 person, 1 dog"


def test_large_images_may_be_cut_into_tiles(bright_spot: Network, spot_image: Callable[..., np.ndarray]) -> None:
    model = Model(Predictor(bright_spot))
    image = spot_image((300, 700), (610, 220, 650, 250))
    found = model(image, imgsz=320, tile=320, overlap=0.3, conf=0.6)
    assert found.tiles == 4
    np.testing.assert_allclose(found.boxes_xyxy, [[610, 220, 650, 250]], atol=1)
    assert model(image, tile=256).tiles == 9
    with pytest.raises(ConfigError, match="overlap of tiles"):
        model(image, tile=256, overlap=2.0)


def test_misspelt_options_and_attributes_are_errors(model: Model, spot_image: Callable[..., np.ndarray]) -> None:
    with pytest.raises(ConfigError, match="no such option in the call: cnof; did you mean 'conf'"):
        model(spot_image(), cnof=0.3)  # type: ignore[call-arg]
    with pytest.raises(AttributeError, match="did you mean 'conf'"):
        model.cnof = 0.3  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="no such class in classes: dgo; did you mean 'dog'"):
        model(spot_image(), classes="dgo")
    for size in (0, "big", (1, 2, 3), 64.5):
        with pytest.raises(ConfigError, match="not an image size"):
            model(spot_image(), size)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="batch_size"):
        model(spot_image(), batch_size=0)
    for wrong in ({"conf": "high"}, {"iou": None}, {"max_det": 2.5}, {"batch_size": "all"}):
        with pytest.raises(ConfigError, match=f"wrong value in the call, {next(iter(wrong))}"):
            model(spot_image(), **wrong)
    assert model(spot_image(), conf=np.float32(0.5), max_det=np.int64(3)).summary() == "1 dog"


@pytest.mark.parametrize("weights", [None, 3, [None], "", [""], {"a": 1}])
def test_what_names_no_weights_is_refused(weights: object) -> None:
    with pytest.raises(ConfigError, match="not weights in load"):
        accel_yolo.load(weights)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no weights in load"):
        accel_yolo.load([])
    with pytest.raises(ConfigError, match="precision: fp8; give one of auto"):
        accel_yolo.load("x.pt", precision="fp8")


def test_images_go_through_the_network_in_batches(
    bright_spot: Network, model: Model, spot_image: Callable[..., np.ndarray]
) -> None:
    images = [spot_image() for _ in range(5)]
    assert len(model(images, batch_size=2)) == 5
    assert [shape[0] for shape in bright_spot.seen] == [2, 2, 1]
    streamed = model.stream(images, batch_size=2)
    assert next(streamed).summary() == "1 person, 1 dog"
    assert len(bright_spot.seen) == 4
    assert len([*streamed]) == 4


def test_a_float_batch_is_given_to_the_network_as_it_is(published_weights: Path) -> None:
    model = accel_yolo.load(published_weights, device="cpu").eval().to("cpu").cpu()
    images = torch.rand(2, 3, 64, 96)
    decoded, raw = model(images)
    assert decoded.shape == (2, 378, 85)
    assert [level.shape[2:4] for level in raw] == [(8, 12), (4, 6), (2, 3)]
    torch.testing.assert_close(decoded, model.detector.decode(model.detector(images)))
    assert not decoded.requires_grad
    model.amp = True  # on a CPU without effect, as in YOLOv5
    assert model.float().amp is False
    with pytest.raises(ConfigError, match="fp16 does not work on a CPU"):
        model.half()
    for wrong in (torch.rand(1, 3, 60, 64), torch.rand(1, 1, 64, 64)):
        with pytest.raises(ConfigError, match="multiples of 32"):
            model(wrong)


def test_a_network_that_is_moved_keeps_its_precision_and_others_keep_theirs(
    published_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = accel_yolo.load(published_weights, device="cpu", precision="bf16")
    before = model.predictor.network  # type: ignore[attr-defined]
    # A device that every machine has, though nothing can be computed there.
    monkeypatch.setattr(devices, "named_device", torch.device)
    after = model.to("meta").predictor.network  # type: ignore[attr-defined]
    assert (after.dtype, after.device.type) == (torch.bfloat16, "meta")
    assert (before.device.type, before.detector.anchors.device.type) == ("cpu", "cpu")
    with pytest.raises(ConfigError, match="fp16 does not work on a CPU"):
        model.half().cpu()
    assert model.device.type == "meta"


def test_an_exported_model_cannot_be_saved_as_weights(
    published_weights: Path, bright_spot: Network, tmp_path: Path
) -> None:
    exported = tmp_path / "n_openvino_model"
    exported.mkdir()
    (exported / "n.xml").write_text("<net/>")
    script = tmp_path / "n.torchscript"
    with zipfile.ZipFile(script, "w") as archive:
        archive.writestr("n/constants.pkl", b"")
        archive.writestr("n/code/model.py", "")
    onnx = tmp_path / "n.onnx"
    onnx.write_bytes(b"onnx")
    for source in (exported, script, onnx, None):
        with pytest.raises(ConfigError, match="only weights of one file can be saved"):
            Model(Predictor(bright_spot), source).save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_numbers_of_numpy_are_numbers_and_an_empty_choice_of_classes_is_an_error(
    model: Model, spot_image: Callable[..., np.ndarray]
) -> None:
    assert model(spot_image(), imgsz=np.int64(64)).input_hw == (64, 64)  # type: ignore[arg-type]
    assert model(spot_image(), imgsz=(np.int32(64), 128)).input_hw == (64, 128)  # type: ignore[arg-type]
    assert model(spot_image(), classes=np.int64(0)).summary() == "1 person"  # type: ignore[arg-type]
    assert model(spot_image(), classes=np.array([0])).summary() == "1 person"  # type: ignore[arg-type]
    for nothing in ([], (), np.array([])):
        with pytest.raises(ConfigError, match="nothing could be found in classes"):
            model(spot_image(), classes=nothing)  # type: ignore[arg-type]


def test_several_files_are_an_ensemble_and_one_may_be_augmented(published_weights: Path, reference_dir: Path) -> None:
    photo = next(iter(sorted((reference_dir / "data" / "coco128" / "images").glob("*.jpg"))))
    alone = accel_yolo.load(published_weights, device="cpu")
    twice = accel_yolo.load([published_weights, published_weights], device="cpu", fusion="wbf")
    np.testing.assert_allclose(twice(photo, 320).xyxy, alone(photo, 320).xyxy, atol=1e-3)
    assert len(accel_yolo.load(published_weights, device="cpu", augment=True)(photo, 320)) >= len(alone(photo, 320))
    with pytest.raises(ConfigError, match="not a single torch module"):
        twice.detector  # noqa: B018


def test_the_public_interface_is_listed_and_lazy() -> None:
    for name in accel_yolo.__all__:
        assert getattr(accel_yolo, name) is not None
    assert sorted(dir(accel_yolo)) == sorted(accel_yolo.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        accel_yolo.nothing  # type: ignore[attr-defined] # noqa: B018


@pytest.fixture
def clip(tmp_path: Path, spot_image: Callable[..., np.ndarray]) -> Path:
    """A video of seven frames whose spot moves to the right."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120))  # pyright: ignore
    for number in range(7):
        writer.write(spot_image((120, 160), (10 + 10 * number, 30, 60 + 10 * number, 90)))
    writer.release()
    return path


def test_a_video_streams_frame_by_frame_in_order(model: Model, clip: Path) -> None:
    found = [*model.stream(clip, conf=0.5, batch_size=2)]
    lefts = [one.boxes_xyxy[0, 0] for one in found]
    np.testing.assert_allclose(lefts, [10 + 10 * number for number in range(7)], atol=3)
    assert len([*model.stream(clip, vid_stride=3)]) == 3
    with pytest.raises(ConfigError, match=r"not an image file: .*clip.avi; model.stream"):
        model(clip)
    with pytest.raises(ConfigError, match="vid_stride"):
        model.stream(clip, vid_stride=0)


def test_what_is_unreadable_among_others_is_skipped_in_a_stream(
    model: Model, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "a" / "y.png").write_bytes(b"no image")
    assert len([*model.stream(photos / "a")]) == 1
    assert "warning: image 2/2 skipped" in capsys.readouterr().err
    with pytest.raises(DataError, match="y.png"):
        [*model.stream(photos / "a" / "y.png")]


def test_a_folder_is_skipped_over_in_a_call_as_in_a_stream_and_nothing_readable_is_one_error(
    model: Model, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photos / "a"
    (folder / "y.png").write_bytes(b"no image")
    assert [one.stem for one in model(folder)] == [one.stem for one in model.stream(folder)]
    assert capsys.readouterr().err.count("warning: image 2/2 skipped") == 2
    for path in folder.iterdir():
        path.write_bytes(b"no image")
    for look in (model, model.stream):
        with pytest.raises(DataError, match=f"nothing could be read: {folder}"):
            [*look(folder)]
    with pytest.raises(DataError, match="y.png"):
        model(folder / "y.png")
    with pytest.raises(DataError, match="y.png"):
        model([folder / "y.png", folder / "y.png"])  # the answers are those of the images, one for one


def test_one_path_is_one_image_however_it_is_written(
    model: Model, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = [path.name for path in (photos / "a").iterdir()]
    monkeypatch.chdir(photos / "a")
    assert model(f"./{name}").stem == Path(name).stem


def test_images_behind_addresses_are_fetched(
    model: Model, spot_image: Callable[..., np.ndarray], png: Callable[..., bytes]
) -> None:
    with file_server() as server:
        server.files["/photo.png"] = png(spot_image())
        address = f"{server.base}/photo.png"
        one, several = model(address), model([address, spot_image()])
        assert (one.summary(), one.path, one.stem) == ("1 person, 1 dog", address, "photo")
        assert [len(found) for found in several] == [2, 2]
        with pytest.raises(EnvironmentFault, match="none.png"):
            model(f"{server.base}/none.png")


def test_large_images_are_looked_at_in_tiles(
    bright_spot: Network, model: Model, spot_image: Callable[..., np.ndarray]
) -> None:
    found = model(spot_image((200, 300), (130, 80, 160, 110)), imgsz=128, tile=128, overlap=0.25, conf=0.5)
    assert found.summary() == "1 dog"
    assert sum(shape[0] for shape in bright_spot.seen) > 4
