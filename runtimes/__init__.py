"""ONNX -> artifact -> session: all code that a device needs for inference, and nothing else.

Each runtime has one module (``torch``, ``onnxruntime``, ``openvino``, ``tensorrt``) with the same functions: ``probe``,
``build``, ``load``, ``run``, ``describe``. The others: ``options`` (options and abilities of a runtime), ``registry``
(runtimes by name), ``artifact`` (a model compiled for one runtime), ``bundle`` (the folder for the device), ``session``
(the SDK: images in, answers out). Importing any of them imports no runtime library.
"""
