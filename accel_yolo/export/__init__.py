"""Detectors as files for other runtimes, one module for each format."""
