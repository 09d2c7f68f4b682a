"""Readers of label formats; each yields the same record type."""
