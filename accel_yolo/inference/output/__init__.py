"""Everything that detections are drawn and written as."""
