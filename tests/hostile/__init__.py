"""Files as strangers may send them, made by code, and what must become of each: see `cases`."""
