"""From image files to samples, identical copies, splits and decoded images; needs no torch."""
