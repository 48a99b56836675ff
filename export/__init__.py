"""Checkpoint in, ONNX and ModelSpec out.

``sources`` (one module a library: what the model is and how its images were prepared), ``overrides`` (a TOML that says
what no library knows), ``exporter`` (the stage itself), ``parity`` (does the exported model answer as before).
"""
