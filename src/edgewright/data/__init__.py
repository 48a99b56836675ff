"""Data sets: their images and labels, and splits without common images for calibration and evaluation.

Content: ``sets`` (reads, divides and compares folders of images, and matches labels to a model's classes), ``table``
(``labels.csv``), ``digits`` (the built-in demo set).
"""
