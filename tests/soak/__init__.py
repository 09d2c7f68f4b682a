"""Trainings that meet random faults, for minutes or hours: `python -m soak --help`."""
