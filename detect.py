"""Detect objects in images: the same as `accel-yolo predict`."""

from accel_yolo.cli import run

if __name__ == "__main__":
    raise SystemExit(run("predict"))
