"""The demos: real models on real images without network, through the whole of `optimize`.

``digits`` trains a small classifier on scikit-learn's handwritten digits. ``scenes`` uses a detector with YOLO11n's
architecture, whose weights are part of the package; ``train_detector`` is the command that trained it.
"""
