"""Commands as people type them, shown at the end of each --help; a test reads every one of them."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "train": (
        "accel-yolo train --data demo --weights '' --cfg yolov5n --hyp demo --imgsz 128 --epochs 5",
        "accel-yolo train --data my.yaml --weights yolov5s.pt --batch auto --device 0,1",
        "accel-yolo train --resume runs/train/exp",
    ),
    "tune": (
        "accel-yolo tune --data my.yaml --weights yolov5s.pt --epochs 10 --trials 50",
        "accel-yolo tune --study runs/tune/exp --data my.yaml --weights yolov5s.pt --epochs 10 --trials 100",
    ),
    "val": (
        "accel-yolo val --weights runs/train/exp/weights/best.safetensors --data my.yaml",
        "accel-yolo val --weights yolov5s.pt --data coco --task test --save-json",
        "accel-yolo val --weights yolov5s.pt --data coco128 --task speed --device 0",
    ),
    "report": (
        "accel-yolo report runs/train/exp",
        "accel-yolo report runs/train/exp runs/train/exp2 --out comparison.html",
    ),
    "predict": (
        "accel-yolo predict --weights yolov5s.pt --source photos/ --conf 0.4",
        "accel-yolo predict --weights best.safetensors --source street.mp4 --track",
        "accel-yolo predict --weights best.safetensors --source photos/ --save-txt --nosave --classes person",
    ),
    "check": (
        "accel-yolo check",
        "accel-yolo check --data my.yaml --processes 2",
        "accel-yolo check --data my.yaml --machines 2 --machine-rank 0 --main-process-ip 10.0.0.1 "
        "--main-process-port 29500",
    ),
    "profile": (
        "accel-yolo profile --data demo --cfg yolov5n --imgsz 128 --processes 1,2",
        "accel-yolo profile --cfg yolov5s --processes 1,2,4,8 --images 118287",
    ),
    "convert": (
        "accel-yolo convert yolov5s.pt yolov5s.safetensors",
        "accel-yolo convert runs/train/exp/weights/best.safetensors --to yolov5-pt",
    ),
    "push": (
        "accel-yolo push runs/train/exp --into my-detector",
        "accel-yolo push my-detector --to my-org/my-detector --private",
    ),
    "data convert": (
        "accel-yolo data convert --data my.yaml --to coco --into my-coco",
        "accel-yolo data convert --data coco128 --classes person dog --into two-classes",
    ),
    "data check": (
        "accel-yolo data check --data my.yaml",
        "accel-yolo data check --data my.yaml --list findings.csv --repair my-clean",
    ),
    "data split": (
        "accel-yolo data split --data my.yaml --into my-split",
        "accel-yolo data split --data my.yaml --val 0.1 --test 0.1 --seed 7 --into my-split",
    ),
    "data stats": (
        "accel-yolo data stats --data my.yaml",
        "accel-yolo data stats --data my.yaml --imgsz 1280 --into my-stats",
    ),
    "data show": (
        "accel-yolo data show --data my.yaml",
        "accel-yolo data show --data coco128 --split train --classes zebra --images 9 --columns 3",
    ),
    "info weights": (
        "accel-yolo info weights yolov5s.pt",
        "accel-yolo info weights runs/train/exp/weights/best.safetensors --json",
    ),
    "export": (
        "accel-yolo export --weights best.safetensors --include onnx --simplify",
        "accel-yolo export --weights best.safetensors --include onnx openvino --nms --imgsz 480 640",
    ),
    "benchmark": (
        "accel-yolo benchmark --weights yolov5s.pt --data coco128",
        "accel-yolo benchmark --weights best.safetensors --data my.yaml --include torchscript onnx",
    ),
    "env": (
        "accel-yolo env",
        "accel-yolo env --json > environment.json",
    ),
    "completion": (
        "accel-yolo completion bash > ~/.local/share/bash-completion/completions/accel-yolo",
        "accel-yolo completion zsh > ~/.zfunc/_accel-yolo",
        "accel-yolo completion fish > ~/.config/fish/completions/accel-yolo.fish",
    ),
}
"""Command -> lines that can be copied into a shell."""
