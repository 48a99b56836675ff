"""Calibration images, activation statistics, and the choice of clipping ranges."""
