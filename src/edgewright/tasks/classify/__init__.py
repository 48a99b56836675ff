"""Image classification: one class of many for an image."""
