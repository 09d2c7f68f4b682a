"""What a run is told about in tables and pictures."""
