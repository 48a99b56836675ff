"""The task `pose`: persons, or other objects, with keypoints."""
