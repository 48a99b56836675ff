"""Pixels in: what the device computes before the network, and draws with after it, with numpy and Pillow only.

``image`` (anything that holds a picture becomes an 8-bit image, or an error that names it), ``preprocess`` (the same
pixels as the training library's own transform, bit for bit), ``draw`` (rectangles and labels on an image).
"""
