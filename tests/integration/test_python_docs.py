"""What docs/python.md and the docstrings of the public interface show is what happens."""

from __future__ import annotations

import doctest
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

import accel_yolo

REPOSITORY = Path(__file__).resolve().parents[2]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture
def place(tmp_path: Path, reference_dir: Path, published_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the examples name."""
    images = reference_dir / "data" / "coco128" / "images"
    shutil.copy(published_weights, tmp_path / "best.pt")
    shutil.copy(images / "000000000074.jpg", tmp_path / "photo.jpg")
    (tmp_path / "photos").mkdir()
    for name, number in (("a", "000000000074"), ("b", "000000000009")):
        shutil.copy(images / f"{number}.jpg", tmp_path / "photos" / f"{name}.jpg")
    frame = cv2.resize(cv2.imread(str(tmp_path / "photo.jpg")), (320, 208))
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 208))  # pyright: ignore
    for _ in range(10):
        writer.write(frame)
    writer.release()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(test: doctest.DocTest) -> None:
    runner, said = doctest.DocTestRunner(optionflags=FLAGS), []
    runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_the_page_about_python_is_true(place: Path) -> None:
    text = (REPOSITORY / "docs" / "python.md").read_text()
    # The end of a block is not part of what is printed.
    text = re.sub(r"^```.*$", "", text, flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(text, {}, "docs/python.md", None, None)
    assert len(test.examples) > 20
    run(test)


def test_examples_in_docstrings_are_true(place: Path) -> None:
    finder = doctest.DocTestFinder()
    public: list[Any] = [getattr(accel_yolo, name) for name in accel_yolo.__all__ if name != "__version__"]
    tests = [test for thing in public for test in finder.find(thing, globs={"accel_yolo": accel_yolo}) if test.examples]
    assert {test.name for test in tests} >= {"load", "Model", "Detections"}
    for test in tests:
        run(test)


def test_every_public_name_and_method_has_a_docstring() -> None:
    for name in accel_yolo.__all__:
        thing = getattr(accel_yolo, name)
        assert name == "__version__" or thing.__doc__, name
        members = vars(thing).items() if isinstance(thing, type) else ()
        for member, value in members:
            if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                assert value.__doc__, f"{name}.{member}"
