"""Points of objects: layouts of outputs with the points of one object, skeletons, distances between points, drawing.

The tasks with keypoints share it. It is light: numpy and Pillow.
"""
