"""The export: from a checkpoint to ONNX and ModelSpec.

``sources`` (one module per library: the model and its preprocessing), ``overrides`` (a TOML that completes the
description), ``exporter`` (the stage), ``parity`` (compares the exported model with the original).
"""
