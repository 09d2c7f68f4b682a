"""The page docs/from-yolov5.md, from the table of flags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from markdown_cells import cell

from accel_yolo.config.flag import Flag
from accel_yolo.config.flags import COMMANDS

PAGE = Path(__file__).parent / "from-yolov5.md"

# The flags of YOLOv5's programs. What is said of a flag is in what ours differs; nothing means: as in YOLOv5.
YOLOV5: Mapping[str, Mapping[str, str]] = {
    "train": {
        "--weights": "`.safetensors` as well; a `.pt` is read without executing anything in it",
        "--cfg": "",
        "--data": "a folder or a COCO json as well; Pascal VOC is read as it is ([data.md](data.md))",
        "--hyp": "may settle flags of the recipe too ([recipe.md](recipe.md))",
        "--epochs": "",
        "--batch-size": "processes need not divide it; -1 works on several of them too",
        "--imgsz": "",
        "--img": "",
        "--img-size": "",
        "--rect": "also in several processes, each batch of one shape",
        "--resume": "bit for bit, also on another number of processes",
        "--nosave": "",
        "--noval": "",
        "--noautoanchor": "a model without anchors is then an error instead of placeholders",
        "--noplots": "tables are written anyway",
        "--evolve": "can be interrupted, and shared by processes and machines ([tuning.md](tuning.md))",
        "--evolve_population": "",
        "--resume_evolve": "",
        "--bucket": "",
        "--cache": "no process holds a copy of its own ([speed.md](speed.md))",
        "--image-weights": "also in several processes, with the same draws on any number of them",
        "--device": "there is no DataParallel",
        "--multi-scale": "",
        "--single-cls": "",
        "--optimizer": "",
        "--sync-bn": "also on CPUs",
        "--workers": "",
        "--project": "",
        "--name": "",
        "--exist-ok": "",
        "--quad": "also in several processes",
        "--cos-lr": "",
        "--label-smoothing": "",
        "--patience": "",
        "--freeze": "takes names too, such as `backbone`",
        "--save-period": "",
        "--seed": "",
        "--local_rank": "",
        "--entity": "for wandb, which `--report-to` asks for ([trackers.md](trackers.md))",
        "--upload_dataset": "",
        "--bbox_interval": "",
        "--artifact_alias": "",
    },
    "val": {
        "--data": "",
        "--weights": "",
        "--batch-size": "metrics do not depend on it",
        "--imgsz": "several for `--task study`",
        "--img": "",
        "--img-size": "",
        "--conf-thres": "",
        "--iou-thres": "",
        "--max-det": "",
        "--task": "`--task study` takes several weights, a model each ([evaluation.md](evaluation.md))",
        "--device": "several processes validate together",
        "--workers": "",
        "--single-cls": "",
        "--augment": "",
        "--verbose": "`per_class.csv` has every class anyway",
        "--save-txt": "images of one name in several folders get files of their own",
        "--save-hybrid": "a warning says that metrics then mean nothing",
        "--save-conf": "",
        "--save-json": "COCO's own measure is computed as well",
        "--project": "",
        "--name": "",
        "--exist-ok": "",
        "--half": "without it metrics are computed in float32",
        "--dnn": "",
    },
    "predict": {
        "--weights": "",
        "--source": "",
        "--data": "",
        "--imgsz": "",
        "--img": "",
        "--img-size": "",
        "--conf-thres": "",
        "--iou-thres": "",
        "--max-det": "",
        "--device": "",
        "--view-img": "",
        "--save-txt": "",
        "--save-format": "",
        "--save-csv": "",
        "--save-conf": "",
        "--save-crop": "",
        "--nosave": "",
        "--classes": "",
        "--agnostic-nms": "",
        "--augment": "",
        "--visualize": "",
        "--update": "",
        "--project": "",
        "--name": "",
        "--exist-ok": "",
        "--line-thickness": "",
        "--hide-labels": "",
        "--hide-conf": "",
        "--half": "",
        "--dnn": "",
        "--vid-stride": "",
    },
    "export": {
        "--data": "",
        "--weights": "",
        "--imgsz": "",
        "--img": "",
        "--img-size": "",
        "--batch-size": "",
        "--device": "",
        "--half": "on a CPU too, and with `--dynamic`",
        "--inplace": "",
        "--keras": "",
        "--optimize": "",
        "--int8": "",
        "--per-tensor": "",
        "--dynamic": "",
        "--cache": "",
        "--simplify": "",
        "--mlmodel": "",
        "--opset": "",
        "--verbose": "",
        "--workspace": "",
        "--nms": "in ONNX and OpenVINO instead of TensorFlow ([export.md](export.md))",
        "--agnostic-nms": "",
        "--topk-per-class": "",
        "--topk-all": "",
        "--iou-thres": "",
        "--conf-thres": "",
        "--include": "each file is run and compared with torch before it is kept",
    },
}
_LACK = {
    "train": "Not available yet",
    "val": "Not available yet",
    "predict": "Not available yet",
    "export": "Not supported",
}
_PROGRAMS = {"train": "train.py", "val": "val.py", "predict": "detect.py", "export": "export.py"}

HEAD = """# Coming from YOLOv5

This page is generated from the table of flags by `make docs`.

The programs have YOLOv5's names and flags: `python train.py`, `val.py`, `detect.py` and `export.py`, or `accel-yolo
train`, `val`, `predict` and `export` without a checkout. Your data YAMLs, label files, hyper-parameter files, model
YAMLs and `.pt` weights are read as they are.

```bash
python train.py --data coco128.yaml --weights yolov5s.pt --img 640 --batch 16 --epochs 3
torchrun --nproc_per_node 2 train.py --data coco128.yaml --weights yolov5s.pt --batch 16
```

What is different on purpose:

- The number of processes is not part of the recipe. The same seed, data and `--batch` give the same images with the
  same augmentation in the same order, one process or several; YOLOv5 gives each process a fixed part of the images.
- A data YAML is data: scripts under `download:` are never run, and model YAMLs are not evaluated.
- Weights are written as `.safetensors`, and checkpoints hold everything that training needs to go on. `.pt` files are
  read, and written on request: `accel-yolo convert --to yolov5-pt` ([weights.md](weights.md)).
- Label caches are neither written beside your data nor read: the index lies in the user's cache folder. Images are
  never changed.
- Bad images and labels are listed with file and line; more than 5 % of them stop the run (`--bad-data`).
- A flag that is misspelt is an error with the nearest known one; abbreviations other than the listed ones are not
  guessed.
"""


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for command, notes in YOLOV5.items():
        working, missing = [], []
        for flag in COMMANDS[command].flags:
            theirs = [spelling for spelling in notes if spelling in flag.spellings]
            if not theirs:
                continue
            names = ", ".join(f"`{spelling}`" for spelling in theirs)
            note = "; ".join(notes[spelling] for spelling in theirs if notes[spelling])
            (missing if flag.later else working).append((names, flag, note))
        parts.append(f"## {_PROGRAMS[command]}\n\n| YOLOv5 | here | what is more or different |\n|---|---|---|\n")
        parts.append("".join(f"| {names} | {cell(flag.help)} | {cell(note)} |\n" for names, flag, note in working))
        if missing:
            parts.append(f"\n{_LACK[command]}; using one stops with this line:\n\n| YOLOv5 | instead |\n|---|---|\n")
            parts.append("".join(f"| {names} | {cell(flag.later)} |\n" for names, flag, _ in missing))
        parts.append("\n")
        own = [flag for flag in COMMANDS[command].flags if not flag.later and not set(flag.spellings) & set(notes)]
        parts.append("Only here: " + ", ".join(f"`{flag.name}`" for flag in own))
        parts.append(f". `python {_PROGRAMS[command]} --help` says what they do.\n\n")
    return "".join(parts).rstrip() + "\n"


def flag_of(command: str, spelling: str) -> Flag:
    """Return our flag of a spelling."""
    return next(flag for flag in COMMANDS[command].flags if spelling in flag.spellings)


if __name__ == "__main__":
    import generated_pages

    generated_pages.main()
