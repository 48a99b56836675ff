"""A graph that chooses the class itself gives nearly the same maps, with far fewer bytes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.graph.metadata import get_spec, set_spec
from edgewright.tasks.segment import rewrite
from edgewright.tasks.segment.decode import read
from edgewright.tasks.segment.spec import Segment

SIDE = 64


def model(layout: str, side: int, resize: str = "bilinear", classes: int = 5) -> onnx.ModelProto:
    """A network of one convolution, whose maps have `side`, with a spec."""
    random = np.random.default_rng(0)
    step = SIDE // side
    weights = random.normal(size=(classes, 3, step, step)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["images", "weights"], ["maps"], "conv", strides=[step, step])]
    shape = [1, classes, side, side]
    if layout == "NHWC":
        nodes[0].output[0] = "inner"
        nodes.append(helper.make_node("Transpose", ["inner"], ["maps"], "last", perm=[0, 2, 3, 1]))
        shape = [1, side, side, classes]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "m", [info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])], [info("maps", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weights, "weights")],
    )  # fmt: skip
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    how = Preprocess(resize="exact", resize_to=(SIDE, SIDE))
    task = Segment(classes=classes, layout=layout, resize=resize)  # type: ignore[arg-type]
    image = Input(height=SIDE, width=SIDE, preprocess=how)
    set_spec(found, ModelSpec(name="m", inputs=(image,), outputs=("maps",), task=task))
    return found


def answer(graph: onnx.ModelProto, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The output, and the classes of a photo of another size."""
    spec = get_spec(graph)
    assert spec is not None
    outputs = onnxruntime.InferenceSession(graph.SerializeToString()).run(list(spec.outputs), {"images": x})
    return outputs[0], read(outputs, spec, [(100, 80)])[0].classes


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("side", [SIDE, SIDE // 8])
@pytest.mark.parametrize("resize", ["bilinear", "corners"])
def test_classes_in_the_graph_are_nearly_those_outside(layout: str, side: int, resize: str) -> None:
    import scipy.ndimage

    x = scipy.ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(1, 3, SIDE, SIDE)), (0, 0, 8, 8))
    x = x.astype(np.float32)
    graph = model(layout, side, resize)
    before, wanted = answer(graph, x)
    rewrite.apply(graph)
    onnx.checker.check_model(graph, full_check=True)
    after, found = answer(graph, x)
    assert after.dtype == np.uint8 and after.shape == (1, SIDE, SIDE)
    assert after.nbytes * 5 * 4 == before.nbytes or side < SIDE
    assert (found == wanted).mean() > 0.93
    spec = get_spec(graph)
    assert spec is not None and not rewrite.applies(spec)


def test_many_classes_are_32_bit_numbers() -> None:
    graph = model("NCHW", SIDE, classes=300)
    rewrite.apply(graph)
    assert graph.graph.output[0].type.tensor_type.elem_type == TensorProto.INT32
