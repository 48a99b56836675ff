"""Centering changes nothing in float, leaves no half of a signed grid unused, stays away where it would not hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgewright.core import statistics
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.graph import files, metadata
from edgewright.quantize import prepare, quantize
from edgewright.quantize.calibration import collect
from edgewright.quantize.calibration import statistics as ranges
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.calibration.sessions import open_session
from edgewright.quantize.mixed import compose
from edgewright.quantize.ptq import centering
from edgewright.quantize.qdq import place, tensorrt_rules
from edgewright.quantize.schemes import SCHEMES
from edgewright.quantize.steps import Calibrate, Center, ChooseClipping
from edgewright.tasks.classify.spec import Classify

from ..conftest import keep


def node(operator: str, given: list[str], made: str, **told: object) -> onnx.NodeProto:
    return helper.make_node(operator, given, [made], f"at_{made}", **told)


def network() -> onnx.ModelProto:
    """Padded Conv, ReLU6, Conv, two ReLUs joined and pooled, Conv, ReLU, global pooling, Gemm; 16 to 32 channels."""
    rng = np.random.default_rng(0)
    nodes = [
        node("Conv", ["images", "w1", "b1"], "c1", pads=[1, 1, 1, 1]), node("Clip", ["c1", "zero", "six"], "r1"),
        node("Conv", ["r1", "w2"], "c2"), node("Relu", ["c2"], "r2"),
        node("Conv", ["r1", "w3", "b3"], "c3"), node("Clip", ["c3", "zero"], "r3"),
        node("Concat", ["r2", "r3"], "joined", axis=1),
        node("MaxPool", ["joined"], "pooled", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Conv", ["pooled", "w4", "b4"], "c4", group=32), node("Relu", ["c4"], "r4"),
        node("GlobalAveragePool", ["r4"], "mean"), node("Flatten", ["mean"], "flat"),
        node("Gemm", ["flat", "w5", "b5"], "logits", transB=1),
    ]  # fmt: skip
    shapes = {
        "w1": (16, 3, 3, 3), "b1": (16,), "w2": (16, 16, 1, 1), "w3": (16, 16, 1, 1), "b3": (16,), "w4": (32, 1, 1, 1),
        "b4": (32,), "w5": (8, 32), "b5": (8,),
    }  # fmt: skip
    arrays = {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()} | {"zero": 0.0, "six": 6.0}
    graph = helper.make_graph(
        nodes, "network", [helper.make_tensor_value_info("images", 1, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("logits", 1, [1, 8])],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in arrays.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    metadata.set_spec(
        model,
        ModelSpec(name="network",
 inputs=(Input(height=16, width=16, preprocess=Preprocess(resize="none", mean=(0.4,) * 3, std=(0.25,) * 3)),),
 task=Classify(classes=8),),
    )  # fmt: skip
    return model


def prepared() -> onnx.ModelProto:
    model = network()
    prepare.add_biases(model)
    return model


@pytest.fixture(scope="module")
def centered(tiny, tmp_path_factory: pytest.TempPathFactory):
    """(the float file, the centered one), each beside its statistics; and images."""
    folder = tmp_path_factory.mktemp("centre")
    images = tiny.images[:48]
    for name in ("before", "after"):
        (folder / name).mkdir()
    files.save(network(), folder / "before/model.onnx")
    keep(Calibrate(), folder / "before", images)
    keep(ChooseClipping(), folder / "before", images)
    found = keep(Center(), folder / "before", images, folder / "after")
    assert found == 3
    return folder / "before", folder / "after", images


def test_each_tensor_moves_with_all_that_makes_and_reads_it() -> None:
    found = centering.sites(prepared())
    names = [[[n.output[0] for n in part] for part in (site.makers, site.readers)] for site in found]
    assert [[sorted(part) for part in site] for site in names] == [
        [["c1"], ["c2", "c3"]], [["c2", "c3"], ["c4"]], [["c4"], ["logits"]],
    ]  # fmt: skip
    assert [sorted(site.tensors) for site in found] == [
        ["r1"],
        ["joined", "pooled", "r2", "r3"],
        ["flat", "mean", "r4"],
    ]


def answers(folder, images: list[str]) -> np.ndarray:
    from edgewright.vision.preprocess import batch

    model = files.load(folder / "model.onnx")
    spec = metadata.get_spec(model)
    session = open_session(model)
    return np.concatenate([session.run(None, {"images": batch([image], spec)})[0] for image in images])


def test_the_function_stays(centered) -> None:
    before, after, images = centered
    assert statistics.sqnr_db(answers(after, images), answers(before, images)) > 100


def test_what_was_known_of_the_model_holds_for_the_centered_one(centered) -> None:
    """Nothing is collected again: the statistics that were moved are those of the moved model."""
    _, after, images = centered
    told = ranges.read(after / ranges.STATISTICS)
    source, spec = prepare.read(str(after / "model.onnx"))
    calibration = Calibration(images, spec)
    prepare.prepare(source)
    seen = collect.collect(source, calibration, lambda *_: None)
    assert told.names == seen.names
    np.testing.assert_allclose(told.lows, seen.lows, atol=1e-4)
    np.testing.assert_allclose(told.highs, seen.highs, atol=1e-4)
    assert (told.channels[0] <= seen.channels[0] + 1e-4).all() and (told.channels[1] >= seen.channels[1] - 1e-4).all()
    for name in ("r1", "pooled", "flat"):
        low, high = ranges.find(told, "minmax", True)[name]
        assert -0.995 * low < high <= -low, f"{name}: zeros of the ReLU are not on the last step"


def test_where_clipping_gives_a_finer_grid_nothing_moves(centered, tmp_path) -> None:
    """Of a tensor with outliers less than half of what was seen is the best range: its steps are smaller already."""
    before, _, _ = centered
    seen = ranges.read(before / ranges.STATISTICS)
    best = seen.best.copy()
    best[..., 1] = 0.45 * seen.highs.max(axis=0)
    ranges.save(seen._replace(best=best), tmp_path / ranges.STATISTICS)
    request = quantize.QuantizeRequest(model=str(before / "model.onnx"), statistics=str(tmp_path))
    assert quantize.run_step(Center(), request, str(tmp_path)) == 0


def test_int8_comes_nearer_by_half_a_bit_at_least(centered, tmp_path) -> None:
    before, after, images = centered
    exact = answers(before, images)
    nearness = []
    for folder in (before, after):
        out = tmp_path / folder.name
        out.mkdir()
        request = quantize.QuantizeRequest(model=str(folder / "model.onnx"), images=images, statistics=str(folder))
        quantize.quantize(request, "tensorrt", "round", str(out))
        nearness.append(statistics.sqnr_db(answers(out, images), exact))
    assert nearness[1] > nearness[0] + 3


@pytest.mark.parametrize("mixed", [False, True])
def test_what_is_decided_before_biases_are_corrected_sees_no_constant(centered, monkeypatch, mixed) -> None:
    """Neither a plain file's answers nor a mixed one's are off by the weights' rounding errors times half a range."""
    _, after, images = centered
    source, spec = prepare.read(str(after / "model.onnx"))
    calibration = Calibration(images, spec)
    prepare.prepare(source)
    scheme, exact = SCHEMES["tensorrt"], answers(after, images)
    found = ranges.ranges(ranges.read(after / ranges.STATISTICS), "minmax", scheme)

    def wrong() -> np.ndarray:
        whole = place.place(source, found, scheme, [])
        made = compose.compose(source, whole, {"at_logits"}, scheme, corrected=False) if mixed else whole
        session = open_session(made)
        return np.concatenate([session.run(None, feed)[0] for feed in calibration.batches()]) - exact

    near = wrong()
    monkeypatch.setattr(centering, "compensate", lambda *_: None)
    far = wrong()
    assert np.linalg.norm(near.mean(axis=0)) < 0.7 * np.linalg.norm(far.mean(axis=0))


def read_by(reader: onnx.NodeProto) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.node.append(reader)


def told(name: str, **attributes: object) -> Callable[[onnx.ModelProto], None]:
    """Give the node that makes `name` these attributes."""

    def change(model: onnx.ModelProto) -> None:
        found = next(n for n in model.graph.node if n.output[0] == name)
        kept = [a for a in found.attribute if a.name not in attributes]
        del found.attribute[:]
        found.attribute.extend([*kept, *(helper.make_attribute(key, value) for key, value in attributes.items())])

    return change


def constant(name: str, value: float) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.float32(value), name))

    return change


def computed(name: str) -> Callable[[onnx.ModelProto], None]:
    """Let a node make the constant `name`."""

    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == name)
        tensor.name = f"{name}_before"
        model.graph.node.insert(0, node("Abs", [tensor.name], name))

    return change


def branch_reads(name: str) -> Callable[[onnx.ModelProto], None]:
    """A nested graph reads the tensor."""

    def change(model: onnx.ModelProto) -> None:
        inner = helper.make_graph(
            [node("Abs", [name], "inside")], "i", [], [helper.make_tensor_value_info("inside", 1, None)]
        )
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
        model.graph.node.append(node("If", ["yes"], "chosen", then_branch=inner, else_branch=inner))

    return change


def output(name: str) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.output.append(helper.make_tensor_value_info(name, 1, None))


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (told("c4", pads=[1, 1, 1, 1]), ["r1", "r4"]),
        (told("c4", auto_pad=b"SAME_UPPER"), ["r1", "r4"]),
        (told("logits", alpha=2.0), ["r1", "r2"]),
        (told("logits", beta=0.5), ["r1", "r2"]),
        (told("logits", transA=1), ["r1", "r2"]),
        (constant("zero", -1.0), ["r4"]),
        (computed("six"), ["r2", "r4"]),
        (computed("w4"), ["r1"]),
        (computed("b5"), ["r1", "r2"]),
        (read_by(node("Sigmoid", ["r2"], "gate")), ["r1", "r4"]),
        (read_by(node("Sigmoid", ["c4"], "gate")), ["r1", "r2"]),
        (read_by(node("Conv", ["images", "r1", "b1"], "dynamic")), ["r2", "r4"]),
        (branch_reads("r1"), ["r2", "r4"]),
        (branch_reads("c4"), ["r1", "r2"]),
        (output("pooled"), ["r1", "r4"]),
        (output("c2"), ["r1", "r4"]),
    ],
)  # fmt: skip
def test_what_would_not_hold_stays(change: Callable[[onnx.ModelProto], None], left: list[str]) -> None:
    model = prepared()
    change(model)
    assert [site.functions[0].output[0] for site in centering.sites(model)] == left


@pytest.mark.parametrize("turned", [0, 1])
def test_matrix_products_either_way_round(turned: int) -> None:
    rng = np.random.default_rng(1)
    nodes = [
        node("Gemm", ["x", "w1", "b1"], "h", transB=turned), node("Relu", ["h"], "r"),
        node("Gemm", ["r", "w2", "b2"], "y", transB=turned),
    ]  # fmt: skip
    shapes = {"w1": (6, 9), "b1": (9,), "w2": (9, 4), "b2": (1, 4)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    arrays |= {name: arrays[name].T.copy() for name in ("w1", "w2") if turned}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [5, 6])], [helper.make_tensor_value_info("y", 1, [5, 4])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    x = {"x": rng.normal(size=(5, 6)).astype(np.float32)}
    before = open_session(model).run(None, x)[0]
    (site,) = centering.sites(model)
    centering.move(model, site, 1.5)
    np.testing.assert_allclose(open_session(model).run(None, x)[0], before, atol=1e-5)


def test_no_reader_gets_a_coarser_grid(tiny, tmp_path) -> None:
    """Of two joined tensors one is small and read alone too: moved by half of the large one it would lose steps."""
    model = network()
    small = next(tensor for tensor in model.graph.initializer if tensor.name == "w2")
    small.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(small) * np.float32(0.05), "w2"))
    model.graph.node.insert(9, node("Conv", ["r2", "w2", "b1"], "alone"))
    model.graph.output.append(helper.make_tensor_value_info("alone", 1, [1, 16, 16, 16]))
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    files.save(model, tmp_path / "before/model.onnx")
    keep(Calibrate(), tmp_path / "before", tiny.images[:32])
    assert keep(Center(), tmp_path / "before", [], tmp_path / "after") == 2
    centered = files.load(tmp_path / "after/model.onnx")
    assert [n.op_type for n in centered.graph.node if n.output[0] in ("r1", "r2", "r4")] == ["Clip", "Relu", "Clip"]


def kernels(path) -> int:
    """How many kernels the builder of TensorRT for RTX makes of the file, as its log tells."""
    trt = pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13 to try NVIDIA's own builder")

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, _severity: object, message: str) -> None:
            self.lines += message.splitlines()

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    assert parser.parse(path.read_bytes()), [str(parser.get_error(i)) for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM80, 0)  # the nearest to Orin that builds ahead of time
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    assert builder.build_serialized_network(network, config) is not None
    return sum("LayerType: " in line and "LayerType: wait" not in line for line in log.lines)


def test_tensorrt_takes_the_file_and_fuses_what_is_cut_off(centered, tmp_path) -> None:
    """A Clip below zero costs no kernel that the ReLU did not."""
    before, after, images = centered
    for folder in (before, after):
        (tmp_path / folder.name).mkdir()
        request = quantize.QuantizeRequest(model=str(folder / "model.onnx"), images=images, statistics=str(folder))
        quantize.quantize(request, "tensorrt", "round", str(tmp_path / folder.name))
        assert tensorrt_rules.check(files.load(tmp_path / folder.name / "model.onnx")) == []
    relu, clip = (kernels(tmp_path / folder.name / "model.onnx") for folder in (before, after))
    assert relu == clip > 0


def test_a_model_without_rectifiers_gives_nothing(tiny, tmp_path) -> None:
    model = network()
    for n in model.graph.node:
        if n.op_type in ("Relu", "Clip"):
            n.op_type = "Sigmoid"
            del n.input[1:]
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    files.save(model, tmp_path / "before/model.onnx")
    keep(Calibrate(), tmp_path / "before", tiny.images[:32])
    assert keep(Center(), tmp_path / "before", [], tmp_path / "after") == 0
    assert not list((tmp_path / "after").iterdir())
