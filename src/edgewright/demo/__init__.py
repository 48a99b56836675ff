"""The embedded defaults: real models on real images with no network, through the whole main job.

``digits`` trains a small classifier on scikit-learn's handwritten digits. ``scenes`` takes a detector of YOLO11n's
shape whose weights ship here; ``train_detector`` is the command that trained it.
"""
