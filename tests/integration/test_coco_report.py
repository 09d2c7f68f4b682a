"""`val --save-json` writes COCO results that score the same by COCO's own tool."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from accel_yolo import cli
from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data.index import build_index
from accel_yolo.metrics.coco import coco_metrics, ground_truth_from_labels, image_id_of

pycocotools_coco = pytest.importorskip("pycocotools.coco")
pycocotools_eval = pytest.importorskip("pycocotools.cocoeval")


def test_the_results_file_scores_the_same_by_pycocotools(
    tmp_path: Path, coco128: Path, published_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--data", str(coco128), "--weights", str(published_weights), "--imgsz", "160", "--save-json", "--noplots"]
    assert cli.run("val", [*words, "--device", "cpu", "--workers", "0"]) == 0
    folder = tmp_path / "runs" / "val" / "exp"
    reported = json.loads((folder / "metrics.json").read_text())["coco"]
    rows = json.loads((folder / "yolov5n_predictions.json").read_text())
    assert rows and set(rows[0]) == {"image_id", "category_id", "bbox", "score"}

    with contextlib.redirect_stdout(io.StringIO()):
        truth = pycocotools_coco.COCO()
        truth.dataset = _annotations(coco128)
        truth.createIndex()
        evaluation = pycocotools_eval.COCOeval(truth, truth.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # The file holds boxes to three decimals and scores to five; the report was made from the unrounded ones.
    assert reported["ap"] == pytest.approx(evaluation.stats[0], abs=1e-3)
    assert reported["ap50"] == pytest.approx(evaluation.stats[1], abs=1e-3)
    assert reported["ap"] > 0.05
    # From the same rows all twelve numbers are the same, those by size included.
    index = build_index(load_data_spec(coco128), "val", single_cls=False, bad_data="fail", workers=1)
    ids = np.array([image_id_of(path) for path in index.paths])
    labels = index.labels_px()
    labels[:, 0] = ids[labels[:, 0].astype(int)]
    names = {category["id"]: category["name"] for category in truth.dataset["categories"]}
    table = [[row["image_id"], *row["bbox"], row["score"], row["category_id"]] for row in rows]
    ours = coco_metrics(ground_truth_from_labels(ids, index.sizes_hw, labels, names), np.array(table))
    np.testing.assert_allclose(list(vars(ours).values()), evaluation.stats, atol=1e-9, rtol=0)
    assert ours.ap_small < ours.ap_medium < ours.ap_large


def _annotations(data: Path) -> dict:
    spec = load_data_spec(data)
    index = build_index(spec, "val", single_cls=False, bad_data="fail", workers=1)
    images, annotations = [], []
    for number, path in enumerate(index.paths):
        height, width = index.sizes_hw[number].tolist()
        images.append({"id": image_id_of(path), "height": height, "width": width})
        for kind, cx, cy, w, h in index.labels_of(number).astype(np.float64).tolist():
            box = [(cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image_id_of(path), "category_id": int(kind), "bbox": box,
                 "area": box[2] * box[3], "iscrowd": 0}
            )  # fmt: skip
    categories = [{"id": number, "name": name} for number, name in spec.names.items()]
    return {"images": images, "annotations": annotations, "categories": categories}
