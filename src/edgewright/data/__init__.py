"""Data sets: which images there are, what they show, and that calibration and evaluation share none.

``sets`` (folders of images read, divided and compared; labels matched to a model's classes), ``table``
(``labels.csv``), ``digits`` (the built-in demo set).
"""
