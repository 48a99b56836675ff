"""Passes over ONNX files, one per module.

``files`` reads and writes ONNX files; every foreign file comes in through it. ``inputs`` finds the one image input,
``metadata`` has the ModelSpec inside the file, and ``compare`` compares two models on the same random input.

A pass is a function ``apply(model, ...)`` that changes the model in place and returns whether it changed anything:
``clean`` (initializers listed as inputs, traces, unused parts), ``upgrade`` (operator set), ``batch`` (fixed or
dynamic), ``slim`` (constant folding and fusion), ``normalize`` (mean and std into the graph, with uint8 NHWC as input).

``foreign`` converts optimized, quantized and half-precision files to plain ones, by ``fused``, ``qoperator``,
``dynamic``, ``weights`` and ``upcast``, which all use ``rewrite``. ``precision`` finds out whether a file is in INT8.
"""
