"""`python -m accel_yolo ...`: the same as `accel-yolo ...`."""

from accel_yolo.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
