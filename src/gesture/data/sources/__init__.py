"""Data sets: each module turns its files into the table of samples."""
