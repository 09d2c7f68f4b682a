"""Trackers: other people's programs that are told what a run does, each from a process of its own."""
