"""From image files to batches: samples, identical copies, splits, decoded images. Only datamodule.py needs torch."""
