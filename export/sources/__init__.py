"""Where models come from, one module a library, each with ``load(...)``.

``parse`` (the text that names a source), ``timm``, ``torchvision``, ``ultralytics``, ``torch`` (any factory),
``onnx`` (an existing file; ``ultralytics_onnx``: what Ultralytics wrote into it), ``checkpoint`` (trained weights, read
without running code in them), ``loaded`` (what each of them gives).
"""
