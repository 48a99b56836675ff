"""Detection of rotated boxes, as in aerial images and documents."""
