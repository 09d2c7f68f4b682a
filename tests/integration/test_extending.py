"""The worked examples of docs/extending.md, put into a copy of the project, do what the page says."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from desk import Desk, small
from documentation import IN_A_COPY, ROOT, Block, blocks_of

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data.label_paths import label_path_of

BLOCKS = blocks_of(ROOT / IN_A_COPY)
DRIVER = """
import json, sys
from accel_yolo.cli import main
for kind, content in json.load(sys.stdin):
    if kind == "python":
        exec(compile(content, "the page", "exec"), {"__name__": "__main__"})
    elif (code := main(content)) != 0:
        sys.exit(f"exit status {code}: {' '.join(content)}")
"""
"""All in one process: each import of torch takes seconds."""


def file_of(block: Block) -> str:
    """Return the file that a block is, as its first line says; "" for none."""
    found = re.match(r"# ([\w./-]+\.\w+)\n", block.text)
    return found[1] if found else ""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the files and the changes of the page."""
    for folder in ("accel_yolo", "configs", "accelerate_configs"):
        shutil.copytree(ROOT / folder, tmp_path / "project" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for block in BLOCKS:
        if block.kind == "python" and "/" in file_of(block):
            path = tmp_path / "project" / file_of(block)
            assert not path.exists(), f"{block.place}: {path.name} is there already"
            path.write_text(block.text.partition("\n")[2])
        elif block.kind == "diff":
            apply_changes(block, tmp_path / "project")
    return tmp_path / "project"


def apply_changes(block: Block, project: Path) -> None:
    """Change files as a block of differences says; each place is found by its lines, which are there once."""
    for change in re.split(r"^--- .*\n", block.text, flags=re.MULTILINE)[1:]:
        name, *hunks = re.split(r"^@@\n", change, flags=re.MULTILINE)
        path = project / name.strip().removeprefix("+++ b/")
        text = path.read_text()
        for hunk in hunks:
            lines = hunk.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] in " -")
            new = "".join(line[1:] for line in lines if line[0] in " +")
            assert f"\n{text}".count(f"\n{old}") == 1, f"{block.place}: not once in {path.name}: {old}"
            text = f"\n{text}".replace(f"\n{old}", f"\n{new}")[1:]
        path.write_text(text)


def write_corners(data: Path, root: Path) -> int:
    """Write the training images of a data set with corner lists beside them and return how many objects they have."""
    spec = load_data_spec(data)
    (root / "images").mkdir(parents=True)
    objects = 0
    for image in sorted(spec.train[0].iterdir()):
        shutil.copy(image, root / "images")
        height, width = cv2.imread(str(image)).shape[:2]
        lines = []
        for row in Path(label_path_of(str(image))).read_text().splitlines():
            kind, *values = row.split()
            xs, ys = [float(x) for x in values[::2]], [float(y) for y in values[1::2]]
            if len(values) == 4:
                (cx, w), (cy, h) = xs, ys
                xs, ys = [cx - w / 2, cx + w / 2], [cy - h / 2, cy + h / 2]
            corners = min(xs) * width, min(ys) * height, max(xs) * width, max(ys) * height
            lines.append(" ".join([spec.names[int(kind)], *map(str, corners)]))
        (root / "images" / image.name).with_suffix(".corners").write_text("\n".join(lines))
        objects += len(lines)
    return objects


@contextlib.contextmanager
def hook() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Yield an address on this machine, and what is posted to it."""
    posted: list[dict[str, object]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", posted
        server.shutdown()


@pytest.mark.slow
def test_the_examples_of_the_page_work(
    project: Path, tmp_path: Path, sparse_data: Path, reference_dir: Path, published_weights: Path
) -> None:
    folder = tmp_path / "desk"
    folder.mkdir()
    images = sorted((reference_dir / "data" / "coco128" / "images").iterdir())
    desk = Desk(folder, images, published_weights, sparse_data)
    desk.keep_release(tmp_path / "cache")
    objects = write_corners(sparse_data, folder / "corners")
    actions: list[tuple[str, str | list[str]]] = []
    for block in BLOCKS:
        if block.kind == "yaml":
            assert file_of(block), block.place
            (folder / file_of(block)).write_text(block.text)
        elif block.kind == "python" and not file_of(block):
            actions.append(("python", block.text))
        for command in block.commands:
            words = small(command)
            desk.lay(shlex.join(words))
            actions.append(("command", words))
    with hook() as (address, posted):
        own = {"PYTHONPATH": str(project), "ACCEL_YOLO_CACHE": str(tmp_path / "cache"), "RUN_WEBHOOK": address}
        done = subprocess.run(
            [sys.executable, "-c", DRIVER], input=json.dumps(actions), cwd=folder, capture_output=True, text=True,
            env={**os.environ, **own},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{objects} objects" in done.stdout.replace(",", "")
    assert "yolov5n.ort" in done.stdout and ": ok" in done.stdout
    settings = [path.read_text() for path in folder.glob("runs/train/*/config.yaml")]
    assert any("iou_alpha: 3.0" in text for text in settings)
    assert any("gated.yaml" in text for text in settings)
    epochs = [entry for entry in posted if "epoch" in entry]  # the metrics of the best weights come last
    assert "train/box_loss" in epochs[0] and [entry["epoch"] for entry in epochs] == [0, 0]
    assert posted[-1] == {"ended": "well"}
