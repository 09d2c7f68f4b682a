"""Exported models, each run by its own runtime."""
