"""The predict command: what it writes, and what it refuses before it writes anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accel_yolo.config.predict_schema import PredictConfig
from accel_yolo.data.images import read_image
from accel_yolo.errors import ConfigError, DataError
from accel_yolo.inference import predict as command
from accel_yolo.inference.predict import predict

pytestmark = pytest.mark.usefixtures("predict_place")


def run(source: str = "photos/**/*.png", **flags: Any) -> Path:
    return predict(PredictConfig(weights=("w.pt",), source=source, device="cpu", imgsz=(128,), **flags))


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("[!.]*") if path.is_file())


def test_drawn_images_keep_their_names_and_never_replace_each_other() -> None:
    folder = run()
    assert folder == Path("runs/detect/exp")
    assert files_in(folder) == ["empty.png", "x-2.png", "x.png"]
    for drawn, source in (("x.png", "photos/a/x.png"), ("x-2.png", "photos/b/x.png")):
        image, before = read_image(str(folder / drawn)), read_image(source)
        assert image.shape == before.shape
        assert not np.array_equal(image, before)


def test_every_run_has_its_own_folder_unless_one_is_named() -> None:
    assert [run().name for _ in range(3)] == ["exp", "exp2", "exp3"]
    assert run(name="exp2", exist_ok=True).name == "exp2"
    assert run(project="elsewhere", name="mine") == Path("elsewhere/mine")


def test_label_files_hold_class_and_box_from_the_least_confident() -> None:
    folder = run(save_txt=True, nosave=True)
    assert files_in(folder) == ["labels/x-2.txt", "labels/x.txt"]
    rows = [line.split() for line in (folder / "labels" / "x.txt").read_text().splitlines()]
    assert [row[0] for row in rows] == ["0", "1"]
    # The white rectangle (40, 30, 100, 90) of a 160 x 120 image.
    np.testing.assert_allclose(
        [float(value) for value in rows[1][1:]], [70 / 160, 60 / 120, 60 / 160, 60 / 120], atol=0.02
    )
    pixels = np.array([float(value) for value in rows[1][1:]]) * (160, 120, 160, 120)
    np.testing.assert_allclose(pixels * 2, np.round(pixels * 2), atol=1e-3)


def test_label_files_can_hold_corners_and_confidences() -> None:
    folder = run(save_txt=True, save_format=1, save_conf=True, nosave=True)
    last = (folder / "labels" / "x.txt").read_text().splitlines()[-1].split()
    np.testing.assert_allclose([float(v) for v in last], [1, 0.25, 0.25, 0.625, 0.75, 0.9], atol=0.02)
    assert last[-1] == "0.9"


def test_a_repeated_run_into_the_same_folder_leaves_no_stale_labels() -> None:
    folder = run(save_txt=True, save_conf=True, exist_ok=True, nosave=True)
    assert run(save_txt=True, classes=("person",), exist_ok=True, nosave=True, conf_thres=0.5) == folder
    assert files_in(folder) == []


def test_crops_are_sorted_by_class() -> None:
    assert files_in(run(save_crop=True, nosave=True)) == [
        "crops/dog/x-2.jpg", "crops/dog/x.jpg", "crops/person/x-2.jpg", "crops/person/x.jpg",
    ]  # fmt: skip


def test_lines_say_what_was_found_and_where_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    folder = run()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("image 1/3 photos/a/x.png: 128x128 1 person, 1 dog, ")
    assert lines[0].endswith(" ms")
    assert "image 3/3 photos/empty.png: 128x128 no detections" in lines[2]
    assert lines[-2].startswith("speed per image: ")
    assert lines[-1] == f"3 images done, results in {folder}"


def test_unreadable_images_are_skipped_named_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos/a/broken.png").write_bytes(b"no image")
    Path("photos/zero.png").touch()
    Path("list.txt").write_text("photos/a/x.png\nphotos/a/broken.png\nphotos/zero.png\nphotos/gone.png\n")
    assert files_in(run("list.txt")) == ["x.png"]
    output = capsys.readouterr()
    for name in ("broken.png", "zero.png", "gone.png"):
        assert sum(name in line and "skipped" in line for line in output.err.splitlines()) == 1
    assert "1 image done, 3 skipped" in output.out


def test_if_no_image_can_be_read_the_run_fails() -> None:
    Path("broken.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="not an image of a supported kind in broken.jpg"):
        run("broken.jpg")
    assert not Path("runs").exists()
    Path("list.txt").write_text("broken.jpg\ngone.jpg\n")
    with pytest.raises(DataError, match="nothing could be read: list.txt"):
        run("list.txt")


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ({"source": "nowhere"}, DataError),
        ({"classes": ("7",)}, ConfigError),
        ({"classes": ("dig",)}, ConfigError),
        ({"source": "screen"}, ConfigError),
    ],
)
def test_what_is_wrong_is_found_before_a_folder_is_created(flags: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        run(**flags)
    assert not Path("runs").exists()


def test_a_size_that_does_not_fit_the_network_is_rounded_up_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    predict(PredictConfig(weights=("w.pt",), source="photos", device="cpu", imgsz=(100, 128)))
    assert "--imgsz 100 128 is no multiple of 64; using 128 128" in capsys.readouterr().err


def test_names_of_a_data_file_are_used_and_must_fit() -> None:
    Path("two.yaml").write_text("train: t\nval: v\nnames: [mensch, hund]\n")
    Path("three.yaml").write_text("train: t\nval: v\nnames: [a, b, c]\n")
    assert files_in(run(data="two.yaml", save_crop=True, nosave=True))[0].startswith("crops/hund")
    with pytest.raises(ConfigError, match="three.yaml: 3 names, the weights have 2 classes"):
        run(data="three.yaml")


def test_without_a_source_and_without_data_images_the_demo_data_set_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (Path("demo/images")).mkdir(parents=True)
    Path("photos/a").rename("demo/images/val")
    monkeypatch.setattr(command, "ensure_demo", lambda root: Path("demo"))
    assert files_in(run("data/images")) == ["x.png"]
    assert "no data/images here" in capsys.readouterr().err
    Path("data").mkdir()
    Path("photos").rename("data/images")
    assert files_in(run("data/images")) == ["empty.png"]
