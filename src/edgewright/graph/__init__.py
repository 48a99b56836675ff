"""ONNX files opened, checked, edited and saved safely.

``files`` (load and save: the only way a foreign ONNX file comes in), ``inputs`` (the one image input of a model),
``metadata`` (the ModelSpec inside the file), ``compare`` (two models on the same random input), and the passes, one a
file, each ``apply(model, ...) -> bool`` in place, true where something changed: ``clean`` (initializers listed as
inputs, traces, dead parts), ``upgrade`` (opset), ``batch`` (static or dynamic batch), ``slim`` (constant folding and
fusion), ``normalize`` (mean and std into the graph, which then takes uint8 NHWC). ``foreign`` makes plain what others
optimized, quantized or halved (``fused``, ``qoperator``, ``dynamic``, ``weights``, ``upcast``, all on ``rewrite``);
``precision`` says whether a file is in INT8.
"""
