"""The demo data set: generated in seconds, the same everywhere, a real test of learning.

Six classes told apart by shape alone: colour, texture, size, angle and background are drawn without regard to the
class.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np

from accel_yolo import console, files
from accel_yolo.data.demo_scene import Scene, draw_scene
from accel_yolo.errors import DataError, EnvironmentFault, printable

VERSION = 1
"""Raise it when what is drawn changes: older sets are then generated anew."""
SPLITS = {"train": 800, "val": 200}
"""Images of each split; the seeds of the splits are disjoint, so that validation images are held out."""

_SEED = 20_240_501
_JPEG_QUALITY = 92
_MARKER = "demo.json"


def ensure_demo(root: Path) -> Path:
    """Return `root` with the complete demo data set in it, generating it if it is missing or damaged.

    Layout: `images/{train,val}/*.jpg`, `labels/{train,val}/*.txt` and `demo.json`, which holds the digest of them all
    and appears with them at once: the set is built beside `root` and renamed.

    Args:
        root: folder of the data set; created.

    Raises:
        DataError: the folder holds something else; nothing in it is touched.
        EnvironmentFault: the folder cannot be written.
    """
    if is_complete(root):
        return root
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with files.locked(root.parent / f".{root.name}.lock"):
            if not is_complete(root):
                _refuse_foreign(root)
                console.note(f"generating the demo data set in {printable(str(root))}")
                _replace(root)
    except OSError as error:
        what = "cannot write the demo data set"
        raise EnvironmentFault(what, printable(str(root)), error.strerror, "check space and rights") from error
    return root


def is_complete(root: Path) -> bool:
    """Return whether `root` holds the demo data set of this version, every byte as it was generated."""
    try:
        marker = json.loads((root / _MARKER).read_text("utf-8"))
        return marker["version"] == VERSION and marker["sha256"] == _digest(root)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def demo_scene(split: str, number: int) -> Scene:
    """Return one scene of a split, a function of its arguments alone."""
    stream = [_SEED, list(SPLITS).index(split), number]
    return draw_scene(np.random.Generator(np.random.Philox(np.random.SeedSequence(stream))))


def _refuse_foreign(root: Path) -> None:
    if root.is_dir() and any(root.iterdir()) and not (root / _MARKER).is_file():
        remedy = "move it away, or choose another place with ACCEL_YOLO_DATASETS_DIR"
        raise DataError("the folder of the demo data set holds something else", printable(str(root)), remedy=remedy)


def _replace(root: Path) -> None:
    """Build the set in a temporary folder beside `root`, then swap: `root` is the old set or the new, never half."""
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as workplace:
        built, old = Path(workplace) / "new", Path(workplace) / "old"
        _generate(built)
        if root.exists():
            root.rename(old)
        built.rename(root)
        shutil.rmtree(old, ignore_errors=True)
    files.fsync_dir(root.parent)


def _generate(root: Path) -> None:
    total = sum(SPLITS.values())
    numbered = [(split, number) for split, images in SPLITS.items() for number in range(images)]
    for split in SPLITS:
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
    for split, number in console.progress(numbered, total=total, desc="drawing"):
        scene = demo_scene(split, number)
        name = f"{split}_{number:04d}"
        (root / "images" / split / f"{name}.jpg").write_bytes(_jpeg(scene.image))
        lines = [f"{int(kind)} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}\n" for kind, cx, cy, w, h in scene.boxes]
        (root / "labels" / split / f"{name}.txt").write_text("".join(lines), "utf-8")
    marker = {"version": VERSION, "sha256": _digest(root), "splits": SPLITS, "opencv": cv2.__version__}
    files.write_text_atomic(root / _MARKER, json.dumps(marker, indent=1) + "\n")


def _jpeg(image_rgb: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()


def _digest(root: Path) -> str:
    """Return the SHA-256 over the names and bytes of all images and labels."""
    digest = hashlib.sha256()
    for kind, ending in (("images", ".jpg"), ("labels", ".txt")):
        for split in SPLITS:
            for file in sorted((root / kind / split).iterdir()):
                if file.suffix == ending:
                    digest.update(f"{kind}/{split}/{file.name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
