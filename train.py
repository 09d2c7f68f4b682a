"""Train a detector: the same as `accel-yolo train`."""

from accel_yolo.cli import run

if __name__ == "__main__":
    raise SystemExit(run("train"))
