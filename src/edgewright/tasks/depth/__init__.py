"""Depth estimation: a map of distances, in meters or relative."""
