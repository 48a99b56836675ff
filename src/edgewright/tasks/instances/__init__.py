"""Instance segmentation: boxes with a class, a score and a mask."""
