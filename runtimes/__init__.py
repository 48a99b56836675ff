"""ONNX -> artifact -> session: all that a device needs to answer, and nothing else.

One module a runtime (``torch``, ``onnxruntime``, ``openvino``), each with the same verbs: ``probe``, ``build``,
``load``, ``run``, ``describe``. ``options`` (what can be asked of a runtime, what it can), ``registry`` (runtimes by
name), ``artifact`` (a model compiled for one runtime), ``bundle`` (the folder that goes to the device), ``session``
(the SDK: images in, answers out). Importing any of them imports no runtime library.
"""
