"""Measure a detector: the same as `accel-yolo val`."""

from accel_yolo.cli import run

if __name__ == "__main__":
    raise SystemExit(run("val"))
