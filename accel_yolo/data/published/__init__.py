"""Data sets as others publish them: fetched once, and their labels turned into YOLO's where nothing else reads them."""
