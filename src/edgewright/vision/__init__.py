"""Pixels in, answers out: what the device computes before and after the network, with numpy and Pillow only.

``image`` (anything that holds a picture becomes an 8-bit image, or an error that names it), ``preprocess`` (the same
pixels as the training library's own transform, bit for bit), ``postprocess`` (outputs become labels and scores).
"""
