"""A model that places two landmarks by heat maps."""

from __future__ import annotations

from . import marks
from .case import Case

DESCRIPTION = """\
name = "pair"
task = "landmarks"
[input]
height = 16
width = 16
[preprocess]
resize = "exact"
resize_to = [16, 16]
interpolation = "box"
[landmarks]
decoder = "heatmaps"
points = 2
refine = "none"
names = ["red", "blue"]
normalize = [0, 1]
"""

CASE = Case("landmarks", marks.model, marks.blue_aside, DESCRIPTION, marks.write, "NME", "nme", "NME", "2 points")
