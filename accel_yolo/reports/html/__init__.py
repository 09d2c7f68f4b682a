"""A run folder as one self-contained page: files to plain data, data to HTML. Needs neither torch nor numpy."""
