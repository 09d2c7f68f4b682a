"""Images of every kind that users have: read as they are displayed, or named and left out; never a crash."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import Commands, digest_of, make_data, write_data_yaml
from PIL import Image

PHOTO = "000000000036.jpg"
TURNED_LEFT = 6  # EXIF: the camera was held so that the stored image must be turned clockwise for display


@pytest.fixture
def photo(reference_dir: Path) -> Path:
    """A real photograph with a large object."""
    return reference_dir / "data" / "coco128" / "images" / PHOTO


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sixteen_bit(image: Image.Image) -> bytes:
    pixels = np.asarray(image.convert("RGB"))[..., ::-1].astype(np.uint16) * 257
    return cv2.imencode(".png", pixels)[1].tobytes()


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


READABLE: dict[str, tuple[str, Callable[[Image.Image], bytes]]] = {
    "CMYK": (".jpg", lambda image: encoded(image.convert("CMYK"), "JPEG")),
    "16-bit colour": (".png", sixteen_bit),
    "16-bit grey": (
        ".png",
        lambda image: encoded(Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257), "PNG"),
    ),
    "palette": (".png", lambda image: encoded(image.convert("P"), "PNG")),
    "alpha": (".png", lambda image: encoded(image.convert("RGBA"), "PNG")),
    "grey": (".jpg", lambda image: encoded(image.convert("L"), "JPEG")),
    "one bit": (".png", lambda image: encoded(image.convert("1"), "PNG")),
    "PNG named jpg": (".jpg", lambda image: encoded(image, "PNG")),
}

BROKEN: dict[str, tuple[bytes, str]] = {
    "zero bytes": (b"", "the image file is empty"),
    "text": (b"hello", "not an image of a supported kind"),
    "a web page": (b"<!doctype html><html></html>", "not an image of a supported kind"),
    "GIF named jpg": (encoded(Image.new("RGB", (64, 64)), "GIF"), "not an image of a supported kind"),
    "a header only": (b"\xff\xd8\xff\xe0" + bytes(40), "image"),
}


def put(data: Path, name: str | bytes, content: bytes) -> Path:
    """Add an image and its label to a data set and return the image."""
    path = data.parent / "images" / os.fsdecode(name)
    path.write_bytes(content)
    label = data.parent / "labels" / f"{path.stem}.txt"
    label.write_text("1 .5 .5 .5 .5\n")
    return path


def test_images_of_every_mode_are_trained_and_predicted_on(
    commands: Commands, data: Path, photo: Path, published_weights: Path
) -> None:
    small = Image.open(photo).resize((160, 120))
    for kind, (ending, make) in READABLE.items():
        put(data, f"{kind}{ending}", make(small))
    count = 4 + len(READABLE)
    outcome = commands.train(data, "--noval").succeeded()
    assert f"train: {count} images ({count} labelled), {count} objects" in outcome.out
    predicted = commands.detect(data.parent / "images", published_weights).succeeded()
    assert f"{count} images done" in predicted.out
    assert not outcome.starting("warning") and not predicted.starting("warning")


def test_a_mode_of_eight_bits_or_sixteen_gives_the_same_detections(
    commands: Commands, tmp_path: Path, photo: Path, published_weights: Path
) -> None:
    image = Image.open(photo)
    alpha = encoded(image.convert("RGBA"), "PNG")
    contents = {"eight": encoded(image, "PNG"), "sixteen": sixteen_bit(image), "alpha": alpha}
    found = {}
    for name, content in contents.items():
        (tmp_path / f"{name}.png").write_bytes(content)
        found[name] = detections(commands, tmp_path / f"{name}.png", published_weights)
    assert found["eight"]
    assert found["sixteen"] == found["eight"] == found["alpha"]


def detections(commands: Commands, image: Path, weights: Path) -> list[list[float]]:
    """Return the rows that `detect --save-txt --save-conf` writes for one image."""
    name = f"of-{image.stem}"
    commands.detect(image, weights, "--img", "320", "--save-txt", "--save-conf", "--nosave", "--name", name).succeeded()
    text = (commands.project / name / "labels" / f"{image.stem}.txt").read_text()
    return [[float(number) for number in line.split()] for line in text.splitlines()]


def test_detections_of_a_rotated_photo_are_in_the_displayed_frame(
    commands: Commands, tmp_path: Path, photo: Path, published_weights: Path
) -> None:
    upright = Image.open(photo)
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    assert stored.size == upright.size[::-1]
    for name, image, options in (("upright", upright, {}), ("turned", stored, {"exif": exif(TURNED_LEFT)})):
        (tmp_path / f"{name}.png").write_bytes(encoded(image, "PNG", **options))
    expected = detections(commands, tmp_path / "upright.png", published_weights)
    assert expected
    assert detections(commands, tmp_path / "turned.png", published_weights) == expected


def test_labels_of_rotated_photos_are_in_the_displayed_frame(
    commands: Commands, tmp_path: Path, reference_dir: Path, coco128: Path, published_weights: Path
) -> None:
    """The same photos, stored upright and stored turned with an EXIF mark, and the same labels: equal metrics."""
    source = reference_dir / "data" / "coco128"
    names = coco128.read_text()[coco128.read_text().index("names:") :]
    metrics = {}
    for kind in ("upright", "turned"):
        root = tmp_path / kind
        data = make_data(root, images=0)
        write_data_yaml(root, f"train: images\nval: images\n{names}")
        for path in sorted((source / "images").iterdir())[:8]:
            image, options = Image.open(path).convert("RGB"), {}
            if kind == "turned":
                image, options = image.transpose(Image.Transpose.ROTATE_90), {"exif": exif(TURNED_LEFT)}
            (root / "images" / f"{path.stem}.png").write_bytes(encoded(image, "PNG", **options))
            (root / "labels" / f"{path.stem}.txt").write_bytes((source / "labels" / f"{path.stem}.txt").read_bytes())
        commands.val(data, published_weights, "--img", "320", "--name", kind).succeeded()
        metrics[kind] = json.loads((commands.project / kind / "metrics.json").read_text())
        metrics[kind].pop("speed_ms")
    assert metrics["upright"]["map50"] > 0.3
    assert metrics["turned"] == metrics["upright"]


@pytest.mark.parametrize("case", [*BROKEN, "truncated"])
def test_a_broken_image_stops_training_and_prediction_in_one_line(
    commands: Commands, data: Path, photo: Path, published_weights: Path, case: str
) -> None:
    whole = photo.read_bytes()
    content, rule = BROKEN.get(case, (whole[: len(whole) // 2], "the JPEG is cut short"))
    path = put(data, "broken.jpg", content)
    line = commands.train(data).error(3, "too many bad images, 1 of 5 (20.0%); the first in", str(path))
    assert rule in line
    assert rule in commands.detect(path, published_weights).error(3, f" in {path}", "; replace the file")


def test_prediction_on_a_folder_skips_what_is_broken_and_says_so(
    commands: Commands, data: Path, published_weights: Path
) -> None:
    for number, (content, _) in enumerate(BROKEN.values()):
        put(data, f"broken{number}.jpg", content)
    outcome = commands.detect(data.parent / "images", published_weights).succeeded()
    assert len(outcome.starting("warning")) == len(BROKEN)
    assert f"4 images done, {len(BROKEN)} skipped" in outcome.out


NAMES = {
    "日本 é 'q' \".jpg": "日本 é 'q' \".jpg",
    "a\nb.jpg": "a\\nb.jpg",
    b"caf\xe9.jpg": "caf\\xe9.jpg",
    "\x1b[31mred.jpg": "\\x1b[31mred.jpg",
    "n" * 251 + ".jpg": "nnn.jpg",
}


def test_file_names_of_any_bytes_are_trained_and_predicted_on(
    commands: Commands, data: Path, photo: Path, published_weights: Path
) -> None:
    small = encoded(Image.open(photo).resize((160, 120)), "JPEG")
    for name in NAMES:
        put(data, name, small)
    assert "train: 9 images (9 labelled), 9 objects" in commands.train(data, "--noval").succeeded().out
    predicted = commands.detect(data.parent / "images", published_weights, "--save-txt").succeeded()
    for shown in NAMES.values():
        assert f"{shown}: 64x64 " in predicted.out
    assert sum(": 64x64 " in line for line in predicted.out.splitlines()) == 9
    small = ("--imgsz", "64", "--workers", "0", "--device", "cpu", "--project", commands.project, "--name", "seen")
    best = commands.project / "exp" / "weights" / "best.safetensors"
    words = ("--data", data, "--weights", best, "--worst", "9", "--save-txt", "--save-json")
    commands("val", *small, *words).succeeded()
    written = (commands.project / "seen" / "worst.csv").read_text()
    assert all(shown.rpartition(" ")[2].replace('"', '""') in written for shown in NAMES.values())
    assert (commands.project / "seen" / "worst.jpg").is_file()


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_message_about_any_file_name_is_one_line_of_text(commands: Commands, data: Path, name: str | bytes) -> None:
    put(data, name, b"no image")
    assert "\x1b" not in commands.train(data).error(3, NAMES[name], "not an image of a supported kind")


def test_paths_that_are_not_utf8_work_for_data_and_are_refused_for_what_training_writes(
    commands: Commands, tmp_path: Path
) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    data = make_data(odd / "data")
    data = data.rename(data.with_name(os.fsdecode(b"d\xe9.yaml")))
    commands.train(data, "--noval").succeeded()
    commands("push", commands.project / "exp", "--into", tmp_path / "given").succeeded()
    commands.train(data, "--project", odd).error(2, "wrong value in --project: ", "caf\\xe9; give a folder in UTF-8")


def test_nothing_is_left_beside_the_images(commands: Commands, data: Path, published_weights: Path) -> None:
    before = digest_of(data.parent)
    commands.train(data).succeeded()
    commands.val(data, published_weights, "--single-cls").succeeded()
    commands.detect(data.parent / "images", published_weights, "--save-txt", "--save-crop").succeeded()
    assert digest_of(data.parent) == before
    assert list(Path.cwd().iterdir()) == []
