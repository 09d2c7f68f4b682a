"""torch.hub: the signatures, attributes and result methods that users of YOLOv5 know."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from accel_yolo.errors import ConfigError, EnvironmentFault
from accel_yolo.inference.interface.hub_model import HubModel, by_name
from accel_yolo.inference.interface.hub_results import Results
from accel_yolo.inference.network import Network
from accel_yolo.inference.predictor import Predictor
from accel_yolo.inference.results import Detections

REPOSITORY = Path(__file__).resolve().parents[4]


@pytest.fixture
def model(bright_spot: Network) -> HubModel:
    return HubModel(Predictor(bright_spot))


@pytest.fixture
def results(model: HubModel, spot_image: Callable[..., np.ndarray]) -> Results:
    return model([spot_image(), spot_image((60, 200), (5, 5, 50, 40))])


def test_one_image_gives_results_too(model: HubModel, spot_image: Callable[..., np.ndarray]) -> None:
    found = model(spot_image(), size=320, profile=True)
    assert isinstance(found, Results)
    assert len(found) == found.n == 1
    assert found.s == (1, 3, 256, 320)
    model.conf = 0.5
    assert [len(one) for one in model([spot_image(), spot_image()])] == [1, 1]
    with pytest.raises(ConfigError, match="did you mean 'size'"):
        model(spot_image(), sise=320)


def test_each_form_is_a_list_of_tensors_with_six_columns(results: Results) -> None:
    for form in ("xyxy", "xywh", "xyxyn", "xywhn", "pred"):
        tables = getattr(results, form)
        assert [tuple(table.shape) for table in tables] == [(2, 6), (2, 6)]
        assert all(isinstance(table, torch.Tensor) for table in tables)
    np.testing.assert_array_equal(results.xyxy[0].cpu().numpy(), results[0].xyxy)
    assert float(results.xywhn[1][:, :4].max()) <= 1
    assert results.names == {0: "person", 1: "dog"}
    assert results.files == ["image0.jpg", "image1.jpg"]
    assert len(results.t) == len(results.times) == 3
    assert all(isinstance(found, Detections) for found in results)


def test_pandas_has_the_columns_that_people_use(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    corners, centre = results.pandas().xyxy[0], results.pandas().xywhn[1]
    assert list(corners.columns) == ["xmin", "ymin", "xmax", "ymax", "confidence", "class", "name"]
    assert list(centre.columns) == ["xcenter", "ycenter", "width", "height", "confidence", "class", "name"]
    assert corners["name"].tolist() == ["dog", "person"]
    assert pandas.api.types.is_integer_dtype(corners["class"])
    empty = Results([], {}).pandas().xyxy
    assert empty == []
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        EnvironmentFault, match=r"pandas\(\) needs a package that is missing: pandas; pip install pandas"
    ):
        results.pandas()


def test_the_text_counts_objects_and_times(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    results.print()
    said = capsys.readouterr().out
    assert said.startswith("image 1/2: 120x160 1 person, 1 dog\nimage 2/2: 60x200 1 person, 1 dog\nSpeed per image: ")
    assert str(results) == said.strip()
    assert repr(results).startswith("<Results of 2 images>")


def test_files_go_into_a_new_folder_each_time(results: Results, tmp_path: Path) -> None:
    results.save(save_dir=tmp_path / "exp")
    results.save(save_dir=tmp_path / "exp", labels=False)
    results.save(save_dir=tmp_path / "exp", exist_ok=True)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jpg")) == [
        "exp/image0.jpg", "exp/image1.jpg", "exp2/image0.jpg", "exp2/image1.jpg",
    ]  # fmt: skip


def test_crops_are_returned_and_written(results: Results, tmp_path: Path) -> None:
    cut = results.crop(save_dir=tmp_path / "exp")
    assert [one["label"] for one in cut] == ["dog 0.90", "person 0.40"] * 2
    assert cut[0]["im"].ndim == 3
    assert cut[0]["cls"] == 1
    assert {path.parent.name for path in (tmp_path / "exp" / "crops").rglob("*.jpg")} == {"dog", "person"}
    assert len(results.crop(save=False, save_dir=tmp_path / "other")) == 4
    assert not (tmp_path / "other").exists()


def test_rendered_images_take_the_place_of_the_plain_ones(results: Results) -> None:
    plain = [image.copy() for image in results.ims]
    rendered = results.render()
    assert all((image != before).any() for image, before in zip(rendered, plain, strict=True))
    assert results.ims is rendered
    assert (results[0].image == plain[0]).all()
    assert [len(one) for one in results.tolist()] == [1, 1]


def test_without_a_display_showing_says_so_once(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    results.show()
    assert capsys.readouterr().err.count("no display") == 1
    assert results[0].show() is False


def test_entries_have_the_signatures_of_yolov5() -> None:
    sys.path.insert(0, str(REPOSITORY))
    try:
        import hubconf
    finally:
        sys.path.remove(str(REPOSITORY))
    custom = inspect.signature(hubconf.custom).parameters
    assert list(custom) == ["path", "autoshape", "_verbose", "device"]
    for name in [f"yolov5{size}{level}" for size in "nsmlx" for level in ("", "6")]:
        parameters = inspect.signature(getattr(hubconf, name)).parameters
        assert {key: value.default for key, value in parameters.items()} == {
            "pretrained": True, "channels": 3, "classes": 80, "autoshape": True, "_verbose": True, "device": None,
        }  # fmt: skip
        assert getattr(hubconf, name).__name__ == name


def test_a_fresh_model_has_the_classes_asked_for_and_three_channels() -> None:
    bare = by_name("yolov5n", pretrained=False, classes=3, autoshape=False, device="cpu")
    assert bare.nc == 3  # type: ignore[union-attr]
    assert bare.training
    with pytest.raises(ConfigError, match="three channels"):
        by_name("yolov5n", pretrained=False, channels=1)


@pytest.mark.slow
def test_torch_hub_loads_from_a_checkout_that_is_not_installed(
    tmp_path: Path, published_weights: Path, reference_dir: Path
) -> None:
    photo = min((reference_dir / "data" / "coco128" / "images").glob("*.jpg"))
    program = (
        "import sys, torch\n"
        "repository, weights, photo = sys.argv[1:]\n"
        "model = torch.hub.load(repository, 'custom', path=weights, source='local', device='cpu', _verbose=False)\n"
        "print(len(model(photo, size=320)), model.names[0], sum(p.numel() for p in model.model.parameters()) > 1e6)\n"
        "print(len(model(photo, size=320, augment=True)))\n"
        "print(model(torch.zeros(1, 3, 64, 64))[0].shape)\n"
        "bare = torch.hub.load(repository, 'custom', weights, autoshape=False, source='local', _verbose=False)\n"
        "print(type(bare).__name__, bare.training)\n"
    )
    words = [sys.executable, "-c", program, str(REPOSITORY), str(published_weights), str(photo)]
    result = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=True, env=_without_path())
    assert result.stdout.splitlines() == ["1 person True", "1", "torch.Size([1, 252, 85])", "Detector True"]
    assert "checkpoint under" not in result.stderr


def _without_path() -> dict[str, str]:
    import os

    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
