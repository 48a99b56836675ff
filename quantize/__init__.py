"""From a float model to an INT8 one: post-training quantization.

`quantize` is the stage; `schemes` (what each runtime wants) and `methods` (cheap to thorough) are data. Below them:
`calibration` (images, streamed), `ranges` (of activations), `ort`, `nncf` and `tensorrt` (who places Q/DQ pairs),
`tail` (answers stay in float), `sensitivity` (layers that stay in float), `bias` and `rounding` (repair), `sessions`.
"""
