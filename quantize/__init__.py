"""Quantize a float ONNX model to INT8.

`quantize` is the entry point. `schemes` lists what each runtime needs, `methods` lists the INT8 methods as steps.

`calibration` collects activation statistics and chooses ranges. `ptq` holds the post-training steps, `qdq` places the
Q/DQ pairs, `qat` trains an INT8 file. `mixed`, `pruning`, `distillation` and `training` are separate jobs.
"""
