"""A model that finds a pair of marks by heat maps."""

from __future__ import annotations

from . import marks
from .case import Case

DESCRIPTION = """\
name = "pair"
task = "pose"
labels = ["pair"]
[input]
height = 16
width = 16
[preprocess]
resize = "exact"
resize_to = [16, 16]
interpolation = "box"
[pose]
decoder = "heatmaps"
points = 2
refine = "none"
names = ["red", "blue"]
edges = [[0, 1]]
sigmas = [0.05, 0.05]
"""

CASE = Case(
    "pose", marks.model, marks.blue_aside, DESCRIPTION, marks.write, "Pose mAP", "pose_map", "pose mAP", "2 of 2 points"
)
