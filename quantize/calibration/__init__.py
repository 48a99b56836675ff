"""Calibration images, the statistics of activations, and how clipping ranges are chosen."""
