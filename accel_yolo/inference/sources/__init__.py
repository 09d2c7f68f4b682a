"""From the word after --source to batches of pictures."""
