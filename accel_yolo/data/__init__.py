"""From files to batches: the verified index, decoding, sample plans and their rendering."""
